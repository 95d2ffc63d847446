"""Check accuracies of checkpoints and extrapolate them with a saturating curve.

The curve is ours: AlphaRL inverts its fit at the final model's accuracy, which is unknown when
predicting. y(t) = y_inf - (y_inf - y_0) exp(-t / tau), with y_0 and y_inf in [0, 1], is fitted to
the observed steps only.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rlvr_dynamics.errors import TooLittle, UserError

FEWEST_ACCURACIES = 3
_WAY_OUT = "give source.accuracy=FILE with columns step, accuracy"


def check_accuracy(
    method: str, accuracy: Mapping[int, float] | None, steps: Sequence[int], last: int | None
) -> dict[int, float]:
    """Check accuracies and return those up to a step, in ascending order of steps.

    Args:
        method: The method that needs them, for the message.
        accuracy: Accuracy by step number; step 0 is the base.
        steps: Observed steps.
        last: Last step whose accuracy may be known; None for no limit.

    Raises:
        UserError: Fewer than three observed steps have an accuracy, one is not a number in [0, 1],
            or all observed accuracies are equal.
    """
    given = {
        step: float(value)
        for step, value in sorted((accuracy or {}).items())
        if last is None or step <= last
    }
    for step, value in given.items():
        if not 0.0 <= value <= 1.0:
            raise UserError(
                f"{method}: the accuracy of step {step} is {value}, not a share of 1",
                way_out="give accuracies between 0 and 1, and leave out steps that have none",
            )
    observed = [given[step] for step in steps if step in given]
    if len(observed) < FEWEST_ACCURACIES:
        raise TooLittle(
            f"{method} needs the accuracy of at least {FEWEST_ACCURACIES} observed steps and has "
            f"{len(observed)}",
            way_out=_WAY_OUT,
        )
    if max(observed) == min(observed):
        raise TooLittle(
            f"{method}: all observed steps have the same accuracy, {observed[0]}",
            way_out="observe more steps, or score with more problems or samples",
        )
    return given


def saturating_curve(
    steps: Sequence[int], values: Sequence[float], targets: Sequence[int]
) -> np.ndarray | None:
    """Fit a saturating exponential and evaluate it.

    Args:
        steps: Step numbers, shape (n,), n at least 3.
        values: Accuracies in [0, 1], shape (n,).
        targets: Where to evaluate, shape (targets,).

    Returns:
        Shape (targets,), or None if the least-squares fit did not converge.
    """
    from scipy.optimize import least_squares

    span = float(max(steps) - min(steps))
    times = np.asarray(steps, dtype=np.float64) / span
    seen = np.asarray(values, dtype=np.float64)

    def curve(p: np.ndarray, t: np.ndarray) -> np.ndarray:
        return p[0] - (p[0] - p[1]) * np.exp(-t / p[2])

    fits = [
        least_squares(
            lambda p: curve(p, times) - seen,
            x0=(np.clip(2.0 * seen[-1] - seen[0], 1e-3, 1.0 - 1e-3), seen[0], tau),
            bounds=((0.0, 0.0, 1e-3), (1.0, 1.0, 1e3)),
            xtol=1e-12,
            ftol=1e-12,
            max_nfev=5000,
        )
        for tau in (0.3, 1.0, 4.0)
    ]
    found = [fit for fit in fits if fit.success and np.all(np.isfinite(fit.x))]
    if not found:
        return None
    best = min(found, key=lambda fit: fit.cost)
    return curve(best.x, np.asarray(targets, dtype=np.float64) / span)


def accuracy_line(
    steps: Sequence[int], values: Sequence[float], targets: Sequence[int]
) -> np.ndarray:
    """Return a least-squares line at the targets, clipped to [0, 1], shape (targets,)."""
    line = np.polynomial.Polynomial.fit(steps, values, 1)
    return np.clip(line(np.asarray(targets, dtype=np.float64)), 0.0, 1.0)


def wanted_accuracies(
    accuracy: Mapping[int, float], observe: int, targets: Sequence[int], remarks: list[str]
) -> list[float]:
    """Return the expected accuracy at each target, from those up to the last observed step.

    Args:
        accuracy: Accuracy by step number.
        observe: Last observed step.
        targets: Target steps.
        remarks: Receives a line if the curve did not converge and a straight line was used.
    """
    steps = [step for step in accuracy if step <= observe]
    values = [accuracy[step] for step in steps]
    found = saturating_curve(steps, values, targets)
    if found is None or not all(map(math.isfinite, found)):
        remarks.append("the accuracy curve did not converge, a line instead")
        found = accuracy_line(steps, values, targets)
    return [float(value) for value in found]
