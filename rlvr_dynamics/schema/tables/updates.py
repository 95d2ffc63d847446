"""Columns of the tables in measure/ about the updates of single matrices. Data only.

Legend: W_t the weights of one tensor at step t, W_0 the base, ΔW_t = W_t − W_0; T observed steps,
d elements of one tensor, m x n a weight matrix, s = min(m, n). σ_i, u_i, v_i: the
SVD of one ΔW_t.
"""

from rlvr_dynamics.schema.tables.column import Column, needed, table
from rlvr_dynamics.schema.tables.parts import (
    DRAWS,
    DTYPE,
    SEED,
    SHAPE,
    STEP,
    TENSOR,
    A,
    null,
)

PERMUTED_ACCURACY = "the same features with the accuracies y(t) shuffled"
WALK_ACCURACY = (
    "the same features with Gaussian random walks of y(t)'s noise and variance in its place"
)
LEFT_OVER = "R² of what a line in the step number leaves of y(t) on one component of what it leaves"
GAUSSIAN = "Gaussian matrices of the same shape"

TABLES = (
    table(
        "measure/update_svd.parquet",
        "measure",
        STEP,
        *TENSOR,
        *SHAPE,
        needed("index", "index", "i, rank of the singular value, 1 the largest"),
        needed("sigma", "norm", "σ_i of ΔW_t", f"{A}, eq. 1"),
        needed("frobenius", "norm", "‖ΔW_t‖_F", f"{A}, eq. 3 (its code: Frobenius)"),
        needed("norm_share", "share", "σ_i / ‖ΔW_t‖_F", f"{A}, section 2"),
        Column("norm_share_null", "null", f"mean of norm_share over {GAUSSIAN}"),
        Column("energy_share", "share", "σ_i² / ‖ΔW_t‖_F²"),
        Column(
            "residual",
            "ratio",
            "max_i max(‖ΔW v_i − σ_i u_i‖, ‖ΔWᵀ u_i − σ_i v_i‖) / σ_1, as computed",
        ),
        Column("method", "name", "how the SVD was computed: gram, krylov or full"),
        DTYPE,
    ),
    table(
        "measure/rank_shares.parquet",
        "measure",
        STEP,
        *TENSOR,
        *SHAPE,
        needed("rank", "name", "rank kept: 1, or a percentage of s", f"{A}, section 2"),
        needed("k", "count", "max(1, ceil(percentage / 100 · s)); the paper gives no rounding"),
        needed(
            "norm_share",
            "share",
            "‖ΔW_k‖_F / ‖ΔW‖_F, ΔW_k the k leading terms, unscaled",
            f"{A}, fig. 5a",
        ),
        needed("norm_share_null", "null", f"mean of norm_share over {GAUSSIAN}"),
        Column(
            "norm_share_null_high",
            "null",
            f"97.5 % quantile of norm_share over 16 {GAUSSIAN}, nearly their largest",
        ),
        DTYPE,
    ),
    table(
        "measure/update_rank.parquet",
        "measure",
        STEP,
        *TENSOR,
        needed("stable_rank", "rank", "‖ΔW‖_F² / σ_1²", "arXiv math/0503442"),
        Column("stable_rank_null", "null", f"mean of stable_rank over {GAUSSIAN}"),
        needed(
            "effective_rank",
            "rank",
            "exp of the entropy of σ / Σσ",
            "Roy and Vetterli 2007, definition 1",
        ),
        Column("effective_rank_null", "null", f"mean of effective_rank over {GAUSSIAN}"),
        Column(
            "numerical_rank",
            "rank",
            "number of σ_i above ε/√3 · ‖W_0‖_F/√(mn) · (√m + √n), the largest that rounding to "
            "the stored dtype (spacing ε) would give",
            "ours, with the edge of Bai and Yin 1993; asked in arXiv 2505.11711",
        ),
        needed("full_rank", "count", "s = min(m, n)"),
        Column(
            "base_cosine_left",
            "cosine",
            "largest principal cosine between the leading left subspaces of ΔW and of W_0",
            "asked in arXiv 2511.08567",
        ),
        Column("base_cosine_left_null", "null", "mean of the same between random subspaces"),
        Column(
            "base_cosine_right",
            "cosine",
            "largest principal cosine between the leading right subspaces of ΔW and of W_0",
            "asked in arXiv 2511.08567",
        ),
        Column("base_cosine_right_null", "null", "mean of the same between random subspaces"),
        Column("subspace_k", "count", "dimension of the compared subspaces"),
        DTYPE,
    ),
    table(
        "measure/u1_alignment.parquet",
        "measure",
        STEP,
        *TENSOR,
        Column(
            "flipped",
            "yes or no",
            "sign of u_1(t) turned to agree with the next step's, from the last",
            A,
        ),
        needed("cosine_next", "cosine", "<u_1(t), u_1 of the next decomposed step>, aligned", A),
        needed("cosine_last", "cosine", "<u_1(t), u_1(T)>, aligned"),
        Column("sigma1", "norm", "σ_1 of ΔW_t", f"{A}, eq. 1"),
        Column("alpha", "ratio", "‖ΔW_t‖_F / σ_1, the factor that rescales rank 1", f"{A}, eq. 3"),
    ),
    table(
        "measure/pls.parquet",
        "measure",
        *TENSOR,
        Column("T", "count", "checkpoints with both u_1(t) and an accuracy y(t)"),
        needed(
            "r2",
            "R²",
            "in-sample R² of y(t) on one partial-least-squares component of standardised u_1(t)",
            f"{A}, eq. 6-10",
        ),
        *null("r2_null", "r2", PERMUTED_ACCURACY),
        *null("r2_walk", "r2", WALK_ACCURACY),
        Column("p_value", "share", "(1 + permutations with r2 at least as high) / (1 + draws)"),
        Column("loo_r2", "R²", "the same fit without t, judged at t; 1 − Σ error² / Σ(y − mean)²"),
        Column("accuracy", "words", "where y(t) came from"),
        Column(
            "noise_sd",
            "share",
            "σ, root mean square of the standard errors of y(t); where a checkpoint has none, of "
            "y(t)'s distance e from the line between its neighbours, σ² = mean of "
            "e² / (1 + a² + b²) with that line's weights a, b: (second difference)² / 6 at even "
            "steps",
            "Gasser, Sroka and Jennen-Steinmetz 1986, eq. 1",
        ),
        Column("noise_source", "words", "which of the two, or unknown"),
        Column(
            "r2_error",
            "R²",
            "standard error of r2 from σ, to first order (up to √2 too much): "
            "sqrt(Σ (d r2 / d y(t))² σ(t)²)",
        ),
        Column(
            "r2_ceiling",
            "R²",
            "1 − σ² / var(y), the R² that noise leaves on average to the true relation",
        ),
        Column(
            "r2_ceiling_low", "R²", "the same with σ² at the upper end of its 95 % (chi-squared)"
        ),
        Column(
            "r2_ceiling_high", "R²", "the same with σ² at the lower end of its 95 % (chi-squared)"
        ),
        Column(
            "r2_corrected",
            "R²",
            "min(1, r2 / r2_ceiling); missing where the ceiling is not above 0",
            "correction for attenuation, Spearman 1904",
        ),
        Column("loo_r2_corrected", "R²", "min(1, loo_r2 / r2_ceiling), likewise"),
        Column("step_r2", "R²", "R² of y(t) on a line in the step number t, without u_1"),
        Column("step_loo_r2", "R²", "the same line without t, judged at t"),
        Column(
            "partial_r2",
            "R²",
            f"{LEFT_OVER} of u_1(t): the share of y(t) beyond the step number that u_1 explains",
            "ours, by the theorem of Frisch, Waugh and Lovell",
        ),
        *null(
            "partial_r2_null",
            "partial_r2",
            "orders of the residuals of y(t) (Freedman and Lane 1983)",
        ),
        *null("partial_r2_walk", "partial_r2", WALK_ACCURACY),
        Column(
            "partial_p_value",
            "share",
            "(1 + permutations with partial_r2 at least as high) / (1 + draws)",
        ),
        DRAWS,
        SEED,
    ),
)
