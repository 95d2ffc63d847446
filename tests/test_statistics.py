import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_dynamics.scoring.statistics import (
    mean_interval,
    paired_difference,
    recovery_ratio,
    wilson,
)

Z = 1.959963984540054


def test_wilson_known_values():
    # Closed form at the ends: 0 of n gives [0, z^2 / (n + z^2)].
    assert wilson(0, 30) == pytest.approx((0.0, 0.0, Z**2 / (30 + Z**2)))
    assert wilson(30, 30) == pytest.approx((1.0, 30 / (30 + Z**2), 1.0))
    # At p = 1/2 it is symmetric with half width z / (2 sqrt(n + z^2)).
    half = Z / (2 * math.sqrt(100 + Z**2))
    assert wilson(50, 100) == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_wilson_without_trials_is_undefined():
    assert all(math.isnan(value) for value in wilson(0, 0))


@pytest.mark.parametrize("successes", [-1, 31])
def test_wilson_refuses_impossible_counts(successes):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, 30)


@given(st.integers(1, 3000), st.data())
def test_wilson_is_a_proper_interval(n, data):
    successes = data.draw(st.integers(0, n))
    interval = wilson(successes, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.high - interval.low > 0
    mirror = wilson(n - successes, n)
    assert mirror.low == pytest.approx(1 - interval.high, abs=1e-12)


def test_one_sample_per_question_is_wilson():
    means = [1.0] * 12 + [0.0] * 18
    assert mean_interval(means, 1) == pytest.approx(wilson(12, 30))


def test_copies_of_one_answer_are_worth_one_answer():
    means = [1.0] * 12 + [0.0] * 18
    assert mean_interval(means, 4) == pytest.approx(wilson(12, 30))


def test_independent_samples_are_worth_all_of_them():
    means = np.random.default_rng(0).binomial(4, 0.5, size=4000) / 4
    interval, all_free = mean_interval(means, 4), wilson(means.sum() * 4, means.size * 4)
    assert interval.value == pytest.approx(all_free.value)
    assert interval.high - interval.low == pytest.approx(all_free.high - all_free.low, rel=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_wrong_or_all_right_count_questions(value):
    assert mean_interval([value] * 30, 8) == pytest.approx(wilson(30 * value, 30))


def test_equal_questions_count_questions():
    assert mean_interval([0.5] * 30, 8) == pytest.approx(wilson(15, 30))


def test_no_questions_is_undefined():
    for interval in (mean_interval([], 1), paired_difference([], []), recovery_ratio([], [])):
        assert all(math.isnan(value) for value in interval)


def test_clustered_interval_covers():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        difficulty = generator.beta(0.5, 0.5, size=100)
        interval = mean_interval(generator.binomial(4, difficulty) / 4, 4)
        hits += interval.low <= 0.5 <= interval.high
    assert 0.92 <= hits / 400 <= 0.98


def test_paired_difference_matches_the_normal_approximation():
    generator = np.random.default_rng(2)
    a, b = generator.binomial(1, 0.7, 500), generator.binomial(1, 0.4, 500)
    interval = paired_difference(a, b, seed=3)
    half = Z * np.std(a - b, ddof=1) / math.sqrt(500)
    assert interval.value == pytest.approx((a - b).mean())
    assert interval.low == pytest.approx(interval.value - half, abs=0.01)
    assert interval.high == pytest.approx(interval.value + half, abs=0.01)


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(4)
    a = generator.binomial(1, 0.5, 300).astype(float)
    b = a.copy()
    b[:6] = 1 - b[:6]
    paired = paired_difference(a, b)
    shuffled = paired_difference(a, generator.permutation(b))
    assert paired.high - paired.low < 0.3 * (shuffled.high - shuffled.low)


def test_bootstrap_repeats_with_its_seed():
    a, b = np.random.default_rng(5).uniform(size=(2, 50))
    assert paired_difference(a, b, seed=1) == paired_difference(a, b, seed=1)
    assert paired_difference(a, b, seed=1) != paired_difference(a, b, seed=2)
    assert recovery_ratio(a, b, seed=1) == recovery_ratio(a, b, seed=1)


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_difference_without_spread_still_has_an_interval(a, b):
    interval = paired_difference([a] * 30, [b] * 30)
    assert interval.value == a - b
    assert -1 <= interval.low <= interval.value <= interval.high <= 1
    assert 0.05 < interval.high - interval.low < 0.4


def test_unequal_questions_are_refused():
    with pytest.raises(ValueError, match="same questions"):
        paired_difference([0.0, 1.0], [0.0])


def test_ratio_of_a_model_with_itself_is_one():
    full = np.random.default_rng(6).binomial(1, 0.6, 200).astype(float)
    assert recovery_ratio(full, full) == pytest.approx((1.0, 1.0, 1.0))


def test_recovery_of_half_the_gain():
    base = np.zeros(400)
    full = np.ones(400)
    half = np.tile([0.0, 1.0], 200)
    interval = recovery_ratio(half, full, base)
    assert interval.value == pytest.approx(0.5)
    assert interval.low == pytest.approx(0.45, abs=0.01)
    assert interval.high == pytest.approx(0.55, abs=0.01)
    assert recovery_ratio(base, full, base) == pytest.approx((0.0, 0.0, 0.0))


def test_ratio_over_nothing_is_undefined():
    zero, one = np.zeros(30), np.ones(30)
    assert all(math.isnan(value) for value in recovery_ratio(one, zero))
    assert all(math.isnan(value) for value in recovery_ratio(one, one, one))


def test_ratio_over_an_uncertain_gain_has_no_bounds():
    base = np.tile([0.0, 1.0], 20)
    full = base.copy()
    full[0] = 1.0  # one question apart: many draws show no gain at all
    interval = recovery_ratio(full, full, base)
    assert interval.value == 1.0
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
