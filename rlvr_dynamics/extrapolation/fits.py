"""Curves fitted to a series of values by step number and extrapolated to later steps.

A polynomial fit is linear in the values, so it is a matrix (a smoother) that is the same for every
tensor. A sinusoid is not linear.

Legend: T observed steps, k series.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

Evaluate = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
_EVALUATIONS = 10_000  # as in RELEX's released code


def polynomial_smoother(steps: np.ndarray, targets: np.ndarray, degree: int) -> np.ndarray:
    """Return H such that H @ y are the values at the targets of the polynomial fitted to y.

    Steps are first shifted and scaled to [-1, 1], which does not change the predictions and keeps
    the problem well conditioned for late targets.

    Args:
        steps: Observed step numbers, shape (T,), T > degree.
        targets: Step numbers to evaluate at, shape (targets,).
        degree: 1 for a line.

    Returns:
        Shape (targets, T), float64.
    """
    observed = np.asarray(steps, dtype=np.float64)
    wanted = np.asarray(targets, dtype=np.float64)
    middle, half = (observed[0] + observed[-1]) / 2.0, (observed[-1] - observed[0]) / 2.0
    powers = np.polynomial.polynomial.polyvander
    inverse = np.linalg.pinv(powers((observed - middle) / half, degree))
    return powers((wanted - middle) / half, degree) @ inverse


def continue_series(
    steps: np.ndarray, values: np.ndarray, targets: np.ndarray, evaluate: Evaluate, refit_after: int
) -> np.ndarray:
    """Evaluate a fitted curve at the targets, optionally refitting on its own predictions.

    With `refit_after` = h, the curve is used only for the next h steps. Its values there are
    appended as if observed, the earliest ones are dropped so that T remain, and the curve is fitted
    again. Predicted steps have the median spacing of the observed ones.

    Args:
        steps: Observed step numbers, shape (T,), ascending.
        values: Shape (T, k).
        targets: Step numbers to evaluate at, shape (targets,).
        evaluate: Function of (steps, values, targets) that fits and evaluates.
        refit_after: h, or 0 to fit once.

    Returns:
        Shape (targets, k), float64.
    """
    known, wanted = np.asarray(steps, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if refit_after == 0:
        return evaluate(known, values, wanted)
    spacing = float(np.median(np.diff(known)))
    result = np.empty((len(wanted), values.shape[1]))
    waiting = np.ones(len(wanted), dtype=bool)
    while waiting.any():
        ahead = known[-1] + spacing * np.arange(1, refit_after + 1)
        now = waiting & (wanted <= ahead[-1])
        found = evaluate(known, values, np.concatenate([wanted[now], ahead]))
        count = int(now.sum())
        result[now] = found[:count]
        waiting &= ~now
        known = np.concatenate([known, ahead])[-len(steps) :]
        values = np.concatenate([values, found[count:]])[-len(steps) :]
    return result


@lru_cache(maxsize=256)
def polynomial_continuation(
    steps: tuple[float, ...], targets: tuple[float, ...], degree: int, refit_after: int = 0
) -> np.ndarray:
    """Return H such that H @ y is the extrapolated polynomial at the targets, shape (targets, T).

    Cached, because it is the same for every tensor of a window; do not write to it.
    """

    def evaluate(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return polynomial_smoother(known, wanted, degree) @ values

    smoother = continue_series(
        np.array(steps), np.eye(len(steps)), np.array(targets), evaluate, refit_after
    )
    smoother.flags.writeable = False
    return smoother


def _sinusoid_near(frequency: float, times: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return A, f, φ, C of the best of nine sinusoids within one bin of `frequency`."""
    best, least = np.array([0.0, frequency, 0.0, y.mean()]), np.inf
    for near in frequency + np.linspace(-0.9, 0.9, 9) / len(y):
        angle = 2.0 * np.pi * near * times
        design = np.stack([np.sin(angle), np.cos(angle), np.ones_like(angle)], axis=1)
        solved = np.linalg.lstsq(design, y, rcond=None)[0]
        error = float(np.sum((design @ solved - y) ** 2))
        if near > 0.0 and error < least:
            size, phase = np.hypot(solved[0], solved[1]), np.arctan2(solved[1], solved[0])
            best, least = np.array([size, near, phase, solved[2]]), error
    return best


def sinusoid(
    steps: np.ndarray, values: np.ndarray, targets: np.ndarray, remarks: list[str]
) -> np.ndarray:
    """Fit A sin(2π f t + φ) + C to every series and evaluate it.

    Levenberg-Marquardt starts from the best of nine frequencies within one bin of the largest
    Fourier coefficient, with A, φ and C by linear least squares for each. RELEX's released code
    starts at that coefficient with φ = 0, which leads to a wrong minimum for many phases. If the
    iteration does not converge, the start values are used. Unevenly spaced series are interpolated
    only for the Fourier coefficients.

    Args:
        steps: Step numbers, shape (T,), ascending, T at least 4.
        values: Shape (T, k).
        targets: Shape (targets,).
        remarks: Receives a line for each series that kept its start values.

    Returns:
        Shape (targets, k), float64.
    """
    from scipy.optimize import least_squares

    # In units of the mean spacing, frequencies are of order one for any step numbers.
    spacing = (steps[-1] - steps[0]) / (len(steps) - 1)
    times, wanted = (steps - steps[0]) / spacing, (targets - steps[0]) / spacing

    def curve(p: np.ndarray, t: np.ndarray) -> np.ndarray:
        return p[0] * np.sin(2.0 * np.pi * p[1] * t + p[2]) + p[3]

    result = np.empty((len(targets), values.shape[1]))
    for column, series in enumerate(values.T):
        scale = float(np.abs(series).max()) or 1.0
        y = series / scale
        even = np.interp(np.arange(len(times)), times, y)
        spectrum = np.abs(np.fft.rfft(even - even.mean()))
        frequency = np.fft.rfftfreq(len(even))[1 + int(np.argmax(spectrum[1:]))]
        start = _sinusoid_near(frequency, times, y)
        fit = least_squares(
            lambda p, y=y: curve(p, times) - y, start, method="lm", max_nfev=_EVALUATIONS
        )
        found = fit.x
        if not (fit.success and np.all(np.isfinite(found))):
            remarks.append("the sinusoid did not converge, its start values stand")
            found = start
        result[:, column] = scale * curve(found, wanted)
    return result
