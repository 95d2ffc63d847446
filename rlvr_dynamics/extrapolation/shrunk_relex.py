"""RELEX, shrunk towards the last checkpoint by a factor learned from its own past errors.

W(t) = W_K + s (RELEX(t) - W_K), with one s in [0, 1] for each tensor and target. The method is
ours: several replications report that far extrapolation collapses outside its home task, that a
smaller λ helps, and that holding the last checkpoint is hard to beat; but a λ tuned on the test set
proves nothing.

s is estimated from the window. From rolling origins o, RELEX is fitted to the steps up to o and
predicts one later observed step u, the one nearest to o t / K: as far ahead relative to o as the
target t is relative to K. With p = RELEX(u) - W_o and y = W_u - W_o, summed over the origins,

    s = clip(Σ <y, p> / Σ <p, p>, 0, 1),

which is the least-squares factor. All these vectors are row combinations of M, so their products
follow from the Gram matrix and no file is read again. There are at most 16 origins, in the last two
thirds of the window. With fewer than four steps nothing can be held out and s is 0: the last
checkpoint is kept. Beyond three times K no origin reaches as far as the target, and s is too
optimistic.

Legend: T observed steps, K the last of them.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation import relex
from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import ORANGE

FEWEST_STEPS = 4
_ORIGINS = 16


def shrinkage(window: Window, targets: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
    """Return s for each target, shape (targets,), float64 in [0, 1].

    0 if there are too few steps to hold any out, or nothing moved.
    """
    gram, steps = window.gram, window.steps
    count = len(steps)
    earliest = max(math.ceil(count / 3), relex.fewest_steps(parameters)) - 1
    if gram is None or count < FEWEST_STEPS or earliest > count - 2:
        return np.zeros(len(targets))
    every = np.arange(earliest, count - 1)
    chosen = np.linspace(0, len(every) - 1, min(_ORIGINS, len(every))).round().astype(int)
    product, square = np.zeros(len(targets)), np.zeros(len(targets))
    for origin in every[chosen]:
        later = np.arange(origin + 1, count)
        alike = steps[origin] * targets / steps[-1]
        nearest = later[np.abs(steps[later] - alike[:, None]).argmin(axis=1)]
        seen = Window(steps[: origin + 1], gram[: origin + 1, : origin + 1])
        moves = np.zeros((len(targets), count))
        moves[:, : origin + 1] = relex.row_weights(seen, steps[nearest], parameters, False)
        moves[:, origin] -= 1.0
        truth = np.zeros((len(targets), count))
        truth[np.arange(len(targets)), nearest] = 1.0
        truth[:, origin] -= 1.0
        image = moves @ gram
        product += np.einsum("at,at->a", image, truth)
        square += np.einsum("at,at->a", image, moves)
    usable = square > 1e-24 * np.trace(gram)
    ratio = np.divide(product, square, where=usable, out=np.zeros(len(targets)))
    return np.clip(ratio, 0.0, 1.0)


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T).

    When reconstructing, targets inside the window are RELEX's, without shrinkage.
    """
    weights = np.zeros((len(targets), len(window.steps)))
    weights[:, -1] = 1.0
    inside = targets <= window.steps[-1]
    count = len(window.steps)
    if count < relex.fewest_steps(parameters) or (count < FEWEST_STEPS and not inside.any()):
        window.remarks.append("too few steps to hold any out, the last checkpoint stands")
        return weights
    s = np.where(inside, 1.0, shrinkage(window, targets, parameters))
    far = relex.row_weights(window, targets, parameters, reconstruct)
    return weights + s[:, None] * (far - weights)


SHRUNK_RELEX = Extrapolator(
    name="shrunk_relex",
    title="RELEX, shrunk",
    paper="https://arxiv.org/abs/2605.21468",
    summary="RELEX, shrunk towards the last checkpoint by its held-out error inside the window",
    look=Look(ORANGE, ">"),
    row_weights=row_weights,
    needs_gram=lambda parameters: True,
    last_steps=lambda parameters: int(parameters["window"]),
    parameters={
        "rank": relex.RANK,
        "fit": Parameter(
            default="linear", choices=("linear", "polynomial"), summary="curve through c(t)"
        ),
        "degree": relex.DEGREE,
        "window": relex.WINDOW,
    },
)
