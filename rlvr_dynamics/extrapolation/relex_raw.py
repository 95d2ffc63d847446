"""A separate least-squares line for every weight, without SVD.

This ablation shows what RELEX's rank-1 projection adds. Source: the "raw delta" rows of
arXiv 2605.21468; not in its released code.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.fits import polynomial_smoother
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import BLUE


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T): the smoother of a line.

    When reconstructing, a target inside the window gets the fitted line's value there.
    """
    return polynomial_smoother(window.steps, targets, degree=1)


RELEX_RAW = Extrapolator(
    name="relex_raw",
    title="per-weight line",
    paper="https://arxiv.org/abs/2605.21468",
    summary="a fitted line in the step number for every single weight",
    look=Look(BLUE, "s"),
    row_weights=row_weights,
    fewest_steps=lambda parameters: 2,
)
