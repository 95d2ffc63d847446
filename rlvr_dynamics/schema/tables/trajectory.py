"""Columns of the tables in measure/ about whole trajectories. Data only.

Legend: W_t the weights of one tensor at step t, W_0 the base, ΔW_t = W_t − W_0; T observed steps,
d elements of one tensor, m x n a weight matrix, s = min(m, n). σ_i, u_i, v_i: the
SVD of the T x d stack of flattened updates, uncentred.
"""

from rlvr_dynamics.schema.tables.column import Column, needed, table
from rlvr_dynamics.schema.tables.parts import (
    DRAWS,
    DTYPE,
    LAGS,
    LINE_SCORES,
    NULL_WALKS,
    SEED,
    STEP,
    STEPS_COUNT,
    TENSOR,
    A,
    B,
    null,
)

RANDOM_WALK = NULL_WALKS["walk"].words
FURTHER = [walk for walk in NULL_WALKS.values() if walk.prefix]
PLATEAU_LAG = 30
PERMUTED_STEPS = "the same coefficients against shuffled step numbers"

TABLES = (
    table(
        "measure/norms.parquet",
        "measure",
        STEP,
        *TENSOR,
        needed("update_norm", "norm", "‖W_t − W_0‖_F", f"{A}, section 2"),
        Column("step_norm", "norm", "‖W_t − W_t'‖_F, t' the saved step before t"),
        Column("base_norm", "norm", "‖W_0‖_F"),
        needed("relative_update", "ratio", "‖W_t − W_0‖_F / ‖W_0‖_F"),
        Column(
            "changed_share",
            "share",
            "elements of W_t that differ from W_0 in the dtype read / d",
            "ours; asked in arXiv 2505.11711",
        ),
        Column(
            "step_changed_share",
            "share",
            "elements of W_t that differ from the saved step before, as read / d",
        ),
        Column(
            "bfloat16_changed_share",
            "share",
            "elements with |bfloat16(W_0' + W_t − W_0) − W_0'| > 1e-5 / d, W_0' = bfloat16(W_0), "
            "whatever the files hold",
            "arXiv 2505.11711, section 2, and its code",
        ),
        Column(
            "bfloat16_differing_share",
            "share",
            "the same without the tolerance: elements that differ from W_0' at all / d",
        ),
        Column(
            "rounding_share",
            "ratio",
            "Σ ulp² / 12 over ‖W_t − W_0‖_F², ulp the unit in the last place of each weight of W_0 "
            "in the dtype read (in the narrower one where every weight was cast up from it); "
            "missing where nothing moved or an adapter gives the update",
        ),
        Column(
            "float16_rounding_share",
            "ratio",
            "‖(float16(W_t) − float16(W_0)) − (W_t − W_0)‖_F² / ‖W_t − W_0‖_F², what a cast to "
            "float16 before subtracting does to the update; missing where nothing moved or a "
            "weight exceeds float16's range",
            f"{B}, its code",
        ),
        Column(
            "optimizer_step_length",
            "ratio",
            "‖W_t − W_t'‖_F / (√d Σ learning rate of the updates between the two); 1 if every "
            "update moved every weight by the learning rate in one direction; missing if the "
            "learning rate is unknown, or the optimizer is not Adam",
        ),
    ),
    table(
        "measure/exponents.parquet",
        "measure",
        *TENSOR,
        needed("exponent", "number", "e, of matrices inside the blocks only"),
        needed("count", "count", "weights of W_0 in [2^e, 2^(e+1)), whose ulp is 2^(e − bits)"),
        needed("bits", "count", "stored bits of the significand, of what the steps' values use"),
    ),
    table(
        "measure/coefficients.parquet",
        "measure",
        *TENSOR,
        STEP,
        needed("index", "index", "i, the trajectory component"),
        needed("coefficient", "norm", "c_i(t) = <vec ΔW_t, v_i> = σ_i u_i[t]", f"{B}, method"),
    ),
    table(
        "measure/trajectory_svd.parquet",
        "measure",
        *TENSOR,
        Column("d", "count", "elements of the tensor"),
        STEPS_COUNT,
        needed("index", "index", "i, the trajectory component"),
        needed("sigma", "norm", "σ_i of the T x d stack, uncentred", f"{B}, method"),
        needed("explained_variance", "share", "Σ_{j≤i} σ_j² / Σ_j σ_j²", f"{B}, rank analysis"),
        *null("null", "component 1's explained variance", RANDOM_WALK, required=("mean", "high")),
        *(
            column
            for walk in FURTHER
            for column in null(walk.of_variance, "component 1's explained variance", walk.words)
        ),
        *(
            Column(
                f"optimizer_autocorrelation_{lag}",
                "cosine",
                f"mean cosine of increments W_t − W_t' that are {lag} saved steps apart",
            )
            for lag in LAGS
        ),
        *(
            Column(
                f"optimizer_null_autocorrelation_{lag}",
                "cosine",
                f"the same, expected of {NULL_WALKS['optimizer'].words}",
            )
            for lag in LAGS
        ),
        Column(
            "optimizer_drift_share",
            "share",
            f"mean cosine of all increments at least {PLATEAU_LAG} saved steps apart, at least "
            "0: the share of their squared length that is one constant drift. The optimizer's own "
            "memory is not subtracted: ρ is read as ρ + (1 − ρ) `optimizer_null_drift_share`",
        ),
        Column(
            "optimizer_null_drift_share",
            "share",
            "the same, expected of the steps of the run's optimizer on noise and its weight decay: "
            "about the mean of β1^lag over these pairs, for 60 steps of one update 0.02 at β1 = "
            "0.9 and 0.35 at 0.99",
        ),
        DRAWS,
        SEED,
        DTYPE,
    ),
    table(
        "measure/linearity.parquet",
        "measure",
        *TENSOR,
        Column(
            "clock",
            "name",
            "the positions of the steps: `step` their numbers, `path` the length of the path so "
            "far, s(t) = Σ_{i≤t} ‖W_i − W_i-1‖ (only with even steps that all moved), `optimizer` "
            "the sum of the learning rates so far (only where it is known and not in proportion to "
            "the step number)",
        ),
        STEPS_COUNT,
        Column("slope", "norm per position", "a of the least-squares line c_1(t) = a t + b", B),
        Column("intercept", "norm", "b of the same line", B),
        needed("r2", "R²", "1 − Σ(c_1 − a t − b)² / Σ(c_1 − mean)², in sample", f"{B}, linearity"),
        *null("r2_null", "r2", RANDOM_WALK, required=("mean", "high")),
        *null("r2_permuted", "r2", PERMUTED_STEPS),
        needed("heldout_r2", "R²", "line fitted on the first half of the steps, R² on the second"),
        *null("heldout_r2_null", "heldout_r2", RANDOM_WALK),
        *null("heldout_r2_permuted", "heldout_r2", PERMUTED_STEPS),
        Column("loo_r2", "R²", "1 − Σ(residual of c_1(t) from the line without t)² / Σ(c_1−mean)²"),
        *null("loo_r2_null", "loo_r2", RANDOM_WALK),
        *null("loo_r2_permuted", "loo_r2", PERMUTED_STEPS),
        *(
            column
            for score in LINE_SCORES
            for walk in FURTHER
            for column in null(walk.of_score(score), score, walk.words)
        ),
        DRAWS,
        SEED,
    ),
    table(
        "measure/oracle.parquet",
        "measure",
        *TENSOR,
        STEP,
        needed("rank", "count", "r, the number of trajectory directions kept"),
        needed(
            "cosine",
            "cosine",
            "cosine of ΔW_t with its projection on the leading r directions of the whole "
            "trajectory; the magnitude ratio is the same number",
            f"{B}, oracle reconstruction and appendix B",
        ),
        Column("relative_error", "ratio", "‖ΔW_t − projection‖ / ‖ΔW_t‖ = sqrt(1 − cosine²)"),
    ),
    table(
        "measure/drift.parquet",
        "measure",
        *TENSOR,
        needed("share", "share", "share of the steps, from the first, that the window covers"),
        Column("stop", "step", "last step of that window"),
        needed("cosine", "cosine", "|cos| of v_1 of the window with v_1 of the whole trajectory"),
        *null("null", "the same", RANDOM_WALK),
        DRAWS,
        SEED,
    ),
    table(
        "measure/explained_variance.parquet",
        "measure",
        needed("rank", "count", "r, the number of leading components"),
        needed("tensors", "count", "tensors summarised"),
        Column("parameters", "count", "elements of these tensors together"),
        needed("min", "share", "lowest Σ_{i≤r} σ_i² / Σ σ_i² over tensors", f"{B}, its code"),
        needed("mean", "share", "mean over tensors", f"{B}, its code"),
        needed("median", "share", "median over tensors", f"{B}, its code"),
        Column("weighted_mean", "share", "mean over tensors weighted by their elements d"),
        Column("above_90", "count", "tensors at or above 0.90", f"{B}, its code"),
        Column("above_95", "count", "tensors at or above 0.95", f"{B}, its code"),
        Column("above_99", "count", "tensors at or above 0.99", f"{B}, its code"),
        Column("null_mean", "null", f"mean over tensors of the null's mean ({RANDOM_WALK}); r = 1"),
        Column("null_high", "null", "mean over tensors of the null's 97.5 % quantile; r = 1"),
    ),
    table(
        "measure/checkpoints.parquet",
        "measure",
        needed("step", "step", "training step of the checkpoint; 0 for the base"),
        Column("identity", "hash", "hash of its weights"),
        DTYPE,
        Column("stored_dtype", "name", "number format of the files"),
        needed("repeats", "step", "earlier step with byte-identical files; missing if none"),
        Column("bytes", "bytes", "size of its weights on disk"),
    ),
)
