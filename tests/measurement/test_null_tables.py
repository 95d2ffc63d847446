"""The nulls in the tables are bands of 95 % of what chance draws, for each tensor by itself.

Chance is simulated here with numpy alone, in as many dimensions as the tensor has. A band is judged
by how many simulated draws lie below its ends, which does not depend on their distribution.
"""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch

from rlvr_dynamics.dynamics import (
    gaussian_spectrum,
    linearity,
    permuted_accuracies,
    prefix_drift_null,
    random_cosine,
    random_walk_null,
    walk_accuracies,
)
from rlvr_dynamics.measurement import (
    AccuracySeries,
    MeasureSettings,
    OptimizerRecord,
    measure,
)
from rlvr_dynamics.results.frames import on_clock
from tests.support.extrapolation_fixture import SHAPES, UP, build, wandering

STEPS = (10, 20, 50, 70, 80, 110)
ACCURACY = dict(zip(STEPS, (0.31, 0.52, 0.44, 0.61, 0.57, 0.66), strict=True))
DOWN = "model.layers.0.mlp.down_proj.weight"
DRAWS = 4000
SHARES = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75)


@pytest.fixture(scope="module")
def weights():
    """Two matrices move alike: the same lengths, the same number of elements."""
    found = wandering(STEPS)
    for tensors in found.values():
        tensors[DOWN] = tensors[UP].mT.contiguous()
    return found


@pytest.fixture(scope="module")
def tables(weights, tmp_path_factory):
    root = tmp_path_factory.mktemp("nulls")
    series = AccuracySeries(ACCURACY, "planted")
    settings = MeasureSettings(draws=DRAWS, seed=5, directions=False)
    measure(build(root, weights), settings, root / "m", accuracy=series, progress=False)
    names = ("trajectory_svd", "linearity", "drift", "pls", "coefficients")
    return {name: pd.read_parquet(root / "m" / f"{name}.parquet") for name in names}


def path_of(weights, name):
    """Updates of a tensor as float32 stores them, shape (T, d)."""
    stored = [weights[step][name].float().double().numpy().reshape(-1) for step in (0, *STEPS)]
    return np.array(stored[1:]) - stored[0]


def walks(path, seed):
    """Random walks with a path's step lengths, shape (DRAWS, T, d)."""
    lengths = np.linalg.norm(np.diff(path, axis=0, prepend=0), axis=1)
    rows = np.random.default_rng(seed).standard_normal((DRAWS, *path.shape))
    rows *= (lengths / np.linalg.norm(rows, axis=2))[:, :, None]
    return np.cumsum(rows, axis=1)


def assert_band(row, prefix, simulated):
    """The ends have 2.5 % of the simulated draws outside each; the mean is theirs."""
    for end, share in (("low", 0.025), ("high", 0.975)):
        below = np.mean(simulated < row[f"{prefix}_{end}"])
        assert below == pytest.approx(share, abs=0.016), (prefix, end)
    if "heldout" not in prefix:  # a few draws far below decide that mean
        off = abs(np.mean(simulated) - row[f"{prefix}_mean"])
        assert off < 6 * np.std(simulated) / np.sqrt(DRAWS), prefix


@pytest.mark.parametrize("place", range(len(SHAPES)))
def test_walks_have_the_lengths_of_the_tensors_own_steps(weights, tables, place):
    name = list(SHAPES)[place]
    drawn = walks(path_of(weights, name), seed=place)
    u, sigma, v = np.linalg.svd(drawn, full_matrices=False)
    leading = tables["trajectory_svd"].query("tensor == @name and index == 1").iloc[0]
    assert_band(leading, "null", sigma[:, 0] ** 2 / (sigma**2).sum(axis=1))
    line, row = (
        linearity(np.array(STEPS), u[:, :, 0]),
        on_clock(tables["linearity"]).set_index("tensor"),
    )
    for score in ("r2", "heldout_r2", "loo_r2"):
        assert_band(row.loc[name], f"{score}_null", getattr(line, score))
    drift = tables["drift"].query("tensor == @name").set_index("share")
    assert tuple(drift.index) == SHARES
    for share in (0.4, 0.5, 0.75):
        stop = STEPS.index(drift.loc[share, "stop"]) + 1
        early = np.linalg.svd(drawn[:, :stop], full_matrices=False)[2][:, 0]
        assert_band(drift.loc[share], "null", np.abs((early * v[:, 0]).sum(axis=1)))


