"""Averages of the last checkpoints: no further change, but less noise.

W(t) = mean of the last k observed checkpoints, or their exponential moving average with decay β,
W̄_T = (1 - β) Σ_j β^j W_{T-j}, normalised over the window. RELEX calls its projection a denoising;
averaging denoises as well and extrapolates nothing, so it is the control of that claim.

Source: ours as a control; averages of iterates: Polyak and Juditsky, 1992.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import GREY


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T): the same row for every target."""
    age = np.arange(len(window.steps))[::-1]
    if parameters["kind"] == "mean":
        share = (age < int(parameters["last"])).astype(np.float64)
    else:
        share = float(parameters["decay"]) ** age
    return np.tile(share / share.sum(), (len(targets), 1))


AVERAGE = Extrapolator(
    name="average",
    title="average of the last",
    paper="https://doi.org/10.1137/0330046",
    summary="control: the mean, or exponential moving average, of the last checkpoints",
    look=Look(GREY, "o", ":"),
    labels={"average_ema": "moving average"},
    row_weights=row_weights,
    parameters={
        "kind": Parameter(default="mean", choices=("mean", "ema"), summary="which average"),
        "last": Parameter(default=5, minimum=1, summary="checkpoints in the mean"),
        "decay": Parameter(
            default=0.8, minimum=0.0, maximum=0.9999, summary="β of the moving average"
        ),
    },
)
