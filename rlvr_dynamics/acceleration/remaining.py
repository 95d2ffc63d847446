"""What the steps that are left could still gain, from the rewards of those done.

The rewards of the last half of the steps are fitted by a line, which is continued to the end. A
curve that levels off gains less than that, so for it the line is an upper bound even without its
error. The upper end adds the slope's error, widened for residuals that follow each other, and no
gain exceeds what is missing to the largest reward. It is never below 0, as what fell may recover.
No model of past rewards foresees a curve that takes off later.

Source: ours; bias of the lag-1 correlation as in Kendall 1954, Biometrika 41, 403-404, for a line.

Legend: T training steps with a mean reward each, R steps left.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rlvr_dynamics.dynamics import fit_line

FEWEST = 10  # steps in the fitted half
MOST_CORRELATION = 0.9


class Remaining(NamedTuple):
    """The predicted gain of the steps that are left, in units of the reward.

    Attributes:
        gain: The line's; NaN with too few steps.
        upper: Upper end of its one-sided interval, at least 0; infinite with too few steps.
        steps: Steps that were fitted.
    """

    gain: float
    upper: float
    steps: int


def remaining_gain(
    rewards: ArrayLike, left: int, *, level: float = 0.05, largest: float = 1.0
) -> Remaining:
    """Predict how much the mean reward still rises.

    Args:
        rewards: Mean reward of each training step so far, shape (T,), in order.
        left: R.
        level: Chance that a straight line's gain exceeds the upper end.
        largest: Largest possible reward.

    Raises:
        ValueError: A reward is not finite, or `left` is negative.
    """
    from scipy.stats import t as student

    given = np.asarray(rewards, dtype=np.float64)
    if given.ndim != 1 or not np.all(np.isfinite(given)) or left < 0:
        raise ValueError("the remaining gain needs finite rewards and steps that are left")
    half = given[len(given) // 2 :]
    count = len(half)
    if count < FEWEST:
        return Remaining(math.nan, math.inf, count)
    times = np.arange(count) - (count - 1.0)  # the present step is 0
    slope, level_now = (float(part) for part in fit_line(times, half))
    residuals = half - slope * times - level_now
    variance = float(residuals @ residuals) / (count - 2) * _widening(residuals)
    centred = times - times.mean()
    spread = float(centred @ centred)
    quantile = float(student.ppf(1.0 - level, count - 2))
    upper = left * (slope + quantile * math.sqrt(variance / spread))
    missing = largest - level_now
    error = quantile * math.sqrt(variance * (1.0 / count + times.mean() ** 2 / spread))
    most = max(0.0, min(upper, missing + error))
    return Remaining(gain=min(left * slope, missing), upper=most, steps=count)


def _widening(residuals: np.ndarray) -> float:
    """Return how much residuals that follow each other widen the variance of a slope; at least 1.

    It is (1 + ρ) / (1 - ρ) of a first-order autoregression. ρ is the lag-1 correlation, corrected
    for its bias about a fitted line, -(2 + 4 ρ) / T, and raised by its standard error.
    """
    count, total = len(residuals), float(residuals @ residuals)
    if total == 0.0:
        return 1.0
    found = float(residuals[1:] @ residuals[:-1]) / total
    raised = (found + 2.0 / count) / (1.0 - 4.0 / count) + 1.0 / math.sqrt(count)
    correlation = min(MOST_CORRELATION, max(0.0, raised))
    return (1.0 + correlation) / (1.0 - correlation)
