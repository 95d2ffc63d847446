"""What a training spent, in closed form, and the arm that its settings say."""

import math

import pytest

from rlvr_dynamics.results.accounts import account, accounts, spent
from rlvr_dynamics.results.arms import arm_of
from rlvr_dynamics.results.study import load_study
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.schema.tables.accounts import ACCOUNTS, PARTS
from tests.support.accelerated_run import STEP_SECONDS, acceleration, jump, line, write_arm

GATED = ["acceleration=gated", "acceleration.when.every=5"]


def arm(*overrides, passes=1):
    values = {"acceleration": acceleration(*overrides), "trainer": {"passes": passes}}
    return arm_of(RecordedConfig.model_validate(values))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    kept = jump(20, accepted=True, factor=4.0)
    kept["tried"] = [
        {"factor": f, "gain": 0.1, "lower": 0.0, "accepted": f < 8, "problems": n}
        for f, n in ((2, 64), (4, 64), (8, 16))
    ]
    kept["seconds"] = {"search": 0.8, "validate": 6.0, "sync": 0.0, "total": 7.0}
    kept |= {"rollouts": 4 * (64 + 64 + 64 + 16), "tokens": 6400}
    jumps = [jump(10), kept]
    write_arm(place / "gated", line(0.01), arm=GATED, jumps=jumps, validation=0.5)
    write_arm(place / "plain", line(0.01), start_seconds=30.0)
    write_arm(place / "twice", line(0.01), passes=2)
    return load_study([place / name for name in ("gated", "plain", "twice")])


def row(study, name):
    return accounts(study).set_index("cell").loc[name]


def test_plain_steps_cost_what_their_rollouts_and_updates_do(study):
    found = row(study, "plain")
    assert found["rollouts"] == found["trained_answers"] == 60 * 64
    assert found["updates"] == found["steps"] == 60
    assert found["tokens"] == 60 * 64 * 10
    assert found["seconds"] == pytest.approx(60 * STEP_SECONDS)
    assert found["start_seconds"] == pytest.approx(30.0)  # no part of the others
    assert found["generate_seconds"] == pytest.approx(60 * 1.0)
    assert found["fired"] == found["gate_rollouts"] == found["search_seconds"] == 0
    assert list(accounts(study)) == ACCOUNTS.names


def test_a_second_pass_costs_updates_and_no_rollouts(study):
    found = row(study, "twice")
    assert (found["rollouts"], found["updates"]) == (60 * 64, 120)
    assert found["trained_answers"] == 2 * 60 * 64


def test_a_gate_s_answers_and_seconds_are_counted_and_evaluation_is_apart(study):
    found = row(study, "gated")
    assert (found["rollouts"], found["gate_rollouts"]) == (60 * 64, 320 + 832)
    # The first firing asked the present weights and one candidate; at the second the last of three
    # candidates was surely worse on every fourth problem.
    assert found["rejected_rollouts"] == pytest.approx(320 / 2 + 4 * 16)
    assert (found["fired"], found["jumped"]) == (2, 1)
    assert found["search_seconds"] == pytest.approx(1.5) and found["validate_seconds"] == 9.0
    assert found["sync_seconds"] == pytest.approx(60 * 0.05 + 0.5)
    assert found["seconds"] == pytest.approx(60 * STEP_SECONDS + 4.0 + 7.0)
    assert (found["evaluation_rollouts"], found["evaluation_seconds"]) == (3 * 256, 12.0)
    parts = sum(found[f"{name}_seconds"] for name in PARTS)
    assert parts == pytest.approx(found["seconds"])


def test_a_jump_is_paid_for_by_the_step_after_it(study):
    (gated,) = study.where(name="gated")
    found = spent(gated.results)
    assert found is not None
    assert found.until("rollouts", 10) == 640
    assert found.until("rollouts", 11) == 640 + 64 + 320
    assert found.until("seconds", 10) == pytest.approx(10 * STEP_SECONDS)
    assert found.until("seconds", 11) == pytest.approx(11 * STEP_SECONDS + 4.0)
    assert found.until("rollouts", 60) == 60 * 64 + 1152
    assert found.until("updates", 0) == 0


def test_a_run_without_metrics_has_no_account(study, tmp_path):
    folder = write_arm(tmp_path / "bare", line(0.01))
    (folder / "train" / "metrics.parquet").unlink()
    (cell,) = load_study([folder]).cells
    assert account(cell) is None and not len(accounts(load_study([folder])))


def test_missing_timers_are_unknown_and_not_zero(tmp_path):
    import pandas as pd

    folder = write_arm(tmp_path / "old", line(0.01))
    path = folder / "train" / "metrics.parquet"
    table = pd.read_parquet(path)
    table[["step", "rollouts/answers"]].to_parquet(path)
    (cell,) = load_study([folder]).cells
    found = account(cell)
    assert found is not None and math.isnan(found["seconds"]) and found["rollouts"] == 3840


@pytest.mark.parametrize(
    ("kind", "words", "overrides"),
    [
        ("plain", "plain", []),
        ("regrounding", "re-grounding 10+20", ["acceleration=regrounding_10_20"]),
        (
            "regrounding",
            "re-grounding 5+25, Adam restarted",
            ["acceleration=regrounding_5_25", "acceleration.optimizer=restart"],
        ),
        ("line_search", "EffOPD", ["acceleration=effopd"]),
        ("gated", "gated, every 5", GATED),
        ("relex", "RELEX at 18", ["acceleration=relex_once"]),
        (
            "relex",
            "RELEX at 9, path clock",
            [
                "acceleration=relex_once",
                "acceleration.when.steps=[9]",
                "acceleration.clock=path",
            ],
        ),
        (
            "alpharl",
            "AlphaRL at 48, variant released",
            ["acceleration=alpharl_once", "+acceleration.parameters.variant=released"],
        ),
        (
            "restart",
            "no jump, every 10, Adam restarted",
            [
                "acceleration=regrounding_10_20",
                "acceleration.method=none",
                "acceleration.optimizer=restart",
            ],
        ),
        (
            "random",
            "random direction 10+20",
            ["acceleration=regrounding_10_20", "acceleration.method=random"],
        ),
        (
            "rolled_back",
            "jump and roll back 10+20",
            ["acceleration=regrounding_10_20", "acceleration.roll_back=always"],
        ),
    ],
)
def test_an_arm_is_known_by_its_settings(kind, words, overrides):
    found = arm(*overrides)
    assert (found.kind, found.words) == (kind, words)
    assert found.jumps == (kind not in ("plain", "restart", "rolled_back"))
    assert found == arm(*overrides) and found != arm(*overrides, passes=2)


def test_runs_with_jumps_are_no_plain_runs_of_the_papers(study):
    from rlvr_dynamics.claims.claim import by_rl

    assert [by_rl(cell) for cell in study.cells if cell.name != "gated"] == [True, True]
    (gated,) = study.where(name="gated")
    assert not by_rl(gated) and "gated" in gated.label
