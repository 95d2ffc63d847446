"""When a run jumps, what it keeps, and that a resumed run does what an uninterrupted one does."""

import json

import pytest
import torch

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.training.jump_records import JumpRecords
from tests.support.jumping import STEPS, Killed, Training

TWICE = ["acceleration=regrounding_10_10", "acceleration.when.every=4"]
ASKED = [
    *("acceleration=gated", "acceleration.when.every=4", "acceleration.clock=step"),
    *("acceleration.gate.kind=validation", "acceleration.how_far.search=[2.0,4.0]"),
]


def test_without_a_gate_every_firing_doubles_the_way_since_the_last(tmp_path):
    training = Training(tmp_path, TWICE, noise=0.0)
    shown = training.run()
    # 4 steps become 8, 4 more since then become 16; step 12 is the last, and nothing would follow.
    assert training.position() == pytest.approx(20.0, abs=1e-3)
    assert training.driver.records.accepted() == [4, 8]
    assert training.asked == training.synced == 0
    assert shown[3]["acceleration/length"] == pytest.approx(4.0, rel=1e-4)
    assert [bool(each) for each in shown] == [step in (4, 8) for step in range(1, STEPS + 1)]


def test_the_gate_keeps_the_farthest_factor_that_helps(tmp_path):
    training = Training(tmp_path, ASKED)
    training.run(to=4)
    record = training.driver.records.read(4)
    assert (record["decision"], record["factor"]) == ("accepted", 4.0)
    assert [each["accepted"] for each in record["tried"]] == [True, True]
    assert training.position() == pytest.approx(16.0, rel=1e-2)
    # A fourth of the problems is answered first, then half; the second candidate needs no more.
    assert (record["rollouts"], record["tokens"]) == ((64 + 64 + 32) * 4, 800)
    assert training.synced == 8
    assert record["tried"][1]["lower"] > 0.0
    assert not list(training.plan.records.glob("kept_*"))


def test_what_is_ahead_by_far_is_accepted_before_all_problems_are_asked(tmp_path):
    training = Training(tmp_path, ASKED, goal=14.0)
    training.run(to=4)
    record = training.driver.records.read(4)
    assert (record["decision"], record["factor"]) == ("accepted", 4.0)
    assert record["answered"] == 32
    assert [each["problems"] for each in record["tried"]] == [32, 32]
    assert all(each["lower"] > 0.0 for each in record["tried"])
    assert record["rollouts"] == 3 * 32 * 4


def test_what_is_not_ahead_at_the_first_look_is_not_asked_further(tmp_path):
    """Before and after, the weights are too far past the goal to solve more than a few."""
    training = Training(tmp_path, ASKED, goal=1.0)
    training.run(to=4)
    record = training.driver.records.read(4)
    assert (record["decision"], record["reason"]) == ("rejected", "the gate found no sure gain")
    assert (record["tried"][0]["gain"], record["tried"][0]["worse"]) == (0.0, False)
    assert record["rollouts"] == (16 + 16) * 4


def test_a_later_candidate_asks_the_one_that_stands_for_what_a_look_needs_of_it(tmp_path):
    training = Training(tmp_path, ASKED, goal=13.0)
    weights, ask = [], training.driver.trainer.answer

    def watched(step, places):
        weights.append((training.weight.detach().clone(), len(places)))
        return ask(step, places)

    training.driver.trainer.answer = watched
    training.run(to=4)
    record = training.driver.records.read(4)
    present, first, second = weights[0][0], weights[1][0], training.weight.detach()
    order = [present, first, first, present, second, second, second, first]
    assert [problems for _, problems in weights] == [16, 16, 16, 16, 16, 16, 32, 32]
    for (held, _), expected in zip(weights, order, strict=True):
        assert torch.equal(held, expected)
    assert record["answered"] == 32
    assert [each["answered"] for each in record["tried"]] == [64, 64]
    assert record["rollouts"] == (32 + 64 + 64) * 4


def test_answers_that_were_enough_to_accept_what_stands_do_not_end_what_comes_after_it(tmp_path):
    """They flatter it: on a part of the problems the second candidate is not ahead, and goes on."""
    training = Training(tmp_path, ASKED, goal=12.0)
    training.run(to=4)
    record = training.driver.records.read(4)
    assert (record["decision"], record["factor"]) == ("accepted", 2.0)
    assert [each["problems"] for each in record["tried"]] == [32, 64]
    assert [each["answered"] for each in record["tried"]] == [64, 64]
    assert abs(record["tried"][1]["gain"]) < 0.01 and not record["tried"][1]["worse"]


