"""Cosines between runs of one base: exact numbers, the ceiling, and what cannot be compared."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from experiments import directions as command
from rlvr_dynamics.dynamics.increments import (
    drift_share,
    increment_cosines,
    reliability,
)
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.measurement.directions import middle_step, window_products
from tests.support.extrapolation_fixture import build, gaussian

STEPS = (1, 2, 3, 4)


def run_dir(folder, base, steps):
    """A run directory whose checkpoints somebody else made."""
    build(folder / "weights", {0: base, **steps})
    source = {name: str(folder / "weights" / name) for name in ("base", "checkpoints")}
    source["allow_gaps"] = True
    config = {"name": folder.name, "source": source}
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
    assert opposite["update_cosine"].to_numpy() == pytest.approx(-1.0, abs=1e-6)


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


def test_two_runs_with_one_drift_and_noise_of_their_own_share_the_ceiling():
    """Steps sqrt(ρ) e + sqrt(1 − ρ) n_t with white noise: the reliability is known."""
    share, count, d = 0.05, 60, 20_000
    generator = torch.Generator().manual_seed(1)

    def gauss(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64) / d**0.5

    drift = gauss(d)
    walks = [
        (share**0.5 * drift + (1 - share) ** 0.5 * gauss(count, d)).cumsum(0) for _ in range(2)
    ]
    found, ends = [], []
    for walk in walks:
        steps = torch.diff(walk, dim=0, prepend=torch.zeros(1, d, dtype=torch.float64))
        path = float(steps.norm(dim=1).sum())
        measured = drift_share(increment_cosines((walk @ walk.mT).numpy()))
        found.append(reliability(measured, path, float(walk[-1].norm())))
        ends.append(walk[-1] / walk[-1].norm())
    exact = share * count / (share * count + 1 - share)
    assert found == pytest.approx([exact, exact], rel=0.05)
    assert float(ends[0] @ ends[1]) == pytest.approx((found[0] * found[1]) ** 0.5, rel=0.05)


def test_the_reliability_of_a_straight_path_is_1():
    assert reliability(1.0, 3.0, 3.0) == 1.0
