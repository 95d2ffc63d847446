"""Every number of the measurement against float64 numpy on the stored weights.

Steps are irregular, so that a place in the trajectory is never taken for a step number; no two
values that could stand for each other are equal; the weights are stored as float32, bfloat16 and
float16, and moves are small beside the weights, so that a rounded update shows.
"""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from rlvr_dynamics.checkpoints import Differences, Trajectory
from rlvr_dynamics.measurement import AccuracySeries, MeasureSettings, measure
from rlvr_dynamics.schema.tables import MEASURED
from tests.support.extrapolation_fixture import SHAPES, UP, build, gaussian

STEPS = (10, 20, 50, 70, 110)
UPDATES, SPECTRA = (10, 50, 70, 110), (20, 110)
QUERY, DOWN = "model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.down_proj.weight"
MATRICES = (QUERY, UP, DOWN)
# In no order, some of no checkpoint, and step 70 without one; not monotonic.
ACCURACY = {110: 0.55, 33: 0.9, 10: 0.31, 50: 0.44, 20: 0.62}
WHOLE = {**ACCURACY, 70: 0.38}
K = 3
SPACING = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}


def planted():
    """A direction that turns and comes back, a second one and noise, small beside the weights."""
    base, one, two = gaussian(0), gaussian(1), gaussian(2)
    along = (0.02, 0.05, 0.045, 0.09, 0.08)
    across = (0.01, -0.02, 0.03, 0.015, -0.012)
    found = {0: base}
    for step, a, b in zip(STEPS, along, across, strict=True):
        noise = gaussian(200 + step)
        found[step] = {
            name: base[name] + a * one[name] + b * two[name] + 0.004 * noise[name] for name in base
        }
    return found


class Stored:
    """The weights as a dtype keeps them, in float64, and what was measured of them."""

    def __init__(self, dtype, root):
        self.dtype = dtype
        weights = planted()
        self.trajectory = build(root, weights, dtype)
        self.weights = {
            step: {name: tensor.to(dtype).double().numpy() for name, tensor in tensors.items()}
            for step, tensors in weights.items()
        }
        self.tables = self.measured(root / "m", ACCURACY)

    def measured(self, folder, accuracies):
        settings = MeasureSettings(
            top_k=K, update_steps=UPDATES, spectrum_steps=2, draws=30, seed=3, directions=False
        )
        series = AccuracySeries(accuracies, "planted")
        measure(self.trajectory, settings, folder, accuracy=series, progress=False)
        return {name: pd.read_parquet(folder / f"{name}.parquet") for name in MEASURED}

    def update(self, name, step, before=0):
        return self.weights[step][name] - self.weights[before][name]

    def stack(self, name):
        return np.array([self.update(name, step).ravel() for step in STEPS])

    def svd(self, name):
        """Left vectors that grow with the step number, singular values, directions."""
        u, sigma, vt = np.linalg.svd(self.stack(name), full_matrices=False)
        sign = np.sign([np.polyfit(STEPS, column, 1)[0] for column in u.T])
        return u * sign, sigma, vt * sign[:, None]

    def of(self, table, name):
        found = self.tables[table]
        return found[found["tensor"] == name].reset_index(drop=True)


close = pytest.approx