def test_a_search_stops_at_the_first_factor_that_does_not_help(tmp_path):
    """At 8 the goal is reached, and at 16 it is missed by more than at 4."""
    training = Training(tmp_path, ASKED, goal=8.0)
    training.run(to=4)
    record = training.driver.records.read(4)
    assert (record["decision"], record["factor"]) == ("accepted", 2.0)
    once = Training(tmp_path / "once", [*TWICE, "acceleration.tensors=all"], goal=8.0)
    once.run(to=4)
    assert torch.equal(training.weight, once.weight), "not the very weights that were accepted"


def test_a_jump_that_does_not_help_is_undone_bit_for_bit_and_leaves_the_optimizer_alone(tmp_path):
    training = Training(tmp_path, [*ASKED, "acceleration.optimizer=restart"], goal=3.0)
    shown = training.run(to=4)
    assert torch.equal(training.weight, training.state["weight"])
    assert int(training.moments()["step"]) == 4
    record = training.driver.records.read(4)
    assert record["decision"] == "rejected" and record["tried"][0]["gain"] < 0.0
    assert shown[-1]["acceleration/accepted"] == 0.0
    # What is tried next starts here.
    training.run_on = [training.update() for _ in range(4)]
    assert training.driver.records.read(8)["walked"] == pytest.approx(4.0, rel=1e-2)


def test_the_optimizer_starts_again_after_an_accepted_jump(tmp_path):
    training = Training(tmp_path, [*ASKED, "acceleration.optimizer=restart"])
    training.run(to=4)
    assert int(training.moments()["step"]) == 0
    assert float(training.moments()["exp_avg"].abs().sum()) == 0.0


def test_a_gate_without_budget_left_tries_nothing(tmp_path):
    training = Training(tmp_path, [*ASKED, "acceleration.gate.validations=1"])
    training.run()
    assert training.driver.records.read(8)["decision"] == "declined"
    assert training.driver.records.read(8)["rollouts"] == 0


def test_rejections_in_a_row_make_the_gate_ask_less_and_less(tmp_path):
    often = ["acceleration.when.every=1", "acceleration.gate.back_off=true"]
    training = Training(tmp_path, [*ASKED, *often], goal=0.5)
    training.run()
    records = training.driver.records.all()
    asked = [record["step"] for record in records if record["rollouts"]]
    assert asked == [1, 3, 6, 11]
    assert {record["decision"] for record in records if not record["rollouts"]} == {"declined"}
    assert {record["decision"] for record in records if record["rollouts"]} == {"rejected"}


def test_an_accepted_jump_makes_the_gate_ask_at_the_next_firing_again(tmp_path):
    often = ["acceleration.when.every=2", "acceleration.gate.back_off=true"]
    training = Training(tmp_path, [*ASKED, *often], goal=4.0)
    training.run(to=4)
    records = training.driver.records.all()
    assert [record["decision"] for record in records] == ["accepted", "rejected"]


def test_a_sure_loss_asks_a_quarter_of_the_problems_and_quiets_four_firings(tmp_path):
    often = ["acceleration.when.every=1", "acceleration.gate.back_off=true"]
    training = Training(tmp_path, [*ASKED, *often, "acceleration.optimizer=restart"], goal=1.0)
    training.run(to=1)
    record, tried = training.driver.records.read(1), training.driver.records.read(1)["tried"]
    assert (record["decision"], record["reason"]) == ("rejected", "the candidate is surely worse")
    assert [each["problems"] for each in tried] == [16]
    assert record["rollouts"] == (16 + 16) * 4
    assert not list(training.plan.records.glob("kept_*"))
    assert training.position() == pytest.approx(1.0, rel=1e-2)
    training.run_on = [training.update() for _ in range(5)]
    asked = [each["step"] for each in training.driver.records.all() if each["rollouts"]]
    assert asked == [1, 6]


def test_a_score_that_is_no_number_is_refused_at_every_look(tmp_path):
    # In the order in which they are asked.
    looks = enumerate(("before", "after", "after", "before", "after", "before"), start=1)
    for number, when in looks:
        training = Training(tmp_path / str(number), ASKED)
        ask = training.driver.trainer.answer

        def broken(step, places, number=number, ask=ask, training=training):
            found = ask(step, places)
            if training.asked == number:
                found.scores[0, 0] = float("nan")
            return found

        training.driver.trainer.answer = broken
        with pytest.raises(UserError, match=f"{when} the jump is not a number"):
            training.run(to=4)


