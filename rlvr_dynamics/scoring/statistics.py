"""How sure we are of an accuracy, of a difference, of a ratio. Only numpy.

Legend: `n` questions, `k` samples of one question, `m` (n,) the mean score of each question.
Questions are the unit that is drawn: samples of one question are not independent of each other.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
DRAWS = 10_000
_BLOCK = 1_000


class Interval(NamedTuple):
    """An estimate with its confidence interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


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
        return Interval(math.nan, math.nan, math.nan)
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, {n}], got {successes}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 only up to rounding.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(p, low, high)


def mean_interval(
    question_means: ArrayLike, samples: int, confidence: float = CONFIDENCE
) -> Interval:
    """Return mean@k with an interval clustered by question.

    The variance of the question means says how many independent answers the n * k samples are
    worth (`n_eff`, between n and n * k); Wilson's interval is taken at that number. With k = 1
    it is Wilson's interval of the n answers. If all questions have the same mean there is
    nothing to estimate a variance from, and n is used.

    Args:
        question_means: m, shape (n,), each in [0, 1].
        samples: k, samples per question.
        confidence: Coverage.

    Source: effective sample size after Kish 1965, Survey Sampling, section 8.2.
    """
    means = np.asarray(question_means, dtype=np.float64)
    n = means.size
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    p = float(np.clip(means.mean(), 0.0, 1.0))
    variance = float(means.var(ddof=1)) / n if n > 1 else 0.0
    effective = float(n)
    if variance > 0:
        effective = float(np.clip(p * (1 - p) / variance, n, n * samples))
    interval = wilson(min(p * effective, effective), effective, confidence)
    return interval._replace(value=p)


def _resampled_means(columns: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """Return the means of resampled questions, shape (draws, columns); columns share the draw."""
    generator = np.random.default_rng(seed)
    n = columns.shape[0]
    means = np.empty((draws, columns.shape[1]))
    for begin in range(0, draws, _BLOCK):
        chosen = generator.integers(0, n, size=(min(_BLOCK, draws - begin), n))
        means[begin : begin + len(chosen)] = columns[chosen].mean(axis=1)
    return means


def _paired(*question_means: ArrayLike) -> NDArray[np.float64]:
    columns = [np.asarray(values, dtype=np.float64) for values in question_means]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        raise ValueError("paired statistics need one mean per question, of the same questions")
    return np.stack(columns, axis=1)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Return mean(a) - mean(b) over the same questions, with a percentile bootstrap interval.

    If all differences are equal (for example 0/30 against 0/30) resampling shows no spread at
    all; then the two Wilson intervals are combined instead.

    Args:
        a: Question means of the first model, shape (n,).
        b: Question means of the second model, same questions in the same order.
        confidence: Coverage.
        draws: Bootstrap draws over questions.
        seed: Seed of the draws.

    Raises:
        ValueError: The shapes differ.

    Source: Efron and Tibshirani 1993, chapter 13; the combination: Newcombe 1998, Stat. Med. 17,
    873-890, method 10 without its correlation term.
    """
    columns = _paired(a, b)
    n = len(columns)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    differences = columns[:, 0] - columns[:, 1]
    value = float(differences.mean())
    if np.ptp(differences) == 0:
        first, second = (mean_interval(column, 1, confidence) for column in columns.T)
        below = math.hypot(first.value - first.low, second.high - second.value)
        above = math.hypot(first.high - first.value, second.value - second.low)
        return Interval(value, max(-1.0, value - below), min(1.0, value + above))
    means = _resampled_means(differences[:, None], draws, seed)[:, 0]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def recovery_ratio(
    recovered: ArrayLike,
    full: ArrayLike,
    base: ArrayLike | None = None,
    *,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Return how much of the full model's accuracy (or of its gain) is recovered.

    Without `base`: mean(recovered) / mean(full), the ratio that AlphaRL reports. With `base`:
    (recovered - base) / (full - base), the share of the gain. The interval is a percentile
    bootstrap over questions, all models on the same draw.

    Args:
        recovered: Question means, shape (n,).
        full: Question means of the fully trained model, same questions.
        base: Question means of the base model, same questions; None for the plain ratio.
        confidence: Coverage.
        draws: Bootstrap draws over questions.
        seed: Seed of the draws.

    Returns:
        The ratio. NaN if its denominator is not positive; NaN bounds if that happens in more draws
        than the interval leaves out on one side (the ratio is then not determined by the data).

    Raises:
        ValueError: The shapes differ.
    """
    columns = _paired(recovered, full, np.zeros_like(np.asarray(full)) if base is None else base)
    if len(columns) == 0:
        return Interval(math.nan, math.nan, math.nan)
    top, bottom = _gains(columns.mean(axis=0, keepdims=True))
    value = float(top[0] / bottom[0]) if bottom[0] > 0 else math.nan
    tops, bottoms = _gains(_resampled_means(columns, draws, seed))
    defined = bottoms > 0
    if math.isnan(value) or (1 - defined.mean()) > (1 - confidence) / 2:
        return Interval(value, math.nan, math.nan)
    ratios = tops[defined] / bottoms[defined]
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def _gains(means: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return means[:, 0] - means[:, 2], means[:, 1] - means[:, 2]