def assert_shuffled(row, prefix, found):
    """As `assert_band`, where `found` are the scores of all 720 orders of six steps."""
    off = abs(found.mean() - row[f"{prefix}_mean"])
    assert off < 4.5 * found.std() / np.sqrt(DRAWS), prefix
    # Few orders, so an end may fall on many draws at once.
    for end, share in (("low", 0.025), ("high", 0.975)):
        value = row[f"{prefix}_{end}"]
        assert np.quantile(found, share - 0.012) <= value <= np.quantile(found, share + 0.012)


@pytest.mark.parametrize("name", SHAPES)
def test_shuffled_steps_are_those_of_the_tensors_own_coefficients(tables, name):
    rows = tables["coefficients"].query("tensor == @name and index == 1").sort_values("step")
    line = linearity(np.array(STEPS), np.array(list(permutations(rows["coefficient"]))))
    row = on_clock(tables["linearity"]).set_index("tensor").loc[name]
    for score in ("r2", "loo_r2"):
        assert_shuffled(row, f"{score}_permuted", getattr(line, score))


def pls(features, accuracies):
    """R² of one component of partial least squares, scaled; shape of `accuracies` is (DRAWS, T)."""
    x = (features - features.mean(axis=0)) / features.std(axis=0, ddof=1)
    y = accuracies - accuracies.mean(axis=1, keepdims=True)
    score = y @ x @ x.T
    return (score * y).sum(axis=1) ** 2 / ((score**2).sum(axis=1) * (y**2).sum(axis=1))


def noise_variance(steps, y):
    """Mean squared distance from the line between a step's neighbours, over its expected size."""
    found = []
    for before, at, after in zip(range(4), range(1, 5), range(2, 6), strict=True):
        share = (steps[at] - steps[before]) / (steps[after] - steps[before])
        off = y[at] - (1 - share) * y[before] - share * y[after]
        found.append(off**2 / (1 + share**2 + (1 - share) ** 2))
    return np.mean(found)


def beside_a_line(rows):
    """What the step number leaves of each row, shape (..., T)."""
    design = np.column_stack([np.ones(len(STEPS)), STEPS])
    return rows - rows @ design @ np.linalg.inv(design.T @ design) @ design.T


def test_accuracies_are_shuffled_and_walked(weights, tables):
    generator = np.random.default_rng(3)
    observed = np.array(list(ACCURACY.values()))
    shuffled = np.array(list(permutations(observed)))
    walked = np.cumsum(generator.standard_normal((DRAWS, len(STEPS))), axis=1)
    # A walk has the variance that the noise leaves to the accuracies, and that noise.
    noise, spread = noise_variance(STEPS, observed), observed.var(ddof=1)
    walked *= np.sqrt((spread - noise) / walked.var(axis=1, ddof=1))[:, None]
    walked += np.sqrt(noise) * generator.standard_normal(walked.shape)
    left = beside_a_line(observed)
    orders = beside_a_line(np.array(list(permutations(left))))
    rows = tables["pls"].set_index("tensor")
    assert len(rows) == 3
    for name in rows.index:
        m, n = SHAPES[name]
        u = np.linalg.svd(path_of(weights, name).reshape(-1, m, n))[0][:, :, 0]
        for step in range(len(u) - 2, -1, -1):
            u[step] *= np.sign(u[step] @ u[step + 1])
        assert_band(rows.loc[name], "r2_walk", pls(u, walked))
        found, row = pls(u, shuffled), rows.loc[name]
        assert_shuffled(row, "r2_null", found)
        r2 = pls(u, observed[None])[0]
        assert row["r2"] == pytest.approx(r2, abs=1e-5)
        assert row["noise_sd"] == pytest.approx(np.sqrt(noise))
        assert row["r2_ceiling"] == pytest.approx(1 - noise / spread)
        assert row["r2_corrected"] == pytest.approx(min(1, r2 / (1 - noise / spread)), abs=1e-5)
        assert row["step_r2"] == pytest.approx(np.corrcoef(STEPS, observed)[0, 1] ** 2)
        rest = beside_a_line(u.T).T
        assert row["partial_r2"] == pytest.approx(pls(rest, left[None])[0], abs=1e-5)
        assert_shuffled(row, "partial_r2_null", pls(rest, orders))
        assert_band(row, "partial_r2_walk", pls(rest, beside_a_line(walked)))
        assert row["p_value"] == pytest.approx(np.mean(found >= r2 - 1e-6), abs=0.03)


def test_tensors_that_move_alike_draw_apart(tables):
    for name, column in (
        ("trajectory_svd", "null_mean"),
        ("linearity", "r2_null_mean"),
        ("linearity", "heldout_r2_permuted_mean"),
        ("pls", "r2_null_mean"),
        ("pls", "r2_walk_mean"),
    ):
        table = tables[name].dropna(subset=[column]).set_index("tensor")
        assert table.loc[UP, column] != table.loc[DOWN, column], (name, column)


