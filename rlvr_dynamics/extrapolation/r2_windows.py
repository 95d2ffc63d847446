"""Sliding windows over the modules, sorted by how well their u1(t) explains the accuracy.

Each matrix is scored by the in-sample R² of one PLS component of its sign-aligned u1(t) against the
accuracy. Matrices are sorted by R², descending, and a window takes a third of them. Seven windows
of equal size are spaced evenly from the best third to the worst. The paper's stride, "about 1/7"
of the modules, would make the last windows shorter.
Source: AlphaRL, arXiv 2510.00553, figure 6c.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rlvr_dynamics.extrapolation.accuracy import FEWEST_ACCURACIES, check_accuracy
from rlvr_dynamics.extrapolation.alpharl import rank1_features

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.structure import Matrix
    from rlvr_dynamics.checkpoints.trajectory import Trajectory

WINDOWS = 7
_SHARE = 3


def matrices_of_window(
    trajectory: "Trajectory",
    matrices: tuple["Matrix", ...],
    window: int,
    accuracy: Mapping[int, float] | None,
) -> tuple["Matrix", ...]:
    """Return the matrices of one window of the R² ranking, the best first.

    Args:
        trajectory: Base and all checkpoints: every step with an accuracy is used.
        matrices: The matrices to rank.
        window: 1 (the best third) to 7 (the worst).
        accuracy: Accuracy in [0, 1] by step number.

    Raises:
        TooLittle: Fewer than three steps have an accuracy, or all accuracies are equal.
    """
    known = check_accuracy("rank_recovery", accuracy, trajectory.steps, None)
    scores = module_r2(trajectory, tuple(known.items()))
    ranked = sorted(matrices, key=lambda each: (-scores[each.label], each.label))
    size = max(1, round(len(ranked) / _SHARE))
    start = round((window - 1) * (len(ranked) - size) / (WINDOWS - 1))
    return tuple(ranked[start : start + size])


@lru_cache(maxsize=1)
def module_r2(
    trajectory: "Trajectory", accuracy: tuple[tuple[int, float], ...]
) -> dict[str, float]:
    """Return the R² of every matrix by label; minus infinity if it is undefined.

    Args:
        trajectory: Base and all checkpoints.
        accuracy: Pairs of step and accuracy.
    """
    from rlvr_dynamics.dynamics import fit_pls

    known = dict(accuracy)
    fitted = [step for step in trajectory.steps if step in known]
    scores = {}
    for matrix in trajectory.matrices:
        features, _ = rank1_features(trajectory, matrix, fitted, rescaled=False)
        length = np.linalg.norm(features, axis=1)
        moved = length > 0.0  # a zero update has no direction
        y = np.array([known[step] for step in fitted])[moved]
        scores[matrix.label] = -math.inf
        if len(y) >= FEWEST_ACCURACIES and np.ptp(y) > 0.0:
            r2 = fit_pls(features[moved] / length[moved, None], y).r2
            scores[matrix.label] = r2 if math.isfinite(r2) else -math.inf
    return scores
