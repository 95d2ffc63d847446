"""Weight Extrapolation: the line through the base and the last observed checkpoint.

W(t) = W_0 + (t / s) (W_s - W_0), with normalisation layers copied from W_s. On the path clock
(ours), t / s is the ratio of the lengths of the paths; on optimizer time (ours), of the sums of the
learning rates.
Source: arXiv 2601.04537. Released code: github.com/Miaow-Lab/RLVR-Linearity.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.checkpoints.names import is_norm
from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.on_clock import CLOCK, fewest_on_clock, on_clock, on_path
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import GREEN


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T): the last column only."""
    weights = np.zeros((len(targets), len(window.steps)))
    if is_norm(window.tensor):
        weights[:, -1] = 1.0
        return weights
    positions, ahead = on_clock(window, targets, parameters)
    weights[:, -1] = ahead / positions[-1]
    return weights


WEIGHT_EXTRAPOLATION = Extrapolator(
    name="weight_extrapolation",
    title="two-point line",
    paper="https://arxiv.org/abs/2601.04537",
    summary="the line through base and last observed checkpoint, layers of normalisation kept",
    look=Look(GREEN, "<"),
    labels={
        "weight_extrapolation_path": "two-point line, path clock",
        "weight_extrapolation_optimizer": "two-point line, optimizer time",
    },
    row_weights=row_weights,
    needs_gram=on_path,
    fewest_steps=lambda parameters: fewest_on_clock(parameters, 1),
    holds=is_norm,
    parameters=CLOCK,
)
