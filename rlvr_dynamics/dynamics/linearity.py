"""How well a coefficient follows a straight line in the step number.

Legend: T observed steps; `...` any leading axes, such as the draws of a null.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Linearity:
    """A least-squares line on the step number and how well it fits.

    All arrays have the leading axes of the coefficients.

    Attributes:
        slope: Change of the coefficient per step; NaN when T = 1.
        intercept: The line's value at step 0; NaN when T = 1.
        r2: 1 - SSE / SST over all T steps, about their mean. 1 when T = 2; NaN when T = 1 or when
            the coefficient is constant.
        heldout_r2: R² of the line fitted to the first half of the steps, on the second half about
            its own mean. At most 1, without lower bound. NaN when T < 4 or when the second half is
            constant. With an odd T the first half is the longer one.
        loo_r2: 1 - PRESS / SST: every step predicted by the line fitted to the others, about the
            overall mean. At most r2, without lower bound. NaN when T < 3 or when the coefficient
            is constant.
    """

    slope: np.ndarray
    intercept: np.ndarray
    r2: np.ndarray
    heldout_r2: np.ndarray
    loo_r2: np.ndarray


def fit_line(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept of least-squares lines on the step number.

    Args:
        steps: Step numbers, shape (T,).
        values: Shape (..., T).

    Returns:
        Two arrays of shape (...,), float64; NaN with fewer than two distinct steps.
    """
    numbers = np.asarray(steps, dtype=np.float64)
    values = np.asarray(values, dtype=np.float64)
    centred = numbers - numbers.mean()
    spread = float(centred @ centred)
    if spread == 0.0:
        nothing = np.full(values.shape[:-1], np.nan)
        return nothing, nothing.copy()
    slope = np.asarray(values @ centred / spread)
    return slope, np.asarray(values.mean(axis=-1) - slope * numbers.mean())


def _r2(values: np.ndarray, line: np.ndarray) -> np.ndarray:
    error = np.sum((values - line) ** 2, axis=-1)
    spread = np.asarray(np.sum((values - values.mean(axis=-1, keepdims=True)) ** 2, axis=-1))
    # For a constant series `spread` is rounding noise and R² is meaningless.
    size = np.sum(values**2, axis=-1)
    usable = spread > 1e-24 * size
    share = np.divide(error, spread, where=usable, out=np.full(spread.shape, np.nan))
    return np.asarray(1.0 - share)


def linearity(steps: np.ndarray, coefficients: np.ndarray) -> Linearity:
    """Fit a line to coefficients and score it in sample, held out and by leave-one-out.

    The leave-one-out residual of a step is its residual divided by 1 - h, with leverage
    h = 1/T + (t - t̄)²/Σ(t - t̄)² (PRESS; D. M. Allen, 1974), so no refit is needed.

    Args:
        steps: Step numbers, shape (T,), ascending, not necessarily even.
        coefficients: Shape (..., T).
    """
    numbers = np.asarray(steps, dtype=np.float64)
    values = np.asarray(coefficients, dtype=np.float64)
    count = len(numbers)
    slope, intercept = fit_line(numbers, values)
    line = slope[..., None] * numbers + intercept[..., None]
    nothing = np.full(values.shape[:-1], np.nan)
    r2 = _r2(values, line) if count >= 2 else nothing
    loo = nothing
    if count >= 3:
        centred = numbers - numbers.mean()
        remainder = 1.0 - 1.0 / count - centred**2 / float(centred @ centred)
        loo = _r2(values, values - (values - line) / remainder)
    heldout = nothing
    if count >= 4:
        half = (count + 1) // 2
        early_slope, early_intercept = fit_line(numbers[:half], values[..., :half])
        later = numbers[half:]
        line = early_slope[..., None] * later + early_intercept[..., None]
        heldout = _r2(values[..., half:], line)
    return Linearity(slope, intercept, r2=r2, heldout_r2=heldout, loo_r2=loo)