def test_another_seed_draws_anew(weights, tables, tmp_path):
    settings = MeasureSettings(draws=DRAWS, seed=6, directions=False)
    measure(build(tmp_path, weights), settings, tmp_path / "m", progress=False)
    other = on_clock(pd.read_parquet(tmp_path / "m" / "linearity.parquet")).set_index("tensor")
    mine = on_clock(tables["linearity"]).set_index("tensor")
    for column in ("r2_null_mean", "loo_r2_permuted_mean"):
        assert (other[column] != mine[column]).all()


def test_no_draw_is_drawn_twice():
    steps, norms = np.arange(1, 121), np.linspace(1, 2, 120)  # many batches
    walked = random_walk_null(steps, norms, 10**6, 200, seed=1)
    for score in ("explained_variance", "r2", "heldout_r2", "loo_r2"):
        assert len(np.unique(getattr(walked, score))) == 200
    assert len(np.unique(prefix_drift_null(norms, 10**6, [0.5], 200, seed=1))) == 200
    assert len(np.unique(gaussian_spectrum(9, 7, 200, seed=1)[:, 0])) == 200
    assert len(np.unique(random_cosine(50, 3, 4, 200, seed=1))) == 200
    for series in (permuted_accuracies(norms, 200, 1), walk_accuracies(120, 200, 1)):
        assert len(np.unique(series, axis=0)) == 200


@pytest.mark.parametrize(("rates", "clocks"), [((1.0,) * 110, 2), (tuple(range(110)), 3)])
def test_optimizer_time_is_a_clock_of_its_own_where_it_is_not_the_step_number(
    tmp_path, rates, clocks
):
    """Against the sum of the rates a coefficient that follows it is exactly linear."""
    steps = (10, 20, 30, 40, 50, 60)
    sums = np.cumsum((0.0, *rates))
    base, direction = wandering(())[0], wandering((1,))[1]
    weights = {
        step: {n: base[n] + 2e-4 * sums[step] / sums[60] * direction[n] for n in base}
        for step in (0, *steps)
    }
    record = OptimizerRecord(updates=3, learning_rates=dict(enumerate(rates, 1)))
    settings = MeasureSettings(draws=20, directions=False, optimizer=record)
    measure(build(tmp_path, weights), settings, tmp_path / "m", progress=False)
    lines = pd.read_parquet(tmp_path / "m" / "linearity.parquet")
    weights_ = pd.read_parquet(tmp_path / "m" / "weight_lines.parquet")
    assert lines["clock"].nunique() == weights_["clock"].nunique() == clocks
    if clocks == 3:
        timed, step = (on_clock(lines, clock) for clock in ("optimizer", "step"))
        assert len(timed) == len(SHAPES) and (timed["r2"] > 0.9999).all()
        assert (step["r2"] < 0.98).all() and (timed["heldout_r2"] > 0.999).all()
        c = pd.read_parquet(tmp_path / "m" / "coefficients.parquet").query("index == 1")
        at = c[c["tensor"] == UP].set_index("step")["coefficient"]
        slope = timed.set_index("tensor").loc[UP, "slope"]
        assert slope == pytest.approx((at[60] - at[10]) / (3 * (sums[60] - sums[10])), rel=1e-3)
    gap = replace(record, learning_rates={step: 1.0 * step for step in range(1, 50)})
    assert max(gap.times) == 49 and gap.times[2] == 9.0


def test_the_share_of_a_drift_stands_beside_what_memory_alone_gives(tmp_path):
    """β1 = 0 remembers nothing, SGD's momentum of 0.98 more than half over 30 steps."""
    steps = range(1, 34)
    generator = torch.Generator().manual_seed(7)
    weights = {0: {UP: torch.zeros(SHAPES[UP])}}
    for step in steps:
        moved = torch.randn(SHAPES[UP], generator=generator)
        weights[step] = {UP: weights[step - 1][UP] + moved}
    trajectory = build(tmp_path, weights)
    for decay, low, high in ((0.0, 0.0, 0.02), (0.98, 0.15, 0.5)):
        record = OptimizerRecord(beta1=decay, beta2=None)
        settings = MeasureSettings(draws=20, directions=False, optimizer=record)
        measure(trajectory, settings, tmp_path / "m", progress=False)
        svd = pd.read_parquet(tmp_path / "m" / "trajectory_svd.parquet")
        first = svd[svd["index"] == 1].iloc[0]
        assert low <= first["optimizer_null_drift_share"] <= high
        assert first["optimizer_drift_share"] < 0.1
