"""Pure mathematics on weight updates; imports nothing else of this project.

Legend, here and in every module: T observed steps, d elements of one tensor, m x n a weight
matrix, k rank. Two objects are called rank-1 in the literature and kept apart here: the *update*
(one matrix at one step, AlphaRL) and the *trajectory* (one tensor over all steps, RELEX).
"""

from rlvr_dynamics.dynamics.linearity import Linearity, fit_line, linearity
from rlvr_dynamics.dynamics.nulls import NullSample, random_walk_null
from rlvr_dynamics.dynamics.rank_k import rank_k_update
from rlvr_dynamics.dynamics.trajectory_svd import (
    TrajectorySVD,
    accumulate_gram,
    row_combination,
    svd_of_gram,
    trajectory_gram,
    trajectory_svd,
)
from rlvr_dynamics.dynamics.update_svd import UpdateSVD, update_singular_values, update_svd

__all__ = [
    "Linearity",
    "NullSample",
    "TrajectorySVD",
    "UpdateSVD",
    "accumulate_gram",
    "fit_line",
    "linearity",
    "random_walk_null",
    "rank_k_update",
    "row_combination",
    "svd_of_gram",
    "trajectory_gram",
    "trajectory_svd",
    "update_singular_values",
    "update_svd",
]
