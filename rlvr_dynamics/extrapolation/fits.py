"""Least-squares polynomials in the step number, as weights on the observed values.

Legend: T observed steps.
"""

import numpy as np


def polynomial_smoother(steps: np.ndarray, targets: np.ndarray, degree: int) -> np.ndarray:
    """Return H with H @ y the value at the targets of the polynomial fitted to y.

    Steps are shifted and scaled to [-1, 1] first, which changes no prediction and keeps the
    problem well conditioned for late targets.

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
