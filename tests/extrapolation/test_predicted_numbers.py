"""Predicted weights against float64 numpy on the stored ones, on irregular steps.

Every prediction is W_0 + A M rounded once to the stored dtype, so it is compared with that, value
by value, for float32, bfloat16 and float16.
"""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from rlvr_dynamics.config import load as configured
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS
from rlvr_dynamics.extrapolation.accuracy import wanted_accuracies
from rlvr_dynamics.extrapolation.forecast import forecast_errors
from rlvr_dynamics.flow.extrapolate import extrapolate
from rlvr_dynamics.run_directory.accuracy import accuracy_of
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema.shares import observed_step, target_step
from tests.support.extrapolation_fixture import NORM, SHAPES, UP, build, gaussian, load, on_a_line

STEPS = (10, 20, 50, 70, 140, 190)
SEEN, OBSERVE, TARGETS = STEPS[:5], 140, (155, 190, 400)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
OTHER = "model.layers.1.self_attn.q_proj.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"


def planted():
    """Updates that turn, a part of the weights; a second layer with a matrix of a known shape."""
    base, one, two = gaussian(0), gaussian(1), gaussian(2)
    along = (0.03, 0.09, 0.06, 0.15, 0.21, 0.19)
    across = (0.02, -0.04, 0.05, 0.01, -0.03, 0.06)
    found = {0: base}
    for step, a, b in zip(STEPS, along, across, strict=True):
        noise = gaussian(300 + step)
        found[step] = {
            name: base[name] + a * one[name] + b * two[name] + 0.01 * noise[name] for name in base
        }
    for step, tensors in found.items():
        tensors[OTHER] = gaussian(40 + step)[QUERY] * (0.1 if step else 1.0) + (
            found[0][OTHER] if step else 0.0
        )
    return found


