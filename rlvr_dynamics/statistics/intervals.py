"""Confidence intervals of accuracies and of statistics over tensors. Only numpy.

Legend: `n` questions, `k` samples of one question, `m` (n,) the mean score of each question.
Questions are the sampling unit: samples of one question are not independent.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
DRAWS = 2_000


class Interval(NamedTuple):
    """An estimate with its confidence interval; NaN where undefined."""

    value: float
    low: float
    high: float


UNDEFINED = Interval(math.nan, math.nan, math.nan)


def normal_quantile(confidence: float) -> float:
    """Return z, the half-width of a two-sided interval in standard errors."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(successes: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Return the score interval of a proportion.

    Args:
        successes: Between 0 and n; need not be whole (effective counts).
        n: Number of trials; 0 gives NaN.
        confidence: Coverage, for example 0.95.

    Raises:
        ValueError: `successes` is negative or more than n.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.
    """
    if n == 0:
        return UNDEFINED
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, {n}], got {successes}")
    z = normal_quantile(confidence)
    p = successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 only up to rounding error.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(p, low, high)


def mean_interval(
    question_means: ArrayLike,
    samples: int,
    confidence: float = CONFIDENCE,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Return mean@k with an interval clustered by question.

    With k = 1 this is Wilson's interval of the n answers. With more samples it is the percentile
    bootstrap over questions, with each end replaced by that of `effective_wilson` if that is
    farther out: resampling cannot represent questions that were not asked, so alone it undercovers
    when few questions were answered right (or wrong), and has zero width when none was.

    Args:
        question_means: m, shape (n,), each in [0, 1].
        samples: k, samples per question.
        confidence: Coverage.
        draws: Bootstrap draws over questions.
        seed: Seed of the draws.

    Source: Efron and Tibshirani 1993, chapter 13.
    """
    means = np.asarray(question_means, dtype=np.float64)
    score = effective_wilson(means, samples, confidence)
    if samples == 1 or not means.size:
        return score
    drawn = resampled_means(means[None], draws=draws, seed=(seed,))[:, 0]
    return farther(score, percentile_interval(score.value, drawn, confidence))


def effective_wilson(
    question_means: ArrayLike, samples: int, confidence: float = CONFIDENCE
) -> Interval:
    """Return mean@k with Wilson's interval at the effective number of answers.

    The effective number is how many independent answers the n * k samples are worth, given the
    variance of the question means: between n and n * k; n if all questions have the same mean.

    Args:
        question_means: m, shape (n,), each in [0, 1].
        samples: k, samples per question.
        confidence: Coverage.

    Source: effective sample size after Kish 1965, Survey Sampling, section 8.2.
    """
    means = np.asarray(question_means, dtype=np.float64)
    n = means.size
    if n == 0:
        return UNDEFINED
    p = float(np.clip(means.mean(), 0.0, 1.0))
    variance = float(means.var(ddof=1)) / n if n > 1 else 0.0
    effective = float(n)
    if variance > 0:
        effective = float(np.clip(p * (1 - p) / variance, n, n * samples))
    return wilson(min(p * effective, effective), effective, confidence)._replace(value=p)


def farther(first: Interval, second: Interval) -> Interval:
    """Return the first estimate with the outer ends of both intervals."""
    low, high = min(first.low, second.low), max(first.high, second.high)
    return Interval(first.value, max(0.0, low), min(1.0, high))


def average(intervals: Sequence[Interval]) -> Interval:
    """Return the mean of independent estimates (benchmarks) with its interval.

    The squared distances from each estimate to its ends are summed, so the interval stays within
    [0, 1] and has non-zero width even if every benchmark is at an end.

    Source: Zou and Donner 2008, Stat. Med. 27, 1693-1702 (MOVER).
    """
    if not intervals:
        return UNDEFINED
    value = math.fsum(part.value for part in intervals) / len(intervals)
    below = math.hypot(*(part.value - part.low for part in intervals)) / len(intervals)
    above = math.hypot(*(part.high - part.value for part in intervals)) / len(intervals)
    return Interval(value, value - below, value + above)


@lru_cache(maxsize=32)
def resample_counts(n: int, draws: int, seed: tuple[int, ...]) -> NDArray[np.uint16]:
    """Return how often each of `n` items is drawn in each bootstrap resample.

    Returns:
        shape (draws, n), uint16; every row sums to `n`.
    """
    generator = np.random.default_rng(seed)
    counts = np.empty((draws, n), dtype=np.uint16)
    for draw in range(draws):
        counts[draw] = np.bincount(generator.integers(0, n, size=n), minlength=n)
    counts.flags.writeable = False
    return counts


def resampled_means(
    values: NDArray[np.float64], *, draws: int = DRAWS, seed: tuple[int, ...] = (0,)
) -> NDArray[np.float64]:
    """Return the means of paired rows over their columns, in every bootstrap resample of columns.

    Args:
        values: shape (rows, n); all rows use the same resamples, which pairs them.
        draws: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        shape (draws, rows), float64.
    """
    n = values.shape[1]
    counts = resample_counts(n, draws, seed)
    parts = [part.astype(np.float64) @ values.T for part in np.array_split(counts, 10)]
    return np.concatenate(parts) / n


def percentile_interval(
    value: float, resampled: NDArray[np.float64], confidence: float = CONFIDENCE
) -> Interval:
    """Return the outer quantiles of a resampled statistic, 2.5 % and 97.5 % by default.

    If the share of resamples without a finite value (a ratio whose denominator vanishes) exceeds
    one tail of the interval, the data do not determine it and both ends are NaN.
    """
    tail = (1 - confidence) / 2
    finite = resampled[np.isfinite(resampled)]
    if not len(finite) or len(finite) < (1 - tail) * len(resampled):
        return Interval(float(value), math.nan, math.nan)
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def weighted_quantile(
    values: NDArray[np.floating], weights: NDArray[np.float64], share: float
) -> float:
    """Return the smallest value that a share of the weights does not exceed; NaN without any.

    Args:
        values: shape (n,), finite.
        weights: shape (n,), positive.
        share: From 0 to 1.
    """
    if not len(values):
        return math.nan
    return float(np.quantile(values, share, weights=weights, method="inverted_cdf"))


def with_quartiles(
    values: NDArray[np.float64],
    statistic: Callable[..., Any] = np.mean,
    weights: NDArray[np.float64] | None = None,
) -> Interval:
    """Return a statistic of all the units there are, with their quartiles as the ends.

    The tensors of a run are no sample: resampling them would say how a mean varies over other
    tensors of the same kind, and there are none. Where some units are 0 and all others 1, the
    statistic says it all, and the ends are NaN.

    Args:
        values: shape (n,), finite; empty gives NaN.
        statistic: Called with an array and `axis` (`np.mean`, `np.median`).
        weights: shape (n,), positive, of units of different sizes: their weighted mean takes the
            place of `statistic`, and half of the weight lies between the ends.
    """
    if not len(values):
        return UNDEFINED
    sized = weights is not None
    value = float(np.average(values, weights=weights) if sized else statistic(values, axis=0))
    if np.array_equal(np.unique(values), (0.0, 1.0)):
        return Interval(value, math.nan, math.nan)
    if weights is not None:
        low, high = (weighted_quantile(values, weights, share) for share in (0.25, 0.75))
        return Interval(value, low, high)
    low, high = np.quantile(values, [0.25, 0.75])
    return Interval(value, float(low), float(high))
