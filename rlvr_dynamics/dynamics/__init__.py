"""Pure mathematics on weight updates; imports nothing else from this project.

Legend for every module: T observed steps, d elements of one tensor, m x n a weight matrix, k rank.
The literature calls two different objects rank-1; we distinguish the *update* (one matrix at one
step, AlphaRL) and the *trajectory* (one tensor over all steps, RELEX).
"""

from rlvr_dynamics.dynamics.accuracy_noise import Noise, noise_of, noisy_walks, without_line
from rlvr_dynamics.dynamics.adam_moves import (
    UPDATES,
    Range,
    adam_moves,
    changed_shares,
    step_sizes,
    updates_range,
)
from rlvr_dynamics.dynamics.changes import FEWEST_STEPS, ActiveColumns, Changes, changes_of
from rlvr_dynamics.dynamics.clock import (
    continued_path,
    even_spacing,
    same_clock,
    step_lengths,
)
from rlvr_dynamics.dynamics.increments import (
    autocorrelation,
    drift_share,
    increment_cosines,
    share_of,
    with_drift,
)
from rlvr_dynamics.dynamics.linearity import Linearity, fit_line, linearity
from rlvr_dynamics.dynamics.nulls import (
    NullComponents,
    NullSample,
    null_components,
    permuted_steps_null,
    random_walk_null,
)
from rlvr_dynamics.dynamics.optimizer_null import Optimizer, noise_correlation
from rlvr_dynamics.dynamics.pls import (
    PLSFit,
    feature_kernel,
    fit_pls,
    permuted_accuracies,
    pls_loo_r2,
    pls_r2,
    pls_r2_error,
    walk_accuracies,
)
from rlvr_dynamics.dynamics.rank_k import (
    RANKS,
    rank_k_update,
    rank_of_percent,
    rank_shares,
    ranks_of,
    subspace_update,
)
from rlvr_dynamics.dynamics.ranks import (
    effective_rank,
    gaussian_spectrum,
    numerical_rank,
    rounding_floor,
    stable_rank,
)
from rlvr_dynamics.dynamics.rounding import (
    BITS,
    beside_rounded,
    changes_in_bfloat16,
    exponent_counts,
    float16_errors,
    power_squares,
    rounding_share,
    row_counts,
    used_bits,
)
from rlvr_dynamics.dynamics.signed_walks import noise_walks
from rlvr_dynamics.dynamics.stored import (
    Rows,
    UpdateBlocks,
    combine_stored,
    gram_of_stored,
    prediction_dtype,
)
from rlvr_dynamics.dynamics.subspaces import align_signs, principal_cosines, random_cosine
from rlvr_dynamics.dynamics.trajectory_svd import (
    TrajectorySVD,
    accumulate_gram,
    accumulate_gram_of_weights,
    accumulate_products,
    extend_gram,
    row_combination,
    svd_of_gram,
    trajectory_gram,
    trajectory_svd,
)
from rlvr_dynamics.dynamics.update_svd import (
    UpdateSVD,
    update_spectrum,
    update_svd,
)
from rlvr_dynamics.dynamics.windows import (
    oracle_cosines,
    prefix_drift,
    prefix_drift_null,
)

__all__ = [
    "FEWEST_STEPS",
    "ActiveColumns",
    "Changes",
    "Noise",
    "NullComponents",
    "Optimizer",
    "autocorrelation",
    "continued_path",
    "drift_share",
    "even_spacing",
    "increment_cosines",
    "noise_correlation",
    "null_components",
    "step_lengths",
    "share_of",
    "with_drift",
    "Rows",
    "UpdateBlocks",
    "combine_stored",
    "gram_of_stored",
    "prediction_dtype",
    "BITS",
    "RANKS",
    "UPDATES",
    "Linearity",
    "NullSample",
    "PLSFit",
    "Range",
    "TrajectorySVD",
    "UpdateSVD",
    "accumulate_gram",
    "accumulate_gram_of_weights",
    "accumulate_products",
    "adam_moves",
    "align_signs",
    "beside_rounded",
    "changed_shares",
    "changes_in_bfloat16",
    "changes_of",
    "effective_rank",
    "exponent_counts",
    "extend_gram",
    "feature_kernel",
    "fit_line",
    "fit_pls",
    "float16_errors",
    "gaussian_spectrum",
    "linearity",
    "noise_of",
    "noise_walks",
    "noisy_walks",
    "numerical_rank",
    "oracle_cosines",
    "permuted_accuracies",
    "permuted_steps_null",
    "pls_loo_r2",
    "pls_r2",
    "pls_r2_error",
    "power_squares",
    "prefix_drift",
    "prefix_drift_null",
    "principal_cosines",
    "random_cosine",
    "random_walk_null",
    "rank_k_update",
    "rank_of_percent",
    "rank_shares",
    "ranks_of",
    "rounding_floor",
    "rounding_share",
    "row_combination",
    "row_counts",
    "same_clock",
    "stable_rank",
    "step_sizes",
    "subspace_update",
    "svd_of_gram",
    "trajectory_gram",
    "trajectory_svd",
    "update_spectrum",
    "update_svd",
    "updates_range",
    "used_bits",
    "walk_accuracies",
    "without_line",
]
