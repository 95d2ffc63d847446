"""The bootstrap over tensors; for intervals of accuracies see `statistics.intervals`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rlvr_dynamics.statistics.intervals import (
    DRAWS,
    UNDEFINED,
    Interval,
    percentile_interval,
    wilson,
)

__all__ = ["DRAWS", "Interval", "bootstrap", "percentile_interval", "wilson"]


def bootstrap(
    values: NDArray[np.float64],
    statistic: Callable[..., NDArray[np.float64]],
    *,
    seed: int,
    draws: int = DRAWS,
) -> Interval:
    """Return a statistic of one sample (`np.mean`, `np.median`) with its bootstrap interval.

    Args:
        values: shape (n,), finite.
        statistic: Called with an array and `axis`.
        seed: Seed of the resampling.
        draws: Number of resamples.
    """
    if not len(values):
        return UNDEFINED
    generator = np.random.default_rng(seed)
    resampled = statistic(values[generator.integers(0, len(values), (draws, len(values)))], axis=1)
    return percentile_interval(float(statistic(values, axis=0)), resampled)
