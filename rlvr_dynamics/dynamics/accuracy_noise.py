"""The sampling noise of measured accuracies y(t): how large it is, and what it lets a fit explain.

y(t) is a share of right answers, so part of its variance is noise that no property of the weights
can explain. With the variance σ² of that noise, no true relation exceeds an in-sample R² of
1 - σ² / var(y) on average, and R² divided by this ceiling estimates what it would be without noise.

Legend: T steps, y accuracies.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rlvr_dynamics.dynamics.linearity import fit_line
from rlvr_dynamics.dynamics.pls import walk_accuracies

COUNTED, DIFFERENCES, UNKNOWN = "standard errors of y(t)", "second differences of y(t)", "unknown"
FEWEST_STEPS = 6
_RUN_ON = 18 / 35  # 1 / Σ ρ² over the autocorrelations 1, -2/3, 1/6 of second differences
_TAILS = (0.975, 0.025)
_LINE = 1e-12  # share of a series below which a line leaves only rounding


@dataclass(frozen=True)
class Noise:
    """Noise of the accuracies of some steps.

    Attributes:
        sds: Standard deviation at each step, shape (T,); 0 where it is unknown.
        source: `COUNTED`, `DIFFERENCES` or `UNKNOWN`.
        freedom: Degrees of freedom behind the variance; 0 where it is unknown.
    """

    sds: np.ndarray
    source: str
    freedom: float

    @property
    def variance(self) -> float:
        """Mean of the squared standard deviations; NaN where it is unknown."""
        return float(np.mean(self.sds**2)) if self.freedom else math.nan

    def ceilings(self, accuracy: np.ndarray) -> tuple[float, float, float]:
        """Return 1 - σ² / var(y), and that at the ends of σ²'s 95 % interval, the lower one first.

        The interval is that of a χ² with `freedom` degrees. The ceiling can be below 0: then the
        accuracies vary less than their noise does. NaN where the noise is unknown.
        """
        from scipy.stats import chi2

        if not self.freedom:
            return math.nan, math.nan, math.nan
        noise = self.variance / float(np.var(accuracy, ddof=1))
        low, high = (self.freedom / float(chi2.ppf(tail, self.freedom)) for tail in _TAILS)
        return 1.0 - noise, 1.0 - high * noise, 1.0 - low * noise


def noise_of(
    steps: np.ndarray, accuracy: np.ndarray, errors: Mapping[int, float], freedom: int
) -> Noise:
    """Return the noise of accuracies, from their standard errors or else their roughness.

    Without a standard error of every step, the variance is the mean of e² / (a² + b² + 1), where
    e = a y_{t-1} + b y_{t+1} - y_t is the distance of y_t from the line between its neighbours and
    a, b the weights of that line. At even steps that is (y_{t+1} - 2 y_t + y_{t-1})² / 6. A bend of
    the true accuracy counts as noise. Source: Gasser, Sroka and Jennen-Steinmetz 1986, eq. 1.

    Args:
        steps: Shape (T,), ascending.
        accuracy: Shape (T,).
        errors: Standard errors by step.
        freedom: Degrees of freedom behind the errors.

    Returns:
        Unknown noise for fewer than six steps without standard errors.
    """
    known = np.array([errors.get(int(step), math.nan) for step in steps])
    if freedom and not np.isnan(known).any():
        return Noise(known, COUNTED, float(freedom))
    count = len(steps)
    if count < FEWEST_STEPS:
        return Noise(np.zeros(count), UNKNOWN, 0.0)
    t, y = np.asarray(steps, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    before = (t[2:] - t[1:-1]) / (t[2:] - t[:-2])
    after = 1.0 - before
    rough = (before * y[:-2] + after * y[2:] - y[1:-1]) ** 2 / (before**2 + after**2 + 1.0)
    sd = math.sqrt(float(rough.mean()))
    return Noise(np.full(count, sd), DIFFERENCES, (count - 2) * _RUN_ON)


def noisy_walks(
    accuracy: np.ndarray, sds: np.ndarray, draws: int, seed: int | list[int]
) -> np.ndarray:
    """Return Gaussian random walks with the noise of the accuracies, shape (draws, T).

    Each walk has the variance that the accuracies have beyond their noise, so that it and they
    consist of noise to the same share.

    Args:
        accuracy: Shape (T,).
        sds: Standard deviation of the noise at each step, shape (T,).
        draws: Number of walks.
        seed: Seed of walks and noise.
    """
    walks = walk_accuracies(len(accuracy), draws, seed)
    true = max(0.0, float(np.var(accuracy, ddof=1) - np.mean(sds**2)))
    walks *= np.sqrt(true / np.var(walks, axis=1, ddof=1, keepdims=True))
    apart = np.random.SeedSequence(seed).spawn(1)[0]
    return walks + sds * np.random.default_rng(apart).standard_normal(walks.shape)


def without_line(steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return what a least-squares line in the step number leaves of each series.

    Args:
        steps: Shape (T,), at least two of them distinct.
        values: Shape (..., T).

    Returns:
        Residuals, shape (..., T), float64; 0 for a series that is a line up to rounding.
    """
    series, numbers = np.asarray(values, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    slope, intercept = fit_line(numbers, series)
    left = series - slope[..., None] * numbers - intercept[..., None]
    size = np.linalg.norm(series, axis=-1, keepdims=True)
    return np.where(np.linalg.norm(left, axis=-1, keepdims=True) > _LINE * size, left, 0.0)
