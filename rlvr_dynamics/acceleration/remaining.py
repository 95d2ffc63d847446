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
    line = _fitted(rewards, left, level)
    if line.count < FEWEST:
        return Remaining(math.nan, math.inf, line.count)
    upper = left * (line.slope + line.quantile * math.sqrt(line.variance / line.spread))
    missing = largest - line.present
    most = max(0.0, min(upper, missing + line.error(0)))
    return Remaining(gain=min(left * line.slope, missing), upper=most, steps=line.count)


class End(NamedTuple):
    """The predicted level at the last step, in units of the reward.

    Attributes:
        value: The line's; NaN with too few steps.
        low: Lower end of the interval, NaN with too few steps.
        high: Upper end.
        steps: Steps that were fitted.
    """

    value: float
    low: float
    high: float
    steps: int


def predicted_end(
    rewards: ArrayLike, left: int, *, level: float = 0.05, largest: float = 1.0
) -> End:
    """Predict the level at which the rewards end, by the line of `remaining_gain`.

    The interval is that of the line at the last step, made longer to hold the present level with
    the same error: a curve that levels off at once ends there, and what falls may recover.

    Args:
        rewards: As of `remaining_gain`.
        left: R.
        level: Chance that a straight line ends outside the interval.
        largest: Largest possible reward; the smallest is 0.

    Raises:
        ValueError: As of `remaining_gain`.
    """
    line = _fitted(rewards, left, level / 2.0)
    if line.count < FEWEST:
        return End(math.nan, math.nan, math.nan, line.count)
    reached, error = line.present + left * line.slope, line.error(left)
    low, high = min(reached, line.present) - error, max(reached, line.present) + error
    inside = (min(largest, max(0.0, each)) for each in (reached, low, high))
    return End(*inside, steps=line.count)


class _Line(NamedTuple):
    """A least-squares line over the last half of the steps; the present step is 0.

    `variance` is that of the residuals, widened for their correlation; `spread` is Σ (t - t̄)².
    """

    count: int
    slope: float
    present: float
    variance: float
    spread: float
    mean: float
    quantile: float

    def error(self, ahead: int) -> float:
        """Return the line's error at a step so far ahead, times the quantile."""
        share = 1.0 / self.count + (ahead - self.mean) ** 2 / self.spread
        return self.quantile * math.sqrt(self.variance * share)


def _fitted(rewards: ArrayLike, left: int, level: float) -> _Line:
    """Fit the line; only `count` is defined below `FEWEST` steps."""
    from scipy.stats import t as student

    given = np.asarray(rewards, dtype=np.float64)
    if given.ndim != 1 or not np.all(np.isfinite(given)) or left < 0:
        raise ValueError("the remaining gain needs finite rewards and steps that are left")
    half = given[len(given) // 2 :]
    count = len(half)
    if count < FEWEST:
        return _Line(count, *[math.nan] * 6)
    times = np.arange(count) - (count - 1.0)
    slope, present = (float(part) for part in fit_line(times, half))
    residuals = half - slope * times - present
    variance = float(residuals @ residuals) / (count - 2) * _widening(residuals)
    centred = times - times.mean()
    quantile = float(student.ppf(1.0 - level, count - 2))
    spread = float(centred @ centred)
    return _Line(count, slope, present, variance, spread, float(times.mean()), quantile)


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
