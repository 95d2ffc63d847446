"""When a noisy curve has reached a level for good: its best rising fit, and its area. Only numpy.

The first noisy value above a level comes too early, the more so the more often one looks. The
isotonic fit pools values that fall again: a level is reached only where all that follows is as high
on average.

Legend: L places on the curve, the first of them the start.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr_dynamics.statistics.intervals import CONFIDENCE, Interval

Array = NDArray[np.float64]


def rising_fit(values: ArrayLike) -> Array:
    """Return the non-decreasing values with the least squared distance, equal weights.

    m_i = max over a <= i of min over b >= i of the mean of values a to b.

    Args:
        values: Shape (..., L).

    Returns:
        Shape (..., L), float64.

    Source: Robertson, Wright and Dykstra 1988, Order Restricted Statistical Inference, eq. 1.4.3.
    """
    found = np.asarray(values, dtype=np.float64)
    places = found.shape[-1]
    sums = np.concatenate([np.zeros((*found.shape[:-1], 1)), np.cumsum(found, axis=-1)], axis=-1)
    best = np.full(found.shape, -np.inf)
    for start in range(places):
        counts = np.arange(1, places - start + 1)
        means = (sums[..., start + 1 :] - sums[..., start, None]) / counts
        # The smallest mean of all that begin at `start` and end at a place or after it.
        least = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]
        best[..., start:] = np.maximum(best[..., start:], least)
    return best


def first_reach(costs: ArrayLike, fitted: ArrayLike, level: ArrayLike) -> Array:
    """Return the cost at which rising curves reach a level, on straight lines between places.

    Args:
        costs: Shape (L,), rising.
        fitted: Shape (..., L), non-decreasing along the last axis.
        level: Shape (...), or one number.

    Returns:
        Shape (...), float64; infinite where the level is never reached.
    """
    x, y = np.asarray(costs, dtype=np.float64), np.asarray(fitted, dtype=np.float64)
    bar = np.broadcast_to(np.asarray(level, dtype=np.float64), y.shape[:-1])
    reached = y >= bar[..., None]
    after = reached.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    high = np.take_along_axis(y, after[..., None], axis=-1)[..., 0]
    low = np.take_along_axis(y, before[..., None], axis=-1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(after > before, (bar - low) / (high - low), 0.0)
    return np.where(reached.any(axis=-1), x[before] + share * (x[after] - x[before]), np.inf)


def weights_at(costs: ArrayLike, cost: float) -> Array:
    """Return the weights of the places whose line gives the value at a cost, shape (L,).

    Beyond the last place the last counts.
    """
    x = np.asarray(costs, dtype=np.float64)
    return np.array([np.interp(cost, x, one) for one in np.eye(len(x))])


def mean_until(costs: ArrayLike, values: ArrayLike, last: float) -> Array:
    """Return the mean height of curves from the first place to a cost: area / length.

    Args:
        costs: Shape (L,), rising.
        values: Shape (..., L), joined by straight lines.
        last: Where the area ends, after the first place; at most the last place.

    Returns:
        Shape (...), float64.
    """
    x, y = np.asarray(costs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    end = min(float(last), float(x[-1]))
    inside = x < end
    at = np.append(x[inside], end)
    heights = np.concatenate([y[..., inside], (y @ weights_at(x, end))[..., None]], axis=-1)
    return np.trapezoid(heights, at, axis=-1) / (end - x[0])


def with_never(value: float, resampled: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Return the outer quantiles of resampled costs, among them infinite ones: never reached.

    Args:
        value: The estimate.
        resampled: Shape (draws,), none of them NaN.
        confidence: Coverage.
    """
    ordered = np.sort(np.asarray(resampled, dtype=np.float64))
    tail, last = (1 - confidence) / 2, len(ordered) - 1
    low, high = ordered[math.floor(tail * last)], ordered[math.ceil((1 - tail) * last)]
    return Interval(value, float(low), float(high))
