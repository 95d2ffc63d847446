"""Accuracy against its cost, in closed form: times to a level, speed-ups, equal cost."""

import math

import pytest

from rlvr_dynamics.results.curves import (
    curves,
    plain_runs,
    points_at_equal_cost,
    speed_up,
    time_to,
    tuned_rate,
    validated,
)
from rlvr_dynamics.results.run import load_results
from tests.support.accelerated_run import jump, line, write_arm

GATED = ["acceleration=gated"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Plain steps, an arm that is three times as fast, one that never arrives, a peak."""
    place = tmp_path_factory.mktemp("runs")
    dear = jump(10)
    dear["rollouts"] = 19 * 64
    lost = line(0.0) | {10: 0.9}
    folders = {
        "plain": write_arm(place / "plain", line(0.01), validation=0.4),
        "fast": write_arm(place / "fast", line(0.03), rate=1e-4, validation=0.7),
        "faster": write_arm(place / "faster", line(0.03), rate=3e-4, validation=0.6),
        "gated": write_arm(place / "gated", line(0.03), arm=GATED, jumps=[dear]),
        "slow": write_arm(place / "slow", line(0.005), arm=GATED),
        "peak": write_arm(place / "peak", lost, arm=GATED),
        "fallen": write_arm(place / "fallen", line(-0.002), arm=GATED),
        "other seed": write_arm(place / "other seed", line(0.01), seed=2, validation=0.5),
    }
    return {name: load_results(folder) for name, folder in folders.items()}


def pair(runs, mine, other="plain"):
    return curves([runs[mine], runs[other]])


def test_a_level_costs_the_rollouts_until_it_and_three_times_fewer_at_three_times_the_slope(runs):
    fast, plain = pair(runs, "fast")
    level = plain.level(0.95)
    assert level[0] == pytest.approx(0.2 + 0.95 * 0.6)
    assert time_to(plain, level, "rollouts").value == pytest.approx(57 * 64)
    assert time_to(fast, level, "updates").value == pytest.approx(19)
    found = speed_up(fast, plain, 0.95)
    assert found.value.value == pytest.approx(3.0) and found.arrives
    # All runs answer the same questions, so that their luck cancels.
    assert 2.8 < found.value.low <= 3.0 <= found.value.high < 3.2
    assert speed_up(plain, plain).value.value == pytest.approx(1.0)


def test_answers_for_a_gate_count(runs):
    gated, plain = pair(runs, "gated")
    assert speed_up(gated, plain).value.value == pytest.approx(1.5)
    assert speed_up(gated, plain, axis="updates").value.value == pytest.approx(3.0)


def test_a_run_that_never_arrives_is_kept_with_the_most_that_it_could_be(runs):
    slow, plain = pair(runs, "slow")
    found = speed_up(slow, plain)
    assert not found.arrives and math.isinf(found.cost)
    assert found.value == pytest.approx((57 / 60, 0.0, 57 / 60), abs=0.02)
    peak, plain = pair(runs, "peak")
    assert not speed_up(peak, plain).arrives


def test_without_a_gain_there_is_nothing_to_reach(runs):
    fast, fallen = pair(runs, "fast", "fallen")
    found = speed_up(fast, fallen)
    assert math.isnan(found.value.value) and not found.arrives
    # The other way round it is a run that never arrives.
    assert speed_up(fallen, fast).value.high < 0.5


def test_points_are_compared_at_the_rollouts_of_the_shorter(runs):
    gated, plain = pair(runs, "gated")
    # 60 plain steps are 3,840 rollouts; the gated run has 2,624 of steps by then: step 41, at 0.9.
    assert points_at_equal_cost(gated, plain).value == pytest.approx(10.0)
    fast, plain = pair(runs, "fast")
    low, high = (points_at_equal_cost(*each).value for each in ((plain, fast), (fast, plain)))
    assert low == pytest.approx(-high)


def test_the_area_is_the_mean_accuracy_up_to_a_cost(runs):
    (plain,) = curves([runs["plain"]])
    assert plain.area(60 * 64.0)[0] == pytest.approx(0.5)
    assert plain.area(30 * 64.0)[0] == pytest.approx(0.35)
    assert plain.at(30 * 64.0)[0] == pytest.approx(0.5)


def test_the_rate_is_chosen_on_validation_problems_among_plain_runs_of_the_seed(runs):
    plain = plain_runs(runs["gated"], runs.values())
    assert plain == [runs["plain"], runs["fast"], runs["faster"]]
    assert tuned_rate(plain) == 1e-4 and tuned_rate([runs["gated"]]) is None
    assert validated(runs["plain"]) == pytest.approx(0.4)
    # Over seeds their mean counts.
    assert tuned_rate([runs["faster"], runs["plain"], runs["other seed"]]) == 3e-4
