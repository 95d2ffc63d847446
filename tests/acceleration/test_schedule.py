import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_dynamics.acceleration.horizon import backtest_horizon, factor_ahead
from rlvr_dynamics.acceleration.schedule import fires, firings, previous_firing
from rlvr_dynamics.schema.acceleration import When

EVERY = When(steps=None, every=10, powers_of_two=False)
LISTED = When(steps=(3, 7, 20), every=None, powers_of_two=False)
POWERS = When(steps=None, every=None, powers_of_two=True)


@pytest.mark.parametrize(
    ("when", "fired"),
    [(EVERY, [10, 20, 30]), (LISTED, [3, 7, 20]), (POWERS, [1, 2, 4, 8, 16, 32])],
)
def test_the_rules_fire_at_their_steps(when, fired):
    assert firings(when, 40) == fired


def test_the_last_step_and_the_base_never_fire():
    assert fires(EVERY, 40, 41) and not fires(EVERY, 40, 40)
    assert not fires(POWERS, 0, 40) and not fires(EVERY, 0, 40)
    assert firings(LISTED, 20) == [3, 7]


@given(st.sampled_from([EVERY, LISTED, POWERS]), st.integers(1, 200))
def test_the_anchor_is_the_firing_before(when, step):
    before = previous_firing(when, step)
    assert before == max([0, *(each for each in firings(when, 10**3) if each < step)])


STEPS = np.arange(1, 21)


def test_on_the_step_number_the_factor_is_a_ratio_of_steps():
    assert factor_ahead(STEPS, np.ones(20), 10, "step") == (1.5, "")
    assert factor_ahead(STEPS, np.ones(20), 10, "step", anchor=10) == (2.0, "")


@pytest.mark.parametrize("anchor", [0, 5, 15])
@pytest.mark.parametrize("power", [-0.3, -0.5, -1.0])
def test_a_path_that_follows_a_power_law_is_continued_by_it(power, anchor):
    lengths = np.arange(1.0, 31.0) ** power
    path = np.concatenate([[0.0], np.cumsum(lengths)])
    found = factor_ahead(STEPS, lengths[:20], 10, "path", anchor)
    expected = (path[30] - path[anchor]) / (path[20] - path[anchor])
    assert found.factor == pytest.approx(expected, rel=1e-9)
    assert found.remark == "" and found.factor < (30 - anchor) / (20 - anchor)


@pytest.mark.parametrize("lengths", [np.zeros(20), np.r_[1.0, np.zeros(19)]])
def test_a_path_that_cannot_be_continued_stays_on_the_step_number(lengths):
    factor, remark = factor_ahead(STEPS, lengths, 10, "path")
    assert factor == 1.5 and "step number" in remark


def test_a_jump_is_tested_at_its_own_horizon_where_history_allows():
    assert backtest_horizon(ahead=5, window=5, history=10) == 5
    assert backtest_horizon(ahead=5, window=5, history=8) == 4


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 100))
def test_with_little_history_line_and_horizon_shrink_together(ahead, window, more):
    history = max(2, window + more)
    found = backtest_horizon(ahead, window, history)
    assert 1 <= found < history
    if ahead > history - window and history > 20:
        line = history - found
        assert (line + found) / line == pytest.approx((window + ahead) / window, rel=0.5 * 2 / line)