def test_where_any_higher_mean_counts_all_problems_are_asked_at_once(tmp_path):
    better = ["acceleration.gate.rule=better", "acceleration.when.every=1"]
    training = Training(tmp_path, [*ASKED, *better], goal=1.0)
    training.run(to=1)
    record = training.driver.records.read(1)
    assert record["decision"] == "rejected" and record["rollouts"] == 2 * 64 * 4
    assert training.asked == 2


def test_a_line_is_tested_over_as_many_steps_as_the_answers_would_train(tmp_path):
    near = ["acceleration=gated", "acceleration.when.every=2"]
    far = ["acceleration.how_far.search=null", "acceleration.how_far.factor=2.0"]
    training = Training(tmp_path, [*near, *far], goal=0.5)
    # 64 problems, 4 answers each, before and after; 16 groups of 8 answers a step.
    assert training.plan.break_even == 4
    training.run(to=8)
    tested = training.driver.records.read(8)["backtest"]["cuts"]
    assert [(cut["step"], cut["target"]) for cut in tested] == [(4, 8)]
    free = ["acceleration.gate.kind=backtest", "acceleration.how_far.search=null"]
    unasked = Training(tmp_path / "free", [near[0], *free, "acceleration.how_far.factor=2.0"])
    assert unasked.plan.break_even == 0


def test_a_factor_that_cannot_pay_for_the_answers_is_not_searched(tmp_path):
    searched = ["acceleration=gated", "acceleration.when.every=2"]
    training = Training(tmp_path, searched, noise=0.0, goal=40.0)
    # The answers of a firing train 4 steps: 2 times the way of 2 steps is 2 ahead, 4 times is 6.
    training.run(to=2)
    record = training.driver.records.read(2)
    assert [each["factor"] for each in record["tried"]] == [4.0, 8.0]
    published = ["acceleration.clock=step", "acceleration.gate.kind=validation"]
    asked = Training(tmp_path / "asked", [*searched, *published], noise=0.0)
    asked.run(to=2)
    assert asked.driver.records.read(2)["tried"][0]["factor"] == 2.0
    rarely = ["acceleration.when.every=null", "acceleration.when.powers_of_two=true"]
    unpaid = Training(tmp_path / "first", ["acceleration=gated", *rarely], noise=0.0)
    unpaid.run(to=1)
    record = unpaid.driver.records.read(1)  # 8 times the way of one step is 7 ahead
    assert (record["decision"], record["rollouts"]) == ("declined", 0)


def test_the_backtest_reaches_as_far_as_the_answers_and_not_as_the_farthest_factors(tmp_path):
    """64 problems x 8 answers, twice, are 8 steps; 2 times the way of 6 steps is 6 ahead."""
    plan = ["acceleration=gated", "acceleration.when.every=6", "acceleration.gate.samples=8"]
    training = Training(tmp_path, [*plan, "acceleration.clock=step"], noise=0.0, goal=100.0)
    training.run(to=6)
    record = training.driver.records.read(6)
    assert record["tried"][0]["factor"] == 4.0
    # Of 6 known steps: line and horizon shrink from 6 and 8 to 3 and 3; for 18 ahead to 2 and 4.
    (cut,) = record["backtest"]["cuts"]
    assert (cut["step"], cut["target"]) == (3, 6)


@pytest.mark.parametrize("clock", ["step", "path"])
def test_the_backtest_lets_a_straight_walk_jump_and_spends_nothing_on_a_random_one(tmp_path, clock):
    backtest = ["acceleration=gated", "acceleration.when.every=10", f"acceleration.clock={clock}"]
    straight = Training(tmp_path / "straight", backtest)
    straight.run()
    assert straight.driver.records.read(10)["backtest"]["lower"] > 0.5
    assert straight.driver.records.read(10)["accepted"]
    drifting = Training(tmp_path / "random", backtest, noise=20.0)
    drifting.run()
    record = drifting.driver.records.read(10)
    assert record["decision"] == "declined" and record["backtest"]["lower"] < 0.0
    assert drifting.asked == drifting.synced == record["rollouts"] == 0
    assert torch.equal(drifting.worker.anchored._copy.popitem()[1], drifting_at(drifting, 10))


def drifting_at(training, step):
    """The weights before the updates after a step."""
    other = Training(training.folder / "again", ["acceleration=regrounding_10_10"], noise=20.0)
    other.run(to=step - 1)
    other.step = step - 1
    other.driver.after_step = lambda step: {}
    other.update()
    return other.weight.detach().reshape(-1)


def test_a_control_that_always_rolls_back_pays_and_keeps_nothing(tmp_path):
    training = Training(tmp_path, [*ASKED, "acceleration.roll_back=always"])
    training.run(to=4)
    record = training.driver.records.read(4)
    assert record["decision"] == "rolled back" and not record["accepted"]
    assert record["rollouts"] > 0 and record["tried"][0]["accepted"]
    assert torch.equal(training.weight, training.state["weight"])


