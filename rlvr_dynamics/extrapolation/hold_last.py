"""Predict no further change: the last observed checkpoint for every target.

The baseline that any other forecast must beat.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import GREY


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T): one in the last column."""
    weights = np.zeros((len(targets), len(window.steps)))
    weights[:, -1] = 1.0
    return weights


HOLD_LAST = Extrapolator(
    name="hold_last",
    title="last observed checkpoint",
    paper="https://en.wikipedia.org/wiki/Forecasting#Na%C3%AFve_approach",
    summary="the last observed checkpoint, unchanged",
    look=Look(GREY, "s", "--"),
    row_weights=row_weights,
    holds=lambda name: True,
)
