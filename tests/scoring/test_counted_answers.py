"""Statistics of answers in closed form, on numbers of which no two are equal."""

import math

import numpy as np
import pytest

from rlvr_dynamics.statistics.intervals import (
    Interval,
    average,
    effective_wilson,
    mean_interval,
    resample_counts,
)
from rlvr_dynamics.statistics.paired import GAIN, RATIO, best_candidate, difference, pair

Z = 1.959963984540054


def wilson(p, n):
    """Both roots of (p - x)² = z² x (1 - x) / n."""
    a, b, c = 1 + Z**2 / n, -(2 * p + Z**2 / n), p**2
    root = math.sqrt(b**2 - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


@pytest.mark.parametrize(
    ("means", "samples", "worth"),
    [
        # p (1 - p) = 0.24; the variance of the mean of four is (0.4 / 3) / 4 = 1 / 30.
        ((0.2, 0.4, 0.8, 1.0), 5, 7.2),
        # As independent as their 8 samples could be: 0.24 over (0.02 / 3) / 4 is 144.
        ((0.5, 0.7, 0.6, 0.6), 2, 8.0),
        # Less than one answer a question: 0.25 over (1 / 3) / 4 is 3, and four were asked.
        ((0.0, 1.0, 0.0, 1.0), 7, 4.0),
    ],
)
def test_samples_are_worth_what_their_questions_differ(means, samples, worth):
    found = effective_wilson(means, samples)
    assert found == pytest.approx((np.mean(means), *wilson(np.mean(means), worth)), abs=1e-12)
    wider = mean_interval(means, samples)
    assert wider.low <= found.low and wider.high >= found.high


def test_an_average_adds_each_sides_distances_in_squares():
    parts = [Interval(0.3, 0.27, 0.34), Interval(0.6, 0.56, 0.72), Interval(0.9, 0.78, 0.95)]
    below, above = math.sqrt(0.03**2 + 0.04**2 + 0.12**2), math.sqrt(0.04**2 + 0.12**2 + 0.05**2)
    assert average(parts) == pytest.approx((0.6, 0.6 - below / 3, 0.6 + above / 3))


def test_resamples_draw_each_question_as_often_as_chance_does():
    n, draws = 12, 4000
    counts = resample_counts(n, draws, (4,)).astype(float)
    assert (counts.sum(axis=1) == n).all()
    # Binomial(12, 1/12), and any two questions share the draws: covariance -1/12.
    assert counts.mean(axis=0) == pytest.approx(np.ones(n), abs=0.08)
    covariance = np.cov(counts.T)
    assert np.diag(covariance) == pytest.approx(np.full(n, 11 / 12), abs=0.12)
    others = covariance[~np.eye(n, dtype=bool)]
    assert others.mean() == pytest.approx(-1 / 12, abs=0.02)
    assert len(np.unique(counts, axis=0)) > 0.99 * draws


def answers(chance, seed, n=80):
    return (np.random.default_rng(seed).random(n) < chance).astype(float)


def test_benchmarks_are_resampled_apart_and_models_together():
    one = [answers(0.4, 1), answers(0.7, 2)]
    single, twice = pair([one], seeds=[(5,)]), pair([one, one], seeds=[(5,), (6,)])
    unnamed = pair([one, one])
    for of_two in (twice, unnamed):
        # Means of two independent draws; with one seed they would be the single one's.
        ratio = of_two.draws.std(axis=0) / single.draws.std(axis=0)
        assert ratio == pytest.approx([0.5**0.5] * 2, abs=0.06)
    # A model and its copy are drawn together, so they never differ.
    copied = pair([[one[0], one[0]]])
    assert (copied.draws[:, 0] == copied.draws[:, 1]).all()


def test_comparisons_of_three_models_in_closed_form():
    full, base, first = answers(0.8, 3), answers(0.3, 4), answers(0.6, 5)
    means = first.mean(), full.mean(), base.mean()
    assert len(set(means)) == 3
    found = pair([[first, full, base]])
    points = found.compare(difference(0, 2, 100.0))
    expected = {
        RATIO: means[0] / means[1],
        GAIN: (means[0] - means[2]) / (means[1] - means[2]),
    }
    assert points.value == pytest.approx(100 * (means[0] - means[2]))
    # Bonett and Price: two imaginary questions, one won and one lost.
    moves = np.array([*(first - base), 1.0, -1.0])
    half = 100 * Z * math.sqrt(moves.var() / len(moves))
    assert points.low <= points.value - half + 1e-9 and points.high >= points.value + half - 1e-9
    assert points.high - points.low < 2.2 * half
    for contrast, value in expected.items():
        interval = found.compare(contrast)
        assert interval.value == pytest.approx(value)
        drawn = [contrast.value(row) for row in found.draws]
        low, high = np.quantile(drawn, [0.025, 0.975])
        assert interval.low <= low and interval.high >= high
        assert interval.high - interval.low < 1.35 * (high - low)


def test_an_interval_is_the_outer_one_of_resampling_and_the_normal():
    """Two wins of 40, no loss: resampling ends at zero below, the normal interval below it."""
    won = np.zeros(40)
    won[:2] = 1.0
    found = pair([[won, np.zeros(40)]]).compare(difference(0, 1))
    moves = np.array([*won, 1.0, -1.0])
    half = Z * math.sqrt(moves.var() / 42)
    assert found.low == pytest.approx(0.05 - half)
    drawn = pair([[won, np.zeros(40)]]).draws[:, 0]
    assert found.high == pytest.approx(max(0.05 + half, np.quantile(drawn, 0.975)))
    # Few losses among many ties on a benchmark of ten: resampling reaches farther above.
    skewed = np.array([1.0, 1.0, 1.0, -1.0, *[0.0] * 8])
    zeros = np.zeros(12)
    both = pair([[np.maximum(skewed, 0), np.maximum(-skewed, 0)], [zeros, zeros]])
    whole = both.compare(difference(0, 1))
    drawn = both.draws[:, 0] - both.draws[:, 1]
    half = Z * both.standard_error(np.array([1.0, -1.0]))
    assert whole.high == pytest.approx(max(1 / 12 + half, np.quantile(drawn, 0.975)))
    assert whole.low == pytest.approx(min(1 / 12 - half, np.quantile(drawn, 0.025)))


def test_the_best_of_several_is_the_best_and_pays_for_the_choice():
    reference = answers(0.5, 8)
    chances = (0.45, 0.62, 0.55, 0.58)
    candidates = [answers(chance, 20 + place) for place, chance in enumerate(chances)]
    gains = [candidate.mean() - reference.mean() for candidate in candidates]
    assert len(set(gains)) == 4
    paired = pair([[reference, *candidates]], draws=4000)
    best = best_candidate(paired)
    assert best.place == int(np.argmax(gains))
    assert best.alone.value == best.corrected.value == pytest.approx(max(gains))
    errors = np.array(
        [
            paired.standard_error(np.array([-1.0, *np.eye(4)[place]]))
            for place in range(len(candidates))
        ]
    )
    drawn = (paired.draws[:, 1:] - paired.draws[:, :1] - gains) / errors
    width = np.quantile(np.abs(drawn).max(axis=1), 0.95)
    assert width > 2.2  # a single comparison has 1.96
    half = width * errors[best.place]
    assert best.corrected[1:] == pytest.approx((max(gains) - half, max(gains) + half))
    equal = best_candidate(pair([[reference, candidates[0], candidates[1], candidates[1]]]))
    assert equal.place == 1  # the first of equals
