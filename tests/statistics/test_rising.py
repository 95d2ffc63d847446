"""When a noisy curve has reached a level for good."""

import math

import numpy as np
import pytest

from rlvr_dynamics.statistics.rising import (
    first_reach,
    mean_until,
    rising_fit,
    weights_at,
    with_never,
)


def pooled(values):
    """The same fit by pooling adjacent violators, one value after the other."""
    blocks = []
    for value in values:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [[(a * m + b * n) / (m + n), m + n]]
    return [mean for mean, count in blocks for _ in range(count)]


def test_the_rising_fit_pools_what_falls():
    assert rising_fit([0.0, 1.0, 2.0]).tolist() == [0.0, 1.0, 2.0]
    assert rising_fit([1.0, 3.0, 2.0, 4.0]).tolist() == [1.0, 2.5, 2.5, 4.0]
    assert rising_fit([3.0, 2.0, 1.0]).tolist() == [2.0, 2.0, 2.0]
    drawn = np.random.default_rng(0).normal(size=(50, 13)) + np.linspace(0, 2, 13)
    for row, fitted in zip(drawn, rising_fit(drawn), strict=True):
        assert fitted == pytest.approx(pooled(row))


def test_a_level_is_reached_where_the_curve_stays_and_not_where_it_peaks():
    costs = [0.0, 10.0, 20.0, 30.0, 40.0]
    steady = rising_fit([0.0, 0.2, 0.4, 0.6, 0.8])
    assert first_reach(costs, steady, 0.3) == pytest.approx(15.0)
    assert first_reach(costs, steady, -1.0) == 0.0
    assert math.isinf(first_reach(costs, steady, 0.81))
    # A peak at 10 that is lost again says nothing: what follows it is lower on average.
    lucky = rising_fit([0.0, 0.9, 0.1, 0.2, 0.3])
    assert math.isinf(first_reach(costs, lucky, 0.8))
    both = first_reach(costs, np.stack([steady, lucky]), np.array([0.3, 0.3]))
    assert both[0] == pytest.approx(15.0) and both[1] < 15.0


def test_the_first_noisy_value_above_a_level_comes_earlier_than_the_rule_says():
    """200 noisy curves that truly reach 0.5 at a cost of 50."""
    rng = np.random.default_rng(1)
    costs = np.linspace(0, 100, 21)
    noisy = costs / 100 + rng.normal(0, 0.1, (200, 21))
    ruled = first_reach(costs, rising_fit(noisy), 0.5)
    naive = costs[(noisy >= 0.5).argmax(axis=1)]
    assert abs(np.median(ruled) - 50) < 2 < 50 - np.median(naive)


def test_the_mean_height_of_a_curve_in_closed_form():
    costs, values = [0.0, 10.0, 40.0], [0.0, 1.0, 1.0]
    assert mean_until(costs, values, 10.0) == pytest.approx(0.5)
    assert mean_until(costs, values, 20.0) == pytest.approx(0.75)
    assert mean_until(costs, values, 99.0) == pytest.approx(35 / 40)
    assert weights_at(costs, 25.0) == pytest.approx([0.0, 0.5, 0.5])
    assert weights_at(costs, 99.0) == pytest.approx([0.0, 0.0, 1.0])
    assert weights_at(costs, 4.0) == pytest.approx([0.6, 0.4, 0.0])


def test_an_interval_says_that_a_level_may_never_be_reached():
    draws = np.arange(1000.0)
    assert with_never(5.0, draws) == (5.0, 24.0, 975.0)
    draws[970:] = np.inf
    assert with_never(5.0, draws) == (5.0, 24.0, math.inf)
    draws[960:] = 1.0
    assert with_never(5.0, draws).high < math.inf
