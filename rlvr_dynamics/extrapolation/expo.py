"""ExPO: amplify the last observed update, W_s + α (W_s - W_0), for any target step.

α is meant to be chosen on a validation split, which is not done here: give the method a `grid` of α
in the configuration. The authors recommend 0.3 or 0.5 for a fully trained model; an early window
needs more: after a fifth of the training, a line reaches its end with α = 4.
Source: arXiv 2404.16792. Released code: github.com/chujiezheng/LLM-Extrapolation.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import SKY


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T): 1 + α in the last column."""
    weights = np.zeros((len(targets), len(window.steps)))
    weights[:, -1] = 1.0 + parameters["alpha"]
    return weights


EXPO = Extrapolator(
    name="expo",
    title="ExPO",
    paper="https://arxiv.org/abs/2404.16792",
    summary="the last observed update, amplified by a factor chosen on a validation split",
    look=Look(SKY, "P"),
    row_weights=row_weights,
    parameters={
        "alpha": Parameter(default=0.5, minimum=0.0, summary="how much is added, in updates")
    },
)
