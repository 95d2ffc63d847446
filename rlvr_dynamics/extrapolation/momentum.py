"""Momentum: extrapolate the change between the last two observed checkpoints.

W(t) = W_T + (t - T) / (T - T') (W_T - W_T'). Our control; an independent replication of RELEX found
it hard to beat a few steps ahead.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import ORANGE


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T): the last two columns only."""
    before, last = window.steps[-2:]
    ahead = (targets - last) / (last - before)
    weights = np.zeros((len(targets), len(window.steps)))
    weights[:, -2], weights[:, -1] = -ahead, 1.0 + ahead
    return weights


MOMENTUM = Extrapolator(
    name="momentum",
    title="line of the last two",
    paper="https://arxiv.org/abs/2605.21468",
    summary="control: the line through the last two observed checkpoints",
    look=Look(ORANGE, "h", "--"),
    row_weights=row_weights,
    fewest_steps=lambda parameters: 2,
)
