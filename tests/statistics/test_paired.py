"""Comparisons of models on the same questions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.statistics.intervals import wilson
from rlvr_dynamics.statistics.paired import (
    GAIN,
    RATIO,
    best_candidate,
    difference,
    pair,
)

Z = 1.959963984540054
DIFFERENCE = difference()


def of(*models, **options):
    return pair([models], **options)


# Differences


def test_difference_matches_the_normal_approximation():
    generator = np.random.default_rng(2)
    a, b = generator.binomial(1, 0.7, 500), generator.binomial(1, 0.4, 500)
    interval = of(a, b).compare(DIFFERENCE)
    half = Z * np.std(a - b, ddof=1) / math.sqrt(500)
    assert interval.value == pytest.approx((a - b).mean())
    assert interval.low == pytest.approx(interval.value - half, abs=0.01)
    assert interval.high == pytest.approx(interval.value + half, abs=0.01)


def test_a_skewed_comparison_has_the_outer_ends_of_draws_and_normal_approximation():
    generator = np.random.default_rng(3)
    full = generator.binomial(1, 0.2, 40).astype(float)
    one = np.where(generator.uniform(size=40) < 0.4, 1.0, full)
    paired = of(one, full, draws=4000)
    ratio = paired.compare(RATIO)
    # Resampled here anew: a small denominator stretches the ratio upwards.
    places = np.random.default_rng(8).integers(0, 40, (20000, 40))
    with np.errstate(divide="ignore"):
        drawn = one[places].mean(axis=1) / full[places].mean(axis=1)
    upper = np.quantile(drawn, [0.95, 0.975])
    gradient = np.array([1.0, -ratio.value]) / full.mean()
    assert ratio.value == pytest.approx(one.mean() / full.mean())
    assert upper[0] > ratio.value + Z * paired.standard_error(gradient)
    assert ratio.high == pytest.approx(upper[1], abs=0.3 * (upper[1] - upper[0]))
    assert ratio.low == pytest.approx(ratio.value - Z * paired.standard_error(gradient))


def test_standard_error_in_closed_form():
    """Bonett and Price 2012: sqrt((p12 + p21 - (p12 - p21)^2) / (n + 2)), p from counts + 1."""
    n, won, lost = 40, 7, 2
    a = [1.0] * won + [0.0] * lost + [1.0] * (n - won - lost)
    b = [0.0] * won + [1.0] * lost + [1.0] * (n - won - lost)
    p12, p21 = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    expected = math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    assert of(a, b).standard_error(np.array([1.0, -1.0])) == pytest.approx(expected)


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(4)
    a = generator.binomial(1, 0.5, 300).astype(float)
    b = a.copy()
    b[:6] = 1 - b[:6]
    paired = of(a, b).compare(DIFFERENCE)
    shuffled = of(a, generator.permutation(b)).compare(DIFFERENCE)
    assert paired.high - paired.low < 0.3 * (shuffled.high - shuffled.low)


def test_bootstrap_repeats_with_its_seed():
    a, b = np.random.default_rng(5).uniform(size=(2, 50))
    first, again, other = (of(a, b, seeds=[(seed,)]).draws for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_difference_without_spread_still_has_an_interval(a, b):
    interval = of([a] * 30, [b] * 30).compare(DIFFERENCE)
    assert interval.value == a - b
    assert -1 <= interval.low <= interval.value <= interval.high <= 1
    assert 0.05 < interval.high - interval.low < 0.4


MEANS = st.lists(
    st.tuples(*[st.integers(0, 4).map(lambda c: c / 4)] * 3), min_size=2, max_size=30
).map(lambda rows: np.array(rows).T)


@settings(max_examples=60)
@given(MEANS)
def test_difference_is_a_proper_interval(models):
    a, b, _ = models
    interval = of(a, b, draws=300).compare(DIFFERENCE)
    assert -1 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low < interval.high
    swapped = of(b, a, draws=300).compare(DIFFERENCE)
    assert swapped == pytest.approx((-interval.value, -interval.high, -interval.low))
    points = of(a, b, draws=300).compare(difference(scale=100))
    assert points == pytest.approx([100 * part for part in interval])
    # One more question won, in place of one that was not, never lowers the difference.
    better = a.copy()
    better[0] = 1.0
    assert of(better, b, draws=300).compare(DIFFERENCE).value >= interval.value


@pytest.mark.parametrize(("n", "p12", "p21"), [(30, 0.02, 0.02), (30, 0.2, 0.1), (100, 0.05, 0.0)])
def test_difference_covers(n, p12, p21):
    """Also where few questions differ, which the bootstrap alone misses."""
    generator = np.random.default_rng(7)
    hits = bare = 0
    for _ in range(300):
        a = generator.multinomial(1, [p12, p21, 1 - p12 - p21], size=n)
        paired = of(a[:, 0].astype(float), a[:, 1].astype(float), draws=300)
        interval = paired.compare(DIFFERENCE)
        low, high = np.quantile(paired.draws[:, 0] - paired.draws[:, 1], [0.025, 0.975])
        hits += interval.low <= p12 - p21 <= interval.high
        bare += low <= p12 - p21 <= high
    assert hits / 300 >= 0.93
    assert hits >= bare


def test_benchmarks_count_alike():
    short, long = ([1.0] * 10, [0.0] * 10), ([0.0] * 1000, [0.0] * 1000)
    paired = pair([short, long])
    assert paired.means.tolist() == [0.5, 0.0] and paired.questions == 1010
    interval = paired.compare(DIFFERENCE)
    assert interval.value == 0.5
    # The long benchmark adds almost no doubt, and halves the short one's.
    alone = pair([short]).compare(DIFFERENCE)
    assert interval.value - interval.low == pytest.approx((alone.value - alone.low) / 2, rel=0.05)


def test_unequal_questions_are_refused():
    with pytest.raises(ValueError, match="same questions"):
        of([0.0, 1.0], [0.0])
    with pytest.raises(ValueError, match="same questions"):
        of([], [])
    with pytest.raises(ValueError, match="no benchmark"):
        pair([])


# Ratios


@settings(max_examples=60)
@given(MEANS)
def test_ratios_contain_their_estimate(models):
    for contrast in (RATIO, GAIN):
        value, low, high = of(*models, draws=300).compare(contrast)
        assert math.isnan(low) == math.isnan(high)
        if not math.isnan(low):
            assert low <= value <= high and low < high
    recovered, full, base = models.mean(axis=1)
    ratio, gain = (of(*models, draws=10).compare(contrast).value for contrast in (RATIO, GAIN))
    assert math.isnan(ratio) if full == 0 else ratio == pytest.approx(recovered / full)
    if full > base:
        assert gain == pytest.approx((recovered - base) / (full - base))
    else:
        assert math.isnan(gain)


@pytest.mark.parametrize("contrast", [DIFFERENCE, RATIO, GAIN])
def test_gradients_are_derivatives(contrast):
    means, step = np.array([0.5, 0.7, 0.3]), 1e-6
    ends = [contrast.value(means + sign * step * np.eye(3)) for sign in (1, -1)]
    numeric = (ends[0] - ends[1]) / (2 * step)
    assert contrast.gradient(means) == pytest.approx(numeric, abs=1e-6)


def test_ratio_matches_the_delta_method():
    generator = np.random.default_rng(8)
    full = generator.binomial(1, 0.8, 2000).astype(float)
    part = full * generator.binomial(1, 0.9, 2000)
    interval = of(part, full).compare(RATIO)
    residual = (part - interval.value * full) / full.mean()
    half = Z * residual.std() / math.sqrt(2000)
    assert interval.low == pytest.approx(interval.value - half, abs=0.004)
    assert interval.high == pytest.approx(interval.value + half, abs=0.004)


def test_models_that_answer_alike_have_a_ratio_near_one():
    full = np.array([1.0] * 18 + [0.0] * 12)
    interval = of(full, full).compare(RATIO)
    half = Z * math.sqrt(2) / 32 / 0.6
    assert interval == pytest.approx((1.0, 1 - half, 1 + half))


def test_recovery_of_half_the_gain():
    base, full, half = np.zeros(400), np.ones(400), np.tile([0.0, 1.0], 200)
    interval = of(half, full, base).compare(GAIN)
    assert interval.value == pytest.approx(0.5)
    assert interval.low == pytest.approx(0.45, abs=0.01)
    assert interval.high == pytest.approx(0.55, abs=0.01)
    nothing = of(base, full, base).compare(GAIN)
    assert nothing.value == 0 and nothing.low < 0 < nothing.high < 0.02


def test_ratio_over_nothing_is_undefined():
    zero, one = np.zeros(30), np.ones(30)
    assert all(math.isnan(value) for value in of(one, zero).compare(RATIO))
    assert all(math.isnan(value) for value in of(one, one, one).compare(GAIN))


def test_share_of_an_uncertain_gain_has_no_bounds():
    base = np.tile([0.0, 1.0], 20)
    full = base.copy()
    full[0] = 1.0  # one question apart: many draws show no gain at all
    interval = of(full, full, base).compare(GAIN)
    assert interval.value == 1.0
    assert math.isnan(interval.low) and math.isnan(interval.high)


# The best of many


def test_one_candidate_needs_no_correction():
    generator = np.random.default_rng(9)
    held, method = generator.binomial(1, [[0.5], [0.6]], size=(2, 400)).astype(float)
    best = best_candidate(of(held, method))
    assert best.place == 0
    assert best.alone == of(method, held).compare(DIFFERENCE)
    assert best.corrected == pytest.approx(best.alone, abs=0.005)


def test_the_best_of_many_equal_methods_is_no_discovery():
    """Twelve methods as good as holding: the choice alone makes the best look better."""
    generator = np.random.default_rng(10)
    alone = corrected = 0
    for _ in range(200):
        models = generator.binomial(1, 0.5, size=(13, 100)).astype(float)
        best = best_candidate(pair([models], draws=300))
        alone += best.alone.low > 0
        corrected += best.corrected.low > 0
        assert best.corrected.low <= best.alone.low and best.corrected.high >= best.alone.high
    assert alone / 200 > 0.08
    assert corrected / 200 <= 0.06


def test_copies_of_one_method_need_no_correction():
    generator = np.random.default_rng(11)
    held, method = generator.binomial(1, [[0.5], [0.6]], size=(2, 200)).astype(float)
    once, often = best_candidate(of(held, method)), best_candidate(of(held, *[method] * 12))
    assert often.corrected == pytest.approx(once.corrected)
    assert often.place == 0


def test_best_where_nothing_differs_has_an_interval():
    best = best_candidate(of(*np.zeros((5, 30))))
    assert best.alone.value == 0
    assert best.corrected.low < 0 < best.corrected.high
    assert best.corrected.high < wilson(0, 30).high
    with pytest.raises(ValueError, match="no candidate"):
        best_candidate(of(np.zeros(30)))
