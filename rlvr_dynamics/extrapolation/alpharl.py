"""AlphaRL: extrapolate the leading rank-1 update of every matrix to a given accuracy.

For every matrix of the layers (`checkpoints.structure`) the features of a step are
x(t) = a(t) σ1(t) u1(t), with a = ‖ΔW‖_F / σ1, so that x = ‖ΔW‖_F u1, signs aligned from the last
step to the first. One PLS component and a line relate x to the accuracy y(t); inverted at the
target accuracy y* they give x*, and the predicted update is x* v1ᵀ with v1 of the last observed
step. All other tensors stay unchanged.
Source: AlphaRL, arXiv 2510.00553, section 4. Released code: github.com/caiyuchen-ustc/Alpha-RL.

There are two variants, because paper and code disagree:

- paper: features as above, with the base as an additional point (x = 0, as a ‖ΔW‖ of 0 has it) if
  its accuracy is known, and x* v1ᵀ added to the base.
- released: x = σ1 u1 without a, no base point, and x* v1ᵀ added to the last observed checkpoint.

There are three sources of y*, because the paper inverts at the accuracy of the final model, which
is unknown at prediction time:

- curve: a saturating curve fitted to the observed accuracies, evaluated at the target step.
- final: the last given accuracy, whenever it was measured. It uses the future and is marked so.
- y_star: a number given by the user, as in the released code; with a `grid` in the configuration
  the one of several that does best on the validation problems, which is ours.

Legend: T fitted steps, m x n a weight matrix.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_dynamics.extrapolation.accuracy import FEWEST_ACCURACIES, wanted_accuracies
from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.rule import Change, KnownUpdates, LowRank
from rlvr_dynamics.system.palette import PURPLE

if TYPE_CHECKING:
    from torch import Tensor

    from rlvr_dynamics.checkpoints.structure import Matrix
    from rlvr_dynamics.checkpoints.trajectory import Trajectory

_ROWS_BYTES = 64 << 20  # updates are read one at a time; the stack is kept only if small


def uses_future(parameters: Mapping[str, Any]) -> bool:
    """Return whether y* is an accuracy measured after the window."""
    return parameters["target"] == "final" and parameters["y_star"] < 0.0


def tensor_changes(
    window: "Trajectory",
    name: str,
    targets: np.ndarray,
    parameters: Mapping[str, Any],
    accuracy: Mapping[int, float],
    remarks: list[str],
    known_updates: KnownUpdates | None = None,
) -> list[Change]:
    """Return the change of one tensor for each target.

    Args:
        window: The trajectory of the observed steps.
        name: The tensor.
        targets: Target steps, shape (targets,).
        parameters: The declared settings.
        accuracy: Checked accuracy by step number; after the window only for target=final.
        remarks: Receives lines to be recorded.
        known_updates: Where singular triples of the updates are on record, if anywhere.
    """
    import torch

    from rlvr_dynamics.dynamics import fit_pls

    released = parameters["variant"] == "released"
    origin = window.steps[-1] if released else 0
    unchanged = [Change(origin)] * len(targets)
    matrices = window.structure.matrices_of(name)
    if not matrices:
        return unchanged
    recorded = known_updates(name, window.steps) if known_updates is not None else None
    known = [step for step in window.steps if step in accuracy]
    fitted = [0, *known] if not released and 0 in accuracy else known
    wanted = _wanted(window.steps[-1], targets, parameters, accuracy, remarks)
    parts: list[list[LowRank]] = [[] for _ in targets]
    for number, matrix in enumerate(matrices):
        triples = recorded[number] if recorded is not None else None
        features, v = rank1_features(window, matrix, known, not released, triples)
        if fitted != known:
            features = np.concatenate([np.zeros_like(features[:1]), features])
        fit = fit_pls(features, np.array([accuracy[step] for step in fitted]))
        if fit.slope == 0.0:
            remarks.append("its rank-1 update never changed, so it is left out")
            continue
        for part, value in zip(parts, wanted, strict=True):
            left = torch.from_numpy(fit.invert(value))[:, None]
            part.append(LowRank(matrix.start, left, v[:, None]))
    return [Change(origin, tuple(part)) for part in parts]


def rank1_features(
    window: "Trajectory",
    matrix: "Matrix",
    fitted: list[int],
    rescaled: bool,
    recorded: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, "Tensor"]:
    """Return the sign-aligned features of some steps and v1 of the last observed step.

    Signs are aligned over all observed steps, including those that are not fitted. The update of
    the last observed step is always decomposed: no record has its v1.

    Args:
        window: The trajectory of the observed steps.
        matrix: A matrix of a layer.
        fitted: The steps whose features are returned, at least one.
        rescaled: ‖ΔW‖_F u1 if true, else σ1 u1.
        recorded: u1, σ1 and ‖ΔW‖_F of every observed step (`KnownUpdates`), so that only the last
            is read.

    Returns:
        Features, shape (len(fitted), m), and v1, shape (n,), both float64, with consistent signs:
        the last observed step is never flipped.
    """
    from rlvr_dynamics.checkpoints.differences import Differences
    from rlvr_dynamics.dynamics import align_signs, update_svd

    budget = _ROWS_BYTES if recorded is None else 0  # a stack that fits is read as a whole
    differences = Differences(window, matrix.tensor, budget)
    count, right = len(window.steps), list["Tensor"]()
    found = np.empty((count, matrix.m))
    if recorded is not None:
        u, sigma, frobenius = recorded
        found[:] = u * (frobenius if rescaled else sigma)[:, None]
    for position in reversed(range(count)) if recorded is None else [count - 1]:
        delta = differences.part(position, matrix.start, matrix.stop).view(matrix.m, matrix.n)
        svd = update_svd(delta, 1, start=right[-1] if right else None)
        size = svd.frobenius if rescaled else float(svd.singular_values[0])
        found[position] = svd.u[:, 0].numpy() * size
        right.append(svd.v)
    features, _ = align_signs(found)
    return features[[window.steps.index(step) for step in fitted]], right[0][:, 0]


def _wanted(
    observe: int,
    targets: np.ndarray,
    parameters: Mapping[str, Any],
    accuracy: Mapping[int, float],
    remarks: list[str],
) -> list[float]:
    """Return y* of each target."""
    if parameters["y_star"] >= 0.0:
        return [float(parameters["y_star"])] * len(targets)
    if parameters["target"] == "final":
        return [accuracy[max(accuracy)]] * len(targets)
    return wanted_accuracies(accuracy, observe, targets.tolist(), remarks)


ALPHARL = Extrapolator(
    name="alpharl",
    title="AlphaRL",
    paper="https://arxiv.org/abs/2510.00553",
    summary="rank-1 update of every matrix, moved along its PLS component to a wanted accuracy",
    look=Look(PURPLE, "v"),
    labels={
        "alpharl_final": "AlphaRL, final accuracy",
        "alpharl_released": "AlphaRL, as released",
        "alpharl_chosen": "AlphaRL, chosen",
    },
    principal=True,
    tensor_changes=tensor_changes,
    needs_accuracy=True,
    fewest_steps=lambda parameters: FEWEST_ACCURACIES,
    uses_future=uses_future,
    parameters={
        "variant": Parameter(
            default="paper",
            choices=("paper", "released"),
            summary="as the text describes it, or as the released code does it",
        ),
        "target": Parameter(
            default="curve",
            choices=("curve", "final"),
            summary="wanted accuracy: from the observed ones, or the last one given",
        ),
        "y_star": Parameter(
            default=-1.0, summary="wanted accuracy as a number instead; below 0 for not given"
        ),
    },
)
