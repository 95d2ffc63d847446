"""Verdicts on accelerations: against the same rate and against the tuned one, and on the gate."""

import math

import pytest

from rlvr_dynamics.claims.judge import FAILS, HOLDS, INCONCLUSIVE, NOT_MEASURED
from rlvr_dynamics.claims.ledger import build_by_regime, build_ledger
from rlvr_dynamics.results.study import load_study
from tests.support.accelerated_run import jump, line, write_arm

REGROUNDING = ["acceleration=regrounding_5_25"]


def ledger(*folders):
    return build_ledger(load_study(folders)).set_index("id")


@pytest.fixture
def plain(tmp_path):
    return [
        write_arm(tmp_path / "plain", line(0.005), validation=0.3),
        write_arm(tmp_path / "tuned", line(0.03), rate=1e-4, validation=0.8),
    ]


def test_a_speed_up_at_a_small_rate_is_none_beside_the_tuned_one(plain, tmp_path):
    arm = write_arm(tmp_path / "jumps", line(0.04), arm=REGROUNDING)
    found = ledger(*plain, arm)
    assert found.loc["F12", "verdict"] == HOLDS
    assert found.loc["F12", "ours"] == pytest.approx(8.0, rel=0.02)
    assert found.loc["F12t", "verdict"] == FAILS
    assert 1.0 < found.loc["F12t", "ours"] < 1.5
    assert "against plain steps at lr 1e-04" in found.loc["F12t", "note"]
    assert found.loc["F12", "cells"] == "jumps"
    for other in ("A15", "B14", "F13", "F14", "O2"):
        assert found.loc[other, "verdict"] == NOT_MEASURED


def test_a_run_that_never_arrives_is_kept_and_fails(plain, tmp_path):
    arm = write_arm(tmp_path / "lost", line(0.001), arm=REGROUNDING)
    found = ledger(*plain, arm)
    for id in ("F12", "F12t"):
        assert found.loc[id, "verdict"] == FAILS
        assert "not there within 3840 rollouts" in found.loc[id, "note"]
        assert found.loc[id, "ci_low"] == 0.0


def test_another_factor_or_place_is_another_claim(plain, tmp_path):
    nearer = write_arm(tmp_path / "near", line(0.04), arm=["acceleration=regrounding_10_20"])
    once = ["acceleration=alpharl_once", "acceleration.when.steps=[24]"]
    alpharl = write_arm(tmp_path / "alpharl", line(0.04), arm=once)
    early = ["acceleration=alpharl_once", "acceleration.when.steps=[6]"]
    other = write_arm(tmp_path / "early", line(0.04), arm=early)
    found = ledger(*plain, nearer, alpharl, other)
    assert found.loc["F12", "verdict"] == NOT_MEASURED
    assert (found.loc["A15", "verdict"], found.loc["A15", "cells"]) == (HOLDS, "alpharl")


@pytest.mark.parametrize(("level", "verdict"), [(0.6, HOLDS), (0.4, FAILS)])
def test_what_the_first_checkpoint_behind_a_jump_has_the_jump_has(plain, tmp_path, level, verdict):
    """After 9 of 60 steps the bar is 60 / 9, which no checkpoint of step 10 could show."""
    levels = {step: value if step < 10 else level for step, value in line(0.005).items()}
    once = ["acceleration=relex_once", "acceleration.when.steps=[9]"]
    found = ledger(*plain, write_arm(tmp_path / "relex", levels, arm=once))
    assert found.loc["B14", "verdict"] == verdict
    if verdict == HOLDS:
        assert found.loc["B14", "ours"] == pytest.approx(60 / 9)
        assert "there after 576 rollouts, the other's whole training" in found.loc["B14", "note"]


def test_without_the_plain_runs_nothing_is_compared(tmp_path):
    found = ledger(write_arm(tmp_path / "alone", line(0.04), arm=REGROUNDING))
    assert found.loc["F12", "verdict"] == NOT_MEASURED
    assert "experiments.acceleration" in found.loc["F12", "note"]


@pytest.mark.parametrize(
    ("slope", "verdict"), [(0.005, HOLDS), (0.004, FAILS), (0.0049, INCONCLUSIVE)]
)
def test_a_gated_run_is_as_good_within_two_points(plain, tmp_path, slope, verdict):
    """Ends at 50 %, where plain steps do; 6 points below; 0.6 below with other questions right."""
    levels = line(slope)
    arm = write_arm(tmp_path / "gated", levels, arm=["acceleration=gated"], jumps=[jump(10)])
    if verdict == INCONCLUSIVE:
        shuffle(arm)
    found = ledger(*plain, arm)
    assert found.loc["O2", "verdict"] == verdict
    assert found.loc["O2", "ours"] == pytest.approx(100 * (levels[60] - 0.5))
    assert "firings: 1, jumps tried: 1, kept: 0" in found.loc["O2", "note"]
    # One firing of 4 s beside 60 steps of 2 s, of which half a second computed the jump.
    assert found.loc["O3", "ours"] == pytest.approx(4 / 120)
    assert found.loc["O3", "verdict"] == HOLDS
    assert found.loc["O4", "ours"] == pytest.approx(0.25) and found.loc["O4", "verdict"] == HOLDS
    assert math.isnan(found.loc["O4", "ci_low"])


def test_what_each_of_several_runs_costs_little_costs_little(plain, tmp_path):
    gated = ["acceleration=gated"]
    arms = [
        write_arm(tmp_path / f"gated{seed}", line(0.005), arm=gated, seed=seed, jumps=[jump(10)])
        for seed in (1, 2)
    ]
    found = ledger(*plain, *arms)
    assert found.loc["O3", "verdict"] == found.loc["O4", "verdict"] == HOLDS
    assert found.loc["O4", "ci_high"] < 1.0


def shuffle(run):
    """Give the last checkpoint's right answers to other questions."""
    import pandas as pd

    path = run / "scores" / "samples" / "step_60" / "sums.parquet"
    table = pd.read_parquet(path)
    table["score"] = table["score"].to_numpy()[::-1]
    table.to_parquet(path)


def test_arms_stand_in_regimes_of_their_own(plain, tmp_path):
    both = [
        write_arm(tmp_path / "kept", line(0.04), arm=REGROUNDING),
        write_arm(
            tmp_path / "anew",
            line(0.001),
            arm=[*REGROUNDING, "acceleration.optimizer=restart"],
        ),
    ]
    study = load_study([*plain, *both])
    rows = build_by_regime(study)
    rows = rows[rows["id"] == "F12"].set_index("regime")
    verdicts = {name.partition("steps, ")[2]: row["verdict"] for name, row in rows.iterrows()}
    assert verdicts == {
        "re-grounding 5+25": HOLDS,
        "re-grounding 5+25, Adam restarted": FAILS,
    }
    assert build_ledger(study).set_index("id").loc["F12", "verdict"] == INCONCLUSIVE