def test_none_moves_nothing_and_restarts_the_optimizer(tmp_path):
    none = [*TWICE, "acceleration.method=none", "acceleration.optimizer=restart"]
    training = Training(tmp_path, none)
    training.run(to=4)
    assert torch.equal(training.weight, training.state["weight"])
    assert int(training.moments()["step"]) == 0


def test_random_goes_as_far_elsewhere(tmp_path):
    training = Training(tmp_path, [*TWICE, "acceleration.method=random"], noise=0.0)
    training.run(to=4)
    assert training.position() == pytest.approx(4.0, abs=0.5)
    assert training.driver.records.read(4)["length"] == pytest.approx(4.0, rel=1e-3)


def test_a_horizon_counts_on_its_clock(tmp_path):
    far = ["acceleration.how_far.factor=null", "acceleration.how_far.horizon=8"]
    training = Training(tmp_path, [*TWICE, *far], noise=0.0)
    training.run(to=4)
    assert training.driver.records.read(4)["factor"] == 3.0
    ended = ["acceleration.how_far.factor=null", "acceleration.how_far.to_end=true"]
    training = Training(tmp_path / "end", [*TWICE, *ended], noise=0.0)
    training.run(to=4)
    assert training.driver.records.read(4)["factor"] == 3.0
    path = Training(tmp_path / "path", [*TWICE, *far, "acceleration.clock=path"], noise=0.0)
    path.run(to=4)
    # Steps of one length: the path is the step number, as far as a sketch can say.
    assert path.driver.records.read(4)["factor"] == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize("plan", [TWICE, ASKED, [*ASKED, "acceleration.optimizer=zero"]])
def test_a_run_resumed_after_a_jump_repeats_it_without_asking(tmp_path, plan):
    whole = Training(tmp_path, plan, goal=8.0)
    whole.run(to=4)
    state, asked = whole.state, whole.asked
    record = (whole.plan.records / "step_4.json").read_text()
    again = Training(tmp_path, plan, goal=8.0)
    again.resume(4, state)
    assert again.asked == 0
    assert torch.equal(again.weight, whole.weight)
    assert all(torch.equal(value, again.moments()[name]) for name, value in whole.moments().items())
    assert (whole.plan.records / "step_4.json").read_text() == record
    for training in (whole, again):
        for _ in range(STEPS - 4):
            training.update()
    assert torch.equal(again.weight, whole.weight)
    # One look at the weights, the first candidate and the second, which is worse.
    assert asked == (0 if plan is TWICE else 3)


@pytest.mark.parametrize(
    ("goal", "call"),
    [(goal, call) for goal, most in ((30.0, 8), (13.0, 8)) for call in range(1, most + 1)],
)
def test_a_run_killed_in_the_middle_of_a_jump_ends_like_one_that_was_not(tmp_path, goal, call):
    whole = Training(tmp_path / "whole", ASKED, goal=goal)
    whole.run(to=4)
    killed = Training(tmp_path / "killed", ASKED, goal=goal, killed=call)
    with pytest.raises(Killed):
        killed.run(to=4)
    again = Training(tmp_path / "killed", ASKED, goal=goal)
    again.resume(4, killed.state)
    assert torch.equal(again.weight, whole.weight)
    first, second = (
        json.loads((each.plan.records / "step_4.json").read_text()) for each in (whole, again)
    )
    for record in (first, second):
        del record["seconds"], record["seal"]
    assert first == second
    # An earlier state: step 4 is trained again.
    assert JumpRecords(again.plan.records).steps() == [4]
    again.driver.records.forget_after(3)
    assert JumpRecords(again.plan.records).steps() == []


def test_the_rewards_say_when_little_is_left_to_gain(tmp_path):
    stop = "acceleration.stop={below: 50.0, act: true}"
    training = Training(tmp_path, [*TWICE, stop, "trainer.steps=40"])
    training.run(to=8)
    assert training.driver.records.read(8)["remaining"]["ends"] is False  # too few steps to say
    training = Training(
        tmp_path / "later",
        [
            "acceleration=regrounding_10_10",
            stop,
            "trainer.steps=40",
            "acceleration.when.every=20",
            "acceleration.roll_back=always",
        ],
    )
    training.run(to=20)
    remaining = training.driver.records.read(20)["remaining"]
    assert remaining["gain"] == pytest.approx(0.2, abs=1e-6)
    assert remaining["below"] and remaining["ends"]
