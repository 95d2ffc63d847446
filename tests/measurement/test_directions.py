"""Cosines between runs of one base: exact numbers, the ceiling, and what cannot be compared."""

import json

import numpy as np
import pandas as pd
import pytest

from experiments import directions as command
from rlvr_dynamics.dynamics.increments import (
    autocorrelation,
    increment_cosines,
    noise_energy,
    reliability,
)
from rlvr_dynamics.dynamics.optimizer_null import Optimizer, noise_correlation, optimizer_steps
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.measurement.directions import middle_step, window_products
from tests.support.extrapolation_fixture import build, gaussian

STEPS = (1, 2, 3, 4)


def run_dir(folder, base, steps):
    """A run directory whose checkpoints somebody else made."""
    build(folder / "weights", {0: base, **steps})
    source = {name: str(folder / "weights" / name) for name in ("base", "checkpoints")}
    config = {"name": folder.name, "source": {**source, "allow_gaps": True}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def walk(base, seed, size=0.1):
    now, found = base, {}
    for step in STEPS:
        noise = gaussian(seed + step)
        now = {name: now[name] + size * noise[name] for name in now}
        found[step] = now
    return found


@pytest.fixture
def three(tmp_path):
    """A run, one that goes its way backwards at twice the speed, and one that does not care."""
    base = gaussian(0)
    first = walk(base, 10)
    against = {
        step: {name: base[name] - 2 * (moved[name] - base[name]) for name in base}
        for step, moved in first.items()
    }
    weights = {"first": first, "against": against, "other": walk(base, 50)}
    folders = [run_dir(tmp_path / name, base, steps) for name, steps in weights.items()]
    return base, weights, folders


def test_cosines_are_those_of_a_brute_force_calculation(three, tmp_path, capsys):
    base, weights, folders = three
    assert command.main([str(folder) for folder in folders]) == 0
    assert "3 pairs of runs" in capsys.readouterr().out
    table = pd.read_parquet(tmp_path / "directions.parquet")
    assert len(table) == 3 * len(base)
    for row in table.to_dict("records"):
        name = row["tensor"]
        ends = [
            {step: weights[row[run]][step][name].reshape(-1) for step in (2, 4)}
            for run in ("run_a", "run_b")
        ]
        start = base[name].reshape(-1)
        for window, parts in {
            "update": [end[4] - start for end in ends],
            "drift": [end[4] - end[2] for end in ends],
        }.items():
            exact = float(parts[0] @ parts[1] / (parts[0].norm() * parts[1].norm()))
            assert row[f"{window}_cosine"] == pytest.approx(exact, abs=1e-6), (name, window)
        assert row["noise_sd"] == pytest.approx(start.numel() ** -0.5)
        assert np.isnan(row["drift_reliability_a"])  # nothing was measured
    opposite = table[(table["run_a"] == "first") & (table["run_b"] == "against")]
    assert list(opposite["update_cosine"]) == pytest.approx([-1.0] * len(base), abs=1e-6)


def test_blocks_change_nothing(three):
    base, _, folders = three
    runs = [command.trajectory_of(folder) for folder in folders]
    whole, blocks = window_products(runs), window_products(runs, budget_bytes=1)
    for name in base:
        for window, products in whole[name].items():
            assert blocks[name][window] == pytest.approx(products, rel=1e-12)


def test_runs_of_different_bases_are_apart_and_a_lonely_one_is_named(three, tmp_path, capsys):
    _, _, folders = three
    elsewhere = run_dir(tmp_path / "elsewhere", gaussian(99), walk(gaussian(99), 10))
    table = command.compare_runs([*folders, elsewhere], progress=False)
    assert set(table["run_a"]) | set(table["run_b"]) == {"first", "against", "other"}
    assert command.main([str(folders[0]), str(elsewhere)]) == 2
    assert "no two of these runs start from the same base" in capsys.readouterr().err
    assert not (tmp_path / "directions.parquet").exists()
    with pytest.raises(UserError, match="different bases"):
        window_products([command.trajectory_of(folder) for folder in (folders[0], elsewhere)])


def test_one_checkpoint_has_no_second_half():
    assert [middle_step(steps) for steps in ((3, 9), range(1, 61), (1, 2, 3))] == [3, 30, 1]
    with pytest.raises(UserError, match="no second half"):
        middle_step((5,))


def test_two_runs_with_one_signal_and_noise_of_their_own_share_the_ceiling():
    """Adam on gradients with a common mean: nothing of the estimate's model but its noise."""
    optimizer, count, d = Optimizer(), 60, 20_000
    signal = 0.3 * np.random.default_rng(1).standard_normal(d)
    correlation = noise_correlation(count, optimizer)
    found, ends = [], []
    for seed in (2, 3):
        generator = np.random.default_rng(seed)

        def gradient(_step, generator=generator):
            return signal + generator.standard_normal(d)

        steps = optimizer_steps(optimizer, np.ones(count), gradient, d)
        walk = steps.cumsum(axis=0)
        cosine = autocorrelation(increment_cosines(walk @ walk.T), 10)
        energy = noise_energy(np.linalg.norm(steps, axis=1), correlation, cosine)
        found.append(reliability(energy, float(np.linalg.norm(walk[-1]))))
        ends.append(walk[-1] / np.linalg.norm(walk[-1]))
    shared = float(ends[0] @ ends[1])
    assert 0.5 < shared < 0.9
    assert (found[0] * found[1]) ** 0.5 == pytest.approx(shared, abs=0.05)


def test_noise_alone_is_not_reliable_and_a_straight_path_is():
    optimizer, count, d = Optimizer(), 60, 20_000
    generator = np.random.default_rng(4)
    steps = optimizer_steps(
        optimizer, np.ones(count), lambda _step: generator.standard_normal(d), d
    )
    walk, lengths = steps.cumsum(axis=0), np.linalg.norm(steps, axis=1)
    correlation = noise_correlation(count, optimizer)
    cosine = autocorrelation(increment_cosines(walk @ walk.T), 10)
    whole = noise_energy(lengths, correlation, cosine)
    assert reliability(whole, float(np.linalg.norm(walk[-1]))) == pytest.approx(0.0, abs=0.05)
    later = noise_energy(lengths[30:], correlation, cosine)
    moved = float(np.linalg.norm(walk[-1] - walk[29]))
    assert reliability(later, moved) == pytest.approx(0.0, abs=0.05)
    assert reliability(noise_energy(lengths, correlation, 1.0), moved) == 1.0
    assert np.isnan(reliability(noise_energy(lengths, correlation, np.nan), moved))
    assert np.isnan(reliability(1.0, 0.0))
