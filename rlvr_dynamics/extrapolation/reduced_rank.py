"""Reduced-rank extrapolation: the limit that the observed steps point to.

With increments d_i = W_{i+1} - W_i of the last k + 1 checkpoints, γ minimises ‖Σ γ_i d_i‖² subject
to Σ γ_i = 1, and the prediction is Σ γ_i W_i: exact for a linear iteration of at most k modes. It
has no time axis, so every target gets the same weights. Noise makes it unstable; a ridge damps it,
λ times the mean squared length of the increments, and the move beyond the last checkpoint is capped
at a multiple of the whole update so far.

Source: M. Mesina, 1977; R. P. Eddy, 1979; regularised as in arXiv 1606.04133, here as a control of
RELEX's denoising.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import BLUE


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T): the same row for every target."""
    gram = window.gram
    count = len(window.steps)
    last = np.zeros(count)
    last[-1] = 1.0
    if gram is None or gram[-1, -1] <= 0.0:
        return np.tile(last, (len(targets), 1))
    moves = np.diff(np.eye(count), axis=0)[-int(parameters["last"]) :]
    products = moves @ gram @ moves.T
    scale = float(np.trace(products)) / len(products)
    if scale <= 0.0:
        return np.tile(last, (len(targets), 1))
    products += float(parameters["damping"]) * scale * np.eye(len(products))
    gamma = np.linalg.solve(products, np.ones(len(products)))
    gamma /= gamma.sum()
    found = np.zeros(count)
    found[count - len(moves) :] = gamma
    beyond = found - last
    size = np.sqrt(max(float(beyond @ gram @ beyond), 0.0) / gram[-1, -1])
    if size > float(parameters["cap"]):
        window.remarks.append("the move beyond the last checkpoint was capped")
        beyond *= float(parameters["cap"]) / size
    return np.tile(last + beyond, (len(targets), 1))


REDUCED_RANK = Extrapolator(
    name="reduced_rank",
    title="reduced-rank extrapolation",
    paper="https://arxiv.org/abs/1606.04133",
    summary="control: the limit of the last increments, damped and capped",
    look=Look(BLUE, "X", ":"),
    row_weights=row_weights,
    needs_gram=lambda parameters: True,
    fewest_steps=lambda parameters: 3,
    parameters={
        "last": Parameter(default=10, minimum=2, summary="increments combined, from the last back"),
        "damping": Parameter(
            default=0.01, minimum=0.0, summary="λ, in mean squared lengths of an increment"
        ),
        "cap": Parameter(
            default=1.0, minimum=0.0, summary="longest move, in lengths of the observed update"
        ),
    },
)
