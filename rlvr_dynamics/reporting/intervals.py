"""Intervals: Wilson for shares, bootstrap for everything else."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; NaN where it could not be formed."""

    estimate: float
    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """A share with its 95 % Wilson score interval.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927).
    """
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    share = successes / n
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


@lru_cache(maxsize=8)
def resample_counts(n: int, draws: int, seed: tuple[int, ...]) -> NDArray[np.uint16]:
    """How often each of `n` items is drawn in each bootstrap resample.

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
    values: NDArray[np.float64], *, draws: int, seed: tuple[int, ...]
) -> NDArray[np.float64]:
    """Means over the last axis of paired rows in every bootstrap resample of its columns.

    Args:
        values: shape (rows, n); all rows see the same resamples, which is what pairs them.
        draws: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        shape (draws, rows), float64.
    """
    n = values.shape[1]
    counts = resample_counts(n, draws, seed)
    parts = [part.astype(np.float64) @ values.T for part in np.array_split(counts, 10)]
    return np.concatenate(parts) / n


def percentile_interval(estimate: float, resampled: NDArray[np.float64]) -> Interval:
    """The 2.5 % and 97.5 % quantiles of a resampled statistic.

    Where more than one resample in twenty has no finite value (a ratio whose denominator is 0),
    there is no honest interval and both ends are NaN.
    """
    finite = resampled[np.isfinite(resampled)]
    if len(finite) < 0.95 * len(resampled) or not len(finite):
        return Interval(float(estimate), math.nan, math.nan)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(float(estimate), float(low), float(high))


def bootstrap(
    values: NDArray[np.float64],
    statistic: Callable[..., NDArray[np.float64]],
    *,
    seed: int,
    draws: int = DRAWS,
) -> Interval:
    """A statistic of one sample (`np.mean`, `np.median`) with its bootstrap interval.

    Args:
        values: shape (n,), finite.
        statistic: Called with an array and `axis`.
        seed: Seed of the resampling.
        draws: Number of resamples.
    """
    if not len(values):
        return Interval(math.nan, math.nan, math.nan)
    generator = np.random.default_rng(seed)
    resampled = statistic(values[generator.integers(0, len(values), (draws, len(values)))], axis=1)
    return percentile_interval(float(statistic(values, axis=0)), resampled)
