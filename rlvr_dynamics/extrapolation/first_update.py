"""First update: the first observed update, magnified. W(t) = W_0 + λ (W_1st - W_0).

Our control, after an independent replication of RELEX in which one early update times a few
hundred came close to methods that use many steps.
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
    """Return A with prediction = W_0 + A M, shape (targets, T): the first column only."""
    weights = np.zeros((len(targets), len(window.steps)))
    weights[:, 0] = parameters["scale"] or targets / window.steps[0]
    return weights


FIRST_UPDATE = Extrapolator(
    name="first_update",
    title="first update, scaled",
    paper="https://arxiv.org/abs/2605.21468",
    summary="control: the first observed update, magnified",
    look=Look(SKY, "p", "--"),
    row_weights=row_weights,
    parameters={
        "scale": Parameter(
            default=0.0, minimum=0.0, summary="λ; 0 for target step / first observed step"
        )
    },
)