class Stored:
    """The weights as a dtype keeps them, in float64, and their trajectory."""

    def __init__(self, dtype, root):
        self.dtype, self.root = dtype, root
        weights = planted()
        self.trajectory = build(root, weights, dtype)
        self.weights = {
            step: {name: tensor.to(dtype).double() for name, tensor in tensors.items()}
            for step, tensors in weights.items()
        }

    def stack(self, name, steps=SEEN):
        base = self.weights[0][name]
        return np.array([(self.weights[step][name] - base).flatten().numpy() for step in steps])

    def predicted(self, name, rows):
        """W_0 + A M in float64, one tensor for each row of M's combination."""
        base = self.weights[0][name]
        return [base + torch.from_numpy(row).view(base.shape) for row in rows]

    def assert_rounded(self, found, exact, what, update_error=0.0):
        """Equal to the exact values rounded once; a tie may fall to the other side.

        `update_error` is what the update itself may have been rounded by.
        """
        rounded = exact.to(self.dtype)
        assert found.dtype == self.dtype
        unit = torch.finfo(self.dtype).eps * exact.abs()
        error = (found.double() - exact).abs()
        assert bool((error <= 0.51 * unit + 1e-12 + update_error).all()), what
        assert update_error or int((found != rounded).sum()) <= 1, what


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def stored(request, tmp_path_factory):
    return Stored(request.param, tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return Stored(torch.float32, tmp_path_factory.mktemp("exact"))


def trajectory_svd(stack):
    u, sigma, vt = np.linalg.svd(stack, full_matrices=False)
    return u * sigma, vt


def curve(steps, values, targets, degree):
    return np.array([np.polyval(np.polyfit(steps, column, degree), targets) for column in values.T])


def continued(rank, degree, last=None):
    """RELEX: leading directions, each coefficient on a polynomial in the step number."""

    def rows(stack, _):
        used = slice(-last if last else 0, None)
        steps, stack = np.array(SEEN)[used], stack[used]
        c, vt = trajectory_svd(stack)
        return curve(steps, c[:, :rank], np.array(TARGETS), degree).T @ vt[:rank]

    return rows


def refitted(stack, _):
    """One spacing ahead at a time: 25, the median of 10, 30, 20 and 70."""
    c, vt = trajectory_svd(stack)
    steps, values, waiting, found = list(SEEN), list(c[:, 0]), list(TARGETS), {}
    while waiting:
        ahead = steps[-1] + 25
        line = np.polyfit(steps, values, 1)
        found |= {target: np.polyval(line, target) for target in waiting if target <= ahead}
        waiting = [target for target in waiting if target > ahead]
        steps, values = [*steps[1:], ahead], [*values[1:], np.polyval(line, ahead)]
    return np.outer([found[target] for target in TARGETS], vt[0])


def shrunk(stack, _):
    """Towards the last checkpoint by what RELEX missed from the later two thirds of the window."""
    ends = []
    c, vt = trajectory_svd(stack)
    far = np.outer(curve(SEEN, c[:, :1], np.array(TARGETS), 1)[0], vt[0])
    for target, row in zip(TARGETS, far, strict=True):
        product = square = 0.0
        for origin in (1, 2, 3):
            alike = SEEN[origin] * target / OBSERVE
            nearest = min(range(origin + 1, 5), key=lambda at, a=alike: abs(SEEN[at] - a))
            c, vt = trajectory_svd(stack[: origin + 1])
            line = np.polyfit(SEEN[: origin + 1], c[:, 0], 1)
            guess = np.polyval(line, SEEN[nearest]) * vt[0] - stack[origin]
            product += guess @ (stack[nearest] - stack[origin])
            square += guess @ guess
        share = min(max(product / square, 0.0), 1.0)
        ends.append(stack[-1] + share * (row - stack[-1]))
    return np.array(ends)


def scaled(factor_of):
    return lambda stack, name: np.outer([factor_of(t, name) for t in TARGETS], stack[-1])


METHODS = {
    "relex": ({}, continued(1, 1)),
    "relex rank 2": ({"rank": 2}, continued(2, 1)),
    "relex cubic": ({"fit": "polynomial", "degree": 3}, continued(1, 3)),
    "relex of three steps": ({"window": 3}, continued(1, 1, 3)),
    "relex refitted": ({"autoregressive": 1}, refitted),
    "shrunk_relex": ({}, shrunk),
    "relex_raw": (
        {},
        lambda stack, _: curve(SEEN, stack, np.array(TARGETS), 1).T,
    ),
    "hold_last": ({}, scaled(lambda target, name: 1.0)),
    "expo": ({"alpha": 0.3}, scaled(lambda target, name: 1.3)),
    "weight_extrapolation": ({}, scaled(lambda t, name: 1.0 if name == NORM else t / OBSERVE)),
    "first_update": ({}, lambda stack, _: np.outer([t / 10 for t in TARGETS], stack[0])),
    "first_update magnified": (
        {"scale": 7.0},
        lambda stack, _: np.outer([7.0] * len(TARGETS), stack[0]),
    ),
    "momentum": (
        {},
        lambda stack, _: [stack[-1] + (t - 140) / 70 * (stack[-1] - stack[-2]) for t in TARGETS],
    ),
}


@pytest.mark.parametrize("case", METHODS)
def test_predictions_are_their_definition_rounded_once(stored, tmp_path, case):
    settings, rows = METHODS[case]
    method = EXTRAPOLATORS[case.partition(" ")[0]]
    made = method.run(stored.trajectory, OBSERVE, TARGETS, tmp_path, **settings)
    assert [(each.observe, each.step) for each in made] == [(OBSERVE, step) for step in TARGETS]
    found = [load(each) for each in made]
    for name in (*SHAPES, OTHER):
        wanted = stored.predicted(name, rows(stored.stack(name), name))
        for tensors, values, target in zip(found, wanted, TARGETS, strict=True):
            stored.assert_rounded(tensors[name], values, (case, name, target))


def test_rebuilt_steps_are_projections_and_curves_in_between(exact, tmp_path):
    relex = EXTRAPOLATORS["relex"]
    made = relex.run(exact.trajectory, OBSERVE, (50, 60), tmp_path, reconstruct=True)
    at_50, between = map(load, made)
    for name in (*SHAPES, OTHER):
        c, vt = trajectory_svd(exact.stack(name))
        line = np.polyval(np.polyfit(SEEN, c[:, 0], 1), 60)
        rows = np.outer([c[2, 0], line], vt[0])
        for found, wanted in zip((at_50, between), exact.predicted(name, rows), strict=True):
            exact.assert_rounded(found[name], wanted, name)


@pytest.mark.parametrize("name", ["relex", "neural"])
def test_a_line_in_the_step_number_goes_on(tmp_path, name):
    weights = on_a_line(STEPS)
    trajectory = build(tmp_path, weights)
    (made,) = EXTRAPOLATORS[name].run(trajectory, OBSERVE, [190], tmp_path / "out")
    for tensor, found in load(made).items():
        move = weights[190][tensor] - weights[0][tensor]
        error = (found.double() - weights[190][tensor]).norm() / move.norm()
        assert float(error) < 0.1, tensor


def test_a_wave_in_the_step_number_goes_on(tmp_path):
    base, direction = gaussian(0), gaussian(1)
    steps = (10, 20, 40, 50, 70, 90, 100, 120, 130, 150)

    def at(step):
        return 0.5 + math.sin(2 * math.pi * step / 90 + 0.4)

    weights = {0: base} | {
        step: {name: base[name] + at(step) * direction[name] for name in base} for step in steps
    }
    trajectory = build(tmp_path, weights)
    method = EXTRAPOLATORS["relex"]
    for made in method.run(trajectory, 150, [165, 205], tmp_path / "out", fit="sinusoid"):
        for name, found in load(made).items():
            wanted = base[name] + at(made.step) * direction[name]
            assert torch.allclose(found.double(), wanted, atol=2e-4), (name, made.step)


def test_accuracies_are_continued_by_the_step_number():
    def at(step):
        return 0.8 - 0.7 * math.exp(-step / 60)

    known = {step: at(step) for step in (190, *SEEN)}  # in no order, one after the window
    found = wanted_accuracies(known, OBSERVE, [155, 230, 400], [])
    assert found == pytest.approx([at(155), at(230), at(400)], abs=1e-5)


@pytest.mark.parametrize(("target", "wanted"), [("final", 0.52), ("curve", None)])
def test_alpharl_of_irregular_steps_and_the_wanted_accuracy(exact, tmp_path, target, wanted):
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.linear_model import LinearRegression

    # Not the best accuracy is the final one; step 20 has none, the base has one.
    accuracy = {190: 0.52, 50: 0.34, 0: 0.12, 140: 0.61, 10: 0.21, 70: 0.47}
    (made,) = EXTRAPOLATORS["alpharl"].run(
        exact.trajectory, OBSERVE, [230], tmp_path, accuracy=accuracy, target=target
    )
    assert made.uses_future == (target == "final")
    if wanted is None:
        (wanted,) = wanted_accuracies(dict(sorted(accuracy.items())), OBSERVE, [230], [])
    fitted = [10, 50, 70, 140]
    y = np.array([accuracy[step] for step in (0, *fitted)])
    found = load(made)
    for name in (QUERY, UP, OTHER):
        base = exact.weights[0][name].numpy()
        vectors = {}
        last = np.linalg.svd(exact.weights[OBSERVE][name].numpy() - base)[2][0]
        for step in reversed(SEEN):
            u, sigma, _ = np.linalg.svd(exact.weights[step][name].numpy() - base)
            norm, near = np.linalg.norm(sigma), min(vectors, default=None)
            turn = -1.0 if near and u[:, 0] @ vectors[near] < 0 else 1.0
            vectors[step] = turn * norm * u[:, 0]
        x = np.array([0 * base[:, 0], *(vectors[step] for step in fitted)])
        pls = PLSRegression(n_components=1).fit(x, y)
        line = LinearRegression().fit(pls.transform(x), y)
        z = (wanted - line.intercept_) / line.coef_[0]
        left = pls.inverse_transform(np.array([[z]]))[0]
        assert found[name].numpy() == pytest.approx(base + np.outer(left, last), abs=3e-5), name


def test_the_oracle_keeps_each_steps_own_coefficients(stored, tmp_path):
    oracle = RECONSTRUCTIONS["trajectory_oracle"]
    for made in oracle.run(stored.trajectory, [70, 20], tmp_path, rank=2):
        for name, found in load(made).items():
            c, vt = trajectory_svd(stored.stack(name, STEPS))
            row = c[STEPS.index(made.step), :2] @ vt[:2]
            (wanted,) = stored.predicted(name, [row])
            stored.assert_rounded(found, wanted, (name, made.step))


@pytest.mark.parametrize(
    ("settings", "k", "factor"),
    [({}, 1, 1.0), ({"percent": 34.0, "scale": 0.4}, 3, 0.4), ({"rank": 2, "scale": 1.5}, 2, 1.5)],
)
def test_parts_of_each_steps_own_update(stored, tmp_path, settings, k, factor):
    recovery = RECONSTRUCTIONS["rank_recovery"]
    for made in recovery.run(stored.trajectory, [50, 190], tmp_path, **settings):
        for name, found in load(made).items():
            base = stored.weights[0][name]
            wanted, error = base, 0.0
            if ".layers." in name:
                update = (stored.weights[made.step][name] - base).numpy()
                u, sigma, vt = np.linalg.svd(update, full_matrices=False)
                low = (u[:, :k] * sigma[:k]) @ vt[:k]
                size = np.linalg.norm(update) / np.linalg.norm(low)
                wanted = base + torch.from_numpy(factor * size * low)
                if stored.dtype == torch.float32:  # updates of 16-bit weights are exact in it
                    error = 2.0**-23 * np.abs(update).max()
            stored.assert_rounded(found, wanted, (name, made.step), error)


def test_noise_is_of_its_own_in_every_matrix_and_of_the_updates_size(exact, tmp_path):
    noise = {}
    for seed in (3, 4):
        (made,) = RECONSTRUCTIONS["random_update"].run(
            exact.trajectory, [70], tmp_path / str(seed), seed=seed
        )
        for name in (QUERY, OTHER):
            base = exact.weights[0][name]
            update = exact.weights[70][name] - base
            part = load(made)[name].double() - base
            assert float(part.norm()) == pytest.approx(float(update.norm()), rel=1e-5)
            noise[seed, name] = (part / part.norm()).flatten()
    names = list(noise)
    for place, one in enumerate(names):
        for other in names[:place]:
            assert abs(float(noise[one] @ noise[other])) < 0.6, (one, other)


def test_forecasts_are_judged_in_float64(stored, tmp_path):
    made = [
        each
        for method, observe in (("relex", 70), ("momentum", 140))
        for each in EXTRAPOLATORS[method].run(
            stored.trajectory, observe, [step for step in (140, 190) if step > observe], tmp_path
        )
    ]
    given = [(each.method, each.observe, each.step, each.folder) for each in made]
    table = forecast_errors(stored.trajectory, given)
    assert len(table) == 3 * (len(SHAPES) + 1)
    tensors = {each.folder: load(each) for each in made}
    for row in table.itertuples():
        (folder,) = [
            each.folder
            for each in made
            if (each.method, each.observe, each.step) == (row.method, row.observe, row.step)
        ]
        guess, true = tensors[folder][row.tensor].double(), stored.weights[row.step][row.tensor]
        base, held = (stored.weights[step][row.tensor] for step in (0, row.observe))
        sse, hold = ((each - true).square().sum().item() for each in (guess, held))
        one, two = (guess - base).flatten(), (true - base).flatten()
        expected = {
            "sse": sse,
            "sse_hold": hold,
            "skill": 1 - sse / hold,
            "cosine": float(one @ two / (one.norm() * two.norm())),
            "magnitude_ratio": float(one.norm() / two.norm()),
        }
        for column, value in expected.items():
            assert getattr(row, column) == pytest.approx(value, rel=1e-9), (row, column)


def test_shares_of_the_training_are_of_its_steps():
    shares = {0.04: 10, 0.15: 50, 0.3: 70, 0.5: 140, 0.737: 190, 1.0: 190}
    assert {share: observed_step(STEPS, share) for share in shares} == shares
    assert [target_step(STEPS, share) for share in (0.2, 1.0, 1.3, 2.0)] == [50, 190, 247, 380]


def run_of(tmp_path, **metrics):
    given = [f"run_dir={tmp_path}", "seed=11"]
    if metrics:
        (tmp_path / "train").mkdir(exist_ok=True)
        pd.DataFrame(metrics).to_parquet(tmp_path / "train" / "metrics.parquet")
    return Run(configured(given), tmp_path)


def test_rollouts_belong_to_the_checkpoint_before(tmp_path):
    run = run_of(
        tmp_path,
        step=[70, 1, 51, 10, 21, 11, 2],
        **{"critic/score/mean": [0.4, 0.9, 0.6, 0.2, np.nan, 0.3, 0.5]},
    )
    series = accuracy_of(run)
    assert series is not None
    # Step 1 is the base's, step 21 has no score.
    assert series.values == {0: 0.9, 69: 0.4, 50: 0.6, 9: 0.2, 10: 0.3, 1: 0.5}
    assert accuracy_of(run_of(tmp_path / "none")) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rank, degree", [(1, 1), (3, 2)])
def test_large_16_bit_tensors_are_predicted_as_in_float64(tmp_path, dtype, rank, degree):
    generator, steps = torch.Generator().manual_seed(0), np.arange(1, 13)
    base, drift = (torch.randn(300, 257, generator=generator) for _ in range(2))
    weights, walk = {0: {UP: 0.02 * base}}, torch.zeros(300, 257)
    for step in steps.tolist():
        walk = walk + torch.randn(300, 257, generator=generator)
        weights[step] = {UP: 0.02 * base + 1e-4 * step * drift + 5e-5 * walk}
    trajectory = build(tmp_path, weights, dtype)
    (made,) = EXTRAPOLATORS["relex"].run(
        trajectory, 12, [18], tmp_path / "out", rank=rank, fit="polynomial", degree=degree
    )
    stored = torch.stack([trajectory.tensor(step, UP).double().flatten() for step in range(13)])
    u, sigma, vt = np.linalg.svd((stored[1:] - stored[0]).numpy(), full_matrices=False)
    curve = np.polyfit(steps, (u * sigma)[:, :rank], degree)
    ahead = 18.0 ** np.arange(degree, -1, -1) @ curve
    exact = stored[0] + torch.from_numpy(ahead @ vt[:rank])
    error = (load(made)[UP].double().flatten() - exact).abs()
    rounded = (exact.to(dtype).double() - exact).abs()
    assert float((error - rounded).max()) < 1e-6 * float(exact.abs().max())


def test_the_stage_predicts_what_was_configured(exact, tmp_path):
    methods = (
        "[hold_last,{name: expo,label: more,parameters: {alpha: 0.25},windows: [0.3],"
        "targets: [1.0,1.5]},{name: first_update,grid: {scale: [2.0,3.0]},windows: [0.1]}]"
    )
    rebuilt = "[{name: random_update,targets: [0.2,0.6]}]"
    run = Run(
        configured(
            [
                "+exp=trajectory",
                f"source.base={exact.root / 'base'}",
                f"source.checkpoints={exact.root / 'checkpoints'}",
                "source.allow_gaps=true",
                f"run_dir={tmp_path}",
                "seed=11",
                "extrapolation.windows=[0.5]",
                "extrapolation.targets=[0.9]",
                f"extrapolation.methods={methods}",
                f"extrapolation.reconstructions={rebuilt}",
            ]
        ),
        tmp_path,
    )
    folder = run.of("extrapolate")
    folder.mkdir()
    extrapolate(run, folder)
    index = pd.read_parquet(folder / "index.parquet")
    found = list(index[["method", "observe", "step"]].itertuples(index=False, name=None))
    assert found == [
        ("hold_last", 140, 190),
        ("more", 70, 190),
        ("more", 70, 285),
        ("first_update_scale_2_0", 20, 190),
        ("first_update_scale_3_0", 20, 190),
        ("random_update", 0, 50),
        ("random_update", 0, 140),
    ]
    assert index["candidate_of"].tolist()[3:5] == ["first_update"] * 2
    assert index["uses_future"].tolist() == [False] * 5 + [True] * 2
    forecast = pd.read_parquet(folder / "forecast.parquet")
    judged = forecast[["method", "observe", "step"]].drop_duplicates()
    assert [tuple(row) for row in judged.itertuples(index=False)] == [
        each for each in found if each[2] in STEPS
    ]
    (seeded,) = RECONSTRUCTIONS["random_update"].run(exact.trajectory, [50], tmp_path, seed=11)
    assert seeded.identity == index.set_index(["method", "step"])["identity"]["random_update", 50]