@pytest.fixture(scope="module", params=SPACING, ids=str)
def stored(request, tmp_path_factory):
    return Stored(request.param, tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return Stored(torch.float32, tmp_path_factory.mktemp("exact"))


@pytest.fixture(scope="module")
def pls(exact, tmp_path_factory):
    return exact.measured(tmp_path_factory.mktemp("pls"), WHOLE)["pls"].set_index("tensor")


def near(values):
    return pytest.approx(np.asarray(values, dtype=float), rel=2e-6, abs=1e-9)


@pytest.mark.parametrize("budget", [1, 1 << 30])
def test_a_part_of_an_update_is_the_difference_rounded_once(stored, budget):
    part = Differences(stored.trajectory, QUERY, budget).part(2, 3, 17)
    wanted = stored.update(QUERY, STEPS[2]).ravel()[3:17].astype(np.float32)
    assert np.array_equal(part.numpy(), wanted)


@pytest.mark.parametrize("name", SHAPES)
def test_norms_and_changes(stored, name):
    rows, d = stored.of("norms", name), math.prod(SHAPES[name])
    base = np.linalg.norm(stored.weights[0][name])
    moves = [
        stored.update(name, step, before)
        for before, step in zip((0, *STEPS[:-1]), STEPS, strict=True)
    ]
    updates = [stored.update(name, step) for step in STEPS]
    norms = np.array([np.linalg.norm(update) for update in updates])
    assert tuple(rows["step"]) == STEPS
    assert rows["update_norm"].to_numpy() == near(norms)
    assert rows["step_norm"].to_numpy() == near([np.linalg.norm(move) for move in moves])
    assert rows["base_norm"].to_numpy() == near([base] * len(STEPS))
    assert rows["relative_update"].to_numpy() == near(norms / base)
    for column, changes in (("changed_share", updates), ("step_changed_share", moves)):
        assert rows[column].tolist() == [np.count_nonzero(change) / d for change in changes]


@pytest.mark.parametrize("name", SHAPES)
def test_what_narrower_dtypes_would_keep(stored, name):
    """Whatever the files hold: arXiv 2505.11711 reads bfloat16, the code of RELEX float16."""
    rows, d = stored.of("norms", name).set_index("step"), math.prod(SHAPES[name])

    def cast(step, dtype):
        return torch.from_numpy(stored.weights[step][name]).to(dtype).double().numpy()

    rounded = cast(0, torch.bfloat16)  # as if the run had begun there
    for step in STEPS:
        wanted = torch.from_numpy((rounded + stored.update(name, step)).astype(np.float32))
        moved = np.abs(wanted.bfloat16().double().numpy() - rounded)
        row = rows.loc[step]
        assert row["bfloat16_changed_share"] == np.count_nonzero(moved > 1e-5) / d
        assert row["bfloat16_differing_share"] == np.count_nonzero(moved) / d
        narrow = (cast(step, torch.float16) - cast(0, torch.float16)).astype(np.float16)
        update = stored.update(name, step)
        error = np.sum((narrow.astype(float) - update) ** 2)
        assert row["float16_rounding_share"] == close(error / np.sum(update**2), rel=1e-4, abs=1e-9)


def test_a_change_counts_as_none_up_to_the_tolerance_of_the_paper(tmp_path):
    """In bfloat16 the spacing is 2^-7 of the power of two below a weight."""
    middle = 1.0 + 2.0**-8  # between two values: rounded by itself, the least move is a whole one
    base = torch.tensor([1.0, 1.0, 2.0**-10, 2.0**-10, 2.0**-9, middle, 1.0, 70000.0])
    ulp = torch.tensor([2.0**-7, 2.0**-7, 2.0**-17, 2.0**-17, 2.0**-16, 2.0**-7, 2.0**-7, 0.0])
    moves = torch.tensor([1.0, 0.49, 1.0, 2.0, 1.0, 0.01, 0.51, 0.0])  # in units of the spacing
    name = "model.norm.weight"
    trajectory = build(tmp_path, {0: {name: base}, 1: {name: base + moves * ulp}})
    measure(trajectory, MeasureSettings(draws=5), tmp_path / "m", progress=False)
    row = pd.read_parquet(tmp_path / "m" / "norms.parquet").iloc[0]
    assert row["changed_share"] == 7 / 8
    assert row["bfloat16_differing_share"] == 5 / 8
    assert row["bfloat16_changed_share"] == 4 / 8  # 2^-17 is 0.8e-5, 2^-16 is 1.5e-5
    assert math.isnan(row["float16_rounding_share"])  # 70000 is beyond float16


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_reading_as_a_narrower_dtype_measures_what_narrower_files_would_show(tmp_path, dtype):
    """The narrower run begins at the rounded base, and its updates are those of the wide one."""
    wide, narrow = (tmp_path / one for one in ("wide", "narrow"))
    weights, kind = planted(), getattr(torch, dtype)
    weights = {step: {n: t.float() for n, t in each.items()} for step, each in weights.items()}
    build(wide, weights)
    base = {n: t.to(kind).float() for n, t in weights[0].items()}
    moved = {
        step: {n: base[n] + (t - weights[0][n]) for n, t in each.items()}
        for step, each in weights.items()
    }
    settings = MeasureSettings(top_k=K, spectrum_steps=2, draws=20, directions=False)
    read = Trajectory.open(wide / "base", wide / "checkpoints", allow_gaps=True, round_to=dtype)
    cast = build(narrow, moved, kind)
    assert (read.dtype, read.stored_dtype, cast.stored_dtype) == (dtype, "float32", dtype)
    assert f"float32 files are read as {dtype}, rounded to the nearest" in read.notes
    for trajectory, root in ((read, wide), (cast, narrow)):
        measure(trajectory, settings, root / "m", progress=False)
    ours, theirs = (Differences(each, QUERY).rows() for each in (read, cast))
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        assert torch.equal(torch.stack(list(one)), torch.stack(list(other)))
    for name in MEASURED:
        if name != "checkpoints":
            ours, theirs = (
                pd.read_parquet(root / "m" / f"{name}.parquet") for root in (wide, narrow)
            )
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_steps_in_the_dtype_already_are_read_as_they_are(tmp_path):
    """Such as a prediction beside a base that is finer."""
    build(tmp_path, {0: gaussian(0), 1: gaussian(2)})
    wanted = build(tmp_path / "narrow", {0: gaussian(0), 1: gaussian(1)}, torch.bfloat16)
    for dtype in (None, "bfloat16"):
        read = Trajectory.open(
            tmp_path / "base", tmp_path / "narrow" / "checkpoints", round_to=dtype
        )
        ((_, rows),) = Differences(read, QUERY).rows()
        for found in (rows[1], read.elements(1, QUERY, 0, read.numel(QUERY))):
            assert torch.equal(found, wanted.tensor(1, QUERY).flatten())


def test_statistics_of_one_dtype_are_not_taken_for_those_of_another(tmp_path):
    build(tmp_path, planted())
    settings, shares = MeasureSettings(draws=5, directions=False), {}
    for dtype in (None, "bfloat16", "float16", None):
        read = Trajectory.open(
            tmp_path / "base", tmp_path / "checkpoints", allow_gaps=True, round_to=dtype
        )
        measure(read, settings, tmp_path / "m", progress=False)
        rows = pd.read_parquet(tmp_path / "m" / "norms.parquet")
        shares.setdefault(dtype, []).append(rows["rounding_share"].sum())
    assert shares[None][0] == shares[None][1]
    assert shares[None][0] < shares["float16"][0] < shares["bfloat16"][0]


def ulps(weights, spacing):
    return spacing * 2.0 ** np.floor(np.log2(np.abs(weights)))


@pytest.mark.parametrize("name", SHAPES)
def test_what_rounding_accounts_for(stored, name):
    ulp = ulps(stored.weights[0][name], SPACING[stored.dtype])
    squares = [np.sum(stored.update(name, step) ** 2) for step in STEPS]
    rows = stored.of("norms", name)
    assert rows["rounding_share"].to_numpy() == near(np.sum(ulp**2) / 12 / np.array(squares))


def test_weights_cast_up_are_as_coarse_as_the_dtype_they_came_from(tmp_path):
    """Step 1 was bfloat16, step 2 float16, step 3 is float32, and step 4 repeats the base."""
    base, last = gaussian(0)[QUERY].bfloat16().float(), gaussian(1)[QUERY]
    cast = {1: torch.bfloat16, 2: torch.float16, 3: torch.float32}
    weights = {step: {QUERY: last.to(dtype).float()} for step, dtype in cast.items()}
    weights |= {0: {QUERY: base}, 4: {QUERY: base}}
    measure(build(tmp_path, weights), MeasureSettings(draws=5), tmp_path / "m", progress=False)
    rows = pd.read_parquet(tmp_path / "m" / "norms.parquet").set_index("step")
    for step, dtype in cast.items():
        square = np.sum((weights[step][QUERY] - base).double().numpy() ** 2)
        ulp = ulps(base.double().numpy(), SPACING[dtype])
        assert rows.loc[step, "rounding_share"] == close(np.sum(ulp**2) / 12 / square, rel=1e-5)
    assert math.isnan(rows.loc[4, "rounding_share"])


@pytest.mark.parametrize("name", SHAPES)
def test_the_trajectory_and_its_coefficients(stored, name):
    u, sigma, _ = stored.svd(name)
    rows = stored.of("trajectory_svd", name)
    assert rows["index"].tolist() == [1, 2, 3]
    assert rows["sigma"].to_numpy() == near(sigma[:K])
    assert rows["explained_variance"].to_numpy() == near(np.cumsum(sigma**2)[:K] / sum(sigma**2))
    found = stored.of("coefficients", name).set_index(["step", "index"])["coefficient"]
    expected = (u * sigma)[:, :3]
    for place, step in enumerate(STEPS):
        for index in (1, 2, 3):
            value = expected[place, index - 1]
            assert found[step, index] == close(value, rel=1e-5, abs=1e-6 * sigma[0])


def test_a_direction_grows_with_the_step_number_and_not_with_the_place(tmp_path):
    values = (0.2, -0.3, 0.01, 0.02, 0.005)
    assert np.polyfit(STEPS, values, 1)[0] > 0 > np.polyfit(range(5), values, 1)[0]
    one = {"model.norm.weight": torch.ones(4)}
    weights = {0: one} | {
        step: {name: tensor + value for name, tensor in one.items()}
        for step, value in zip(STEPS, values, strict=True)
    }
    measure(build(tmp_path, weights), MeasureSettings(draws=5), tmp_path / "m", progress=False)
    found = pd.read_parquet(tmp_path / "m" / "coefficients.parquet").query("index == 1")
    assert found["coefficient"].to_numpy() == close(2 * np.array(values), rel=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_the_line_is_one_in_the_step_number(stored, name):
    u, sigma, _ = stored.svd(name)
    y, t = u[:, 0] * sigma[0], np.array(STEPS, dtype=float)
    row = stored.of("linearity", name).iloc[0]
    slope, intercept = np.polyfit(t, y, 1)
    left_out = []
    for place in range(len(t)):
        others = np.arange(len(t)) != place
        left_out.append(np.polyval(np.polyfit(t[others], y[others], 1), t[place]))
    early, late = slice(0, 3), slice(3, 5)
    held = np.polyval(np.polyfit(t[early], y[early], 1), t[late])

    def r2(values, line):
        return 1 - np.sum((values - line) ** 2) / np.sum((values - values.mean()) ** 2)

    expected = {
        "T": 5,
        "slope": slope,
        "intercept": intercept,
        "r2": r2(y, slope * t + intercept),
        "loo_r2": r2(y, np.array(left_out)),
        "heldout_r2": r2(y[late], held),
    }
    for column, value in expected.items():
        assert row[column] == close(value, rel=1e-4, abs=1e-7), column
    assert slope > 0


@pytest.mark.parametrize("name", SHAPES)
def test_projections_on_the_directions(stored, name):
    stack, (_, _, vt) = stored.stack(name), stored.svd(name)
    found = stored.of("oracle", name).set_index(["step", "rank"])
    assert sorted(set(found.index)) == [(step, rank) for step in STEPS for rank in (1, 3, 5)]
    for row, step in zip(stack, STEPS, strict=True):
        for rank in (1, 3):
            kept = vt[:rank].T @ (vt[:rank] @ row)
            values = found.loc[(step, rank)]
            assert values["cosine"] == close(np.linalg.norm(kept) / np.linalg.norm(row), rel=1e-6)
            error = np.linalg.norm(kept - row) / np.linalg.norm(row)
            assert values["relative_error"] == close(error, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", SHAPES)
def test_the_first_steps_directions_against_the_last(stored, name):
    stack, (_, _, vt) = stored.stack(name), stored.svd(name)
    rows = stored.of("drift", name)
    # A share of five steps is the nearest number of them, a half being rounded up.
    counts = {0.1: 1, 0.15: 1, 0.2: 1, 0.3: 2, 0.4: 2, 0.5: 3, 0.75: 4}
    assert rows["share"].tolist() == list(counts)
    assert rows["stop"].tolist() == [STEPS[count - 1] for count in counts.values()]
    for row, count in zip(rows.itertuples(), counts.values(), strict=True):
        early = np.linalg.svd(stack[:count], full_matrices=False)[2][0]
        assert row.cosine == close(abs(early @ vt[0]), rel=1e-6)


@pytest.mark.parametrize("name", MATRICES)
def test_triples_of_the_chosen_steps(stored, name):
    rows = stored.of("update_svd", name)
    m, n = SHAPES[name]
    pairs = rows[["step", "index"]].itertuples(index=False, name=None)
    assert list(pairs) == [(step, index) for step in UPDATES for index in (1, 2, 3)]
    for step, part in rows.groupby("step"):
        update = stored.update(name, step)
        sigma, norm = np.linalg.svd(update, compute_uv=False), np.linalg.norm(update)
        assert part["sigma"].to_numpy() == near(sigma[:K])
        assert part["frobenius"].to_numpy() == near([norm] * K)
        assert part["norm_share"].to_numpy() == near(sigma[:K] / norm)
        assert part["energy_share"].to_numpy() == near(sigma[:K] ** 2 / norm**2)
    # Shares of Gaussian matrices, by index: drawn here in full.
    noise = np.random.default_rng(4).standard_normal((4000, m, n))
    spectra = np.linalg.svd(noise, compute_uv=False)
    shares = (spectra / np.linalg.norm(spectra, axis=1, keepdims=True)).mean(axis=0)[:K]
    assert rows["norm_share_null"].to_numpy()[:K] == close(shares, rel=0.12)
    assert set(rows[["m", "n"]].itertuples(index=False, name=None)) == {(m, n)}


@pytest.mark.parametrize("name", MATRICES)
def test_the_share_of_gaussian_matrices_has_an_upper_end(stored, name):
    rows = stored.of("rank_shares", name).set_index("rank")
    m, n = SHAPES[name]
    spectra = np.linalg.svd(
        np.random.default_rng(4).standard_normal((4000, m, n)), compute_uv=False
    )
    for label in ("1", "50%"):
        row = rows.loc[[label]].iloc[-1]
        shares = np.linalg.norm(spectra[:, : row["k"]], axis=1) / np.linalg.norm(spectra, axis=1)
        below = np.mean(shares < row["norm_share_null_high"])
        assert 0.8 < below <= 1.0, label  # of 16 draws
        assert row["norm_share_null"] < row["norm_share_null_high"] < 1.0


@pytest.mark.parametrize("name", MATRICES)
def test_spectra_of_steps_evenly_spread_with_the_last(stored, name):
    rows, ranks = stored.of("rank_shares", name), stored.of("update_rank", name)
    m, n = SHAPES[name]
    assert sorted(set(rows["step"])) == list(SPECTRA) == ranks["step"].tolist()
    base = np.linalg.svd(stored.weights[0][name])
    norm = np.linalg.norm(stored.weights[0][name])
    edge = (math.sqrt(m) + math.sqrt(n)) / math.sqrt(3 * m * n)
    floor = SPACING[stored.dtype] * norm * edge
    for step, of_ranks in zip(SPECTRA, ranks.itertuples(), strict=True):
        u, sigma, vt = np.linalg.svd(stored.update(name, step))
        part = rows[rows["step"] == step].set_index("rank")
        for label, percent in {"1": 0, "20%": 20, "50%": 50, "90%": 90}.items():
            k = max(1, math.ceil(percent * min(m, n) / 100))
            share = np.linalg.norm(sigma[:k]) / np.linalg.norm(sigma)
            assert part.loc[label, "k"] == k
            assert part.loc[label, "norm_share"] == close(share, rel=1e-6)
        share = sigma / sigma.sum()
        assert of_ranks.stable_rank == close(sum(sigma**2) / sigma[0] ** 2, rel=1e-6)
        assert of_ranks.effective_rank == close(np.exp(-sum(share * np.log(share))), rel=1e-6)
        assert of_ranks.numerical_rank == np.count_nonzero(sigma > floor)
        for side, one, two in (("left", u, base[0]), ("right", vt.T, base[2].T)):
            cosines = np.linalg.svd(one[:, :K].T @ two[:, :K], compute_uv=False)
            assert getattr(of_ranks, f"base_cosine_{side}") == close(cosines[0], rel=1e-5), side
        assert (of_ranks.full_rank, of_ranks.subspace_k) == (min(m, n), K)


@pytest.mark.parametrize("name", MATRICES)
def test_nulls_of_the_spectra_are_those_of_their_own_side_and_measure(exact, name):
    m, n = SHAPES[name]
    row = exact.of("update_rank", name).iloc[0]
    generator = np.random.default_rng(5)
    spectra = np.linalg.svd(generator.standard_normal((2000, m, n)), compute_uv=False)
    shares = spectra / spectra.sum(axis=1, keepdims=True)
    stable = np.mean((spectra**2).sum(axis=1) / spectra[:, 0] ** 2)
    assert row["stable_rank_null"] == close(stable, rel=0.15)
    effective = np.mean(np.exp(-(shares * np.log(shares)).sum(axis=1)))
    assert row["effective_rank_null"] == close(effective, rel=0.06)
    for side, length in (("left", m), ("right", n)):
        one, two = np.linalg.qr(generator.standard_normal((2, 1000, length, K)))[0]
        cosines = np.linalg.svd(one.swapaxes(1, 2) @ two, compute_uv=False)[:, 0]
        # 0.78 in 10 dimensions and 0.94 in 6.
        assert row[f"base_cosine_{side}_null"] == close(np.mean(cosines), abs=0.06), side


def leading(stored, name):
    """u1 of the decomposed steps, turned from the last to the first so that neighbours agree."""
    found = [np.linalg.svd(stored.update(name, step))[0][:, 0] for step in UPDATES]
    for place in reversed(range(len(found) - 1)):
        found[place] = found[place] * np.sign(found[place] @ found[place + 1])
    return np.array(found)


@pytest.mark.parametrize("name", MATRICES)
def test_the_leading_vectors_beside_the_next_and_the_last(stored, name):
    rows, u1 = stored.of("u1_alignment", name), leading(stored, name)
    assert tuple(rows["step"]) == UPDATES
    following = [*(u1[:-1] * u1[1:]).sum(axis=1), np.nan]
    assert rows["cosine_next"].to_numpy() == close(np.array(following), abs=1e-5, nan_ok=True)
    assert rows["cosine_last"].to_numpy() == close(u1 @ u1[-1], abs=1e-5)
    sigma = [np.linalg.norm(stored.update(name, step), 2) for step in UPDATES]
    norms = [np.linalg.norm(stored.update(name, step)) for step in UPDATES]
    assert rows["sigma1"].to_numpy() == near(sigma)
    assert rows["alpha"].to_numpy() == near(np.array(norms) / sigma)


@pytest.mark.parametrize("name", MATRICES)
def test_partial_least_squares_pairs_each_vector_with_its_steps_accuracy(exact, pls, name):
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.linear_model import LinearRegression

    assert exact.tables["pls"].empty  # three of these steps have an accuracy, and four are needed
    features, y = leading(exact, name), np.array([WHOLE[step] for step in UPDATES])

    def fitted(rows):
        found = PLSRegression(n_components=1).fit(features[rows], y[rows])
        line = LinearRegression().fit(found.transform(features[rows]), y[rows])
        return line.predict(found.transform(features))

    every = np.arange(len(y))
    spread = np.sum((y - y.mean()) ** 2)
    left_out = [fitted(every[every != place])[place] for place in every]
    row = pls.loc[name]
    assert row["T"] == 4
    assert row["r2"] == close(1 - np.sum((y - fitted(every)) ** 2) / spread, abs=1e-5)
    assert row["loo_r2"] == close(1 - np.sum((y - left_out) ** 2) / spread, rel=1e-3)


def test_the_summary_over_tensors(stored):
    rows = stored.tables["explained_variance"].set_index("rank")
    sizes = np.array([math.prod(shape) for shape in SHAPES.values()])
    first = stored.tables["trajectory_svd"].query("index == 1")
    for rank in (1, 3, 5):
        shares = []
        for name in SHAPES:
            square = np.linalg.svd(stored.stack(name), compute_uv=False) ** 2
            shares.append(square[:rank].sum() / square.sum())
        row, shares = rows.loc[rank], np.array(shares)
        assert (row["tensors"], row["parameters"]) == (len(SHAPES), sizes.sum())
        assert row["min"] == close(shares.min(), rel=1e-6)
        assert row["mean"] == close(shares.mean(), rel=1e-6)
        assert row["median"] == close(np.median(shares), rel=1e-6)
        assert row["weighted_mean"] == close(shares @ sizes / sizes.sum(), rel=1e-6)
        for level in (90, 95, 99):
            assert row[f"above_{level}"] == np.count_nonzero(shares >= level / 100)
    assert rows.loc[1, "null_mean"] == close(first["null_mean"].mean())
    assert rows.loc[1, "null_high"] == close(first["null_high"].mean())
    assert rows.loc[[3, 5], ["null_mean", "null_high"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("dtype", "rank"), [(torch.float32, 4), (torch.float16, 3), (torch.bfloat16, 2)]
)
def test_singular_values_count_above_the_rounding_of_their_own_dtype(tmp_path, dtype, rank):
    """Rounding alone reaches 0.025 in bfloat16, 0.003 in float16 and 4e-7 in float32."""
    base, noise = gaussian(0), gaussian(1)
    moved = dict(base)
    for name in MATRICES:
        u, _, vt = torch.linalg.svd(noise[name], full_matrices=False)
        sigma = torch.tensor([0.5, 0.08, 0.012, 0.0005], dtype=torch.float64)
        moved[name] = base[name] + (u[:, :4] * sigma) @ vt[:4]
    trajectory = build(tmp_path, {0: base, 30: moved}, dtype)
    measure(trajectory, MeasureSettings(draws=5), tmp_path / "m", progress=False)
    found = pd.read_parquet(tmp_path / "m" / "update_rank.parquet").set_index("tensor")
    assert found["numerical_rank"].to_dict() == dict.fromkeys(MATRICES, rank)
