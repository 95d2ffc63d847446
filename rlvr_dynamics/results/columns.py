"""What every column of the tables in measure/, predictions/ and scores/ holds: data only.

Legend: W_t the weights of one tensor at step t, W_0 the base, ΔW_t = W_t − W_0; T observed steps,
d elements of one tensor, m x n a weight matrix, s = min(m, n). σ_i, u_i, v_i: the SVD of one ΔW_t
(*update*), or of the T x d stack of flattened updates, uncentred (*trajectory*), as the table says.
"""

from collections.abc import Iterable
from dataclasses import dataclass

A = "AlphaRL, arXiv 2510.00553"
B = "RELEX, arXiv 2605.21468"
OURS = "ours"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        kind: Unit or kind of value: `share`, `cosine`, `step`, `name`, `norm`, ...
        formula: How it is computed, in words or symbols.
        source: Paper and equation, or `ours`.
    """

    kind: str
    formula: str
    source: str = OURS


STEP = Column("step", "training step t of the checkpoint")
DTYPE = Column("name", "number format in which the checkpoint is stored")
DRAWS = Column("count", "draws behind the null")
SEED = Column("number", "seed of the null; every tensor draws its own stream from it")
STEPS_COUNT = Column("count", "T, the number of steps in the trajectory")
TENSOR = {
    "tensor": Column("name", "name of the tensor in the checkpoint"),
    "module": Column("name", "module type, such as q_proj or embed_tokens"),
    "layer": Column("number", "index of the transformer block; missing outside the blocks"),
}
SHAPE = {
    "m": Column("count", "rows of the weight matrix (outputs)"),
    "n": Column("count", "columns of the weight matrix (inputs)"),
}
RANDOM_WALK = "random walks with the same step norms and dimension d"
PERMUTED_STEPS = "the same coefficients against shuffled step numbers"
PERMUTED_ACCURACY = "the same features with the accuracies y(t) shuffled"
WALK_ACCURACY = "the same features with Gaussian random walks in place of y(t)"
GAUSSIAN = "Gaussian matrices of the same shape"


def _null(prefix: str, what: str, source: str) -> dict[str, Column]:
    """The three columns of a null: its mean and the ends of its central 95 %."""
    return {
        f"{prefix}_mean": Column("null", f"mean of {what} over {source}"),
        f"{prefix}_low": Column("null", f"2.5 % quantile of {what} over {source}"),
        f"{prefix}_high": Column("null", f"97.5 % quantile of {what} over {source}"),
    }


ONE_SAMPLE = "missing where a question has one sample, and accuracy says it all"
SPREAD = (
    "Wilson; with several samples the bootstrap over questions, or Wilson's at the effective "
    "number of answers where that is farther out"
)
SCORED = {
    "method": Column("name", "base, real (a checkpoint of the training) or label of the method"),
    "observe": Column("step", "last observed step; missing or 0 where nothing was observed"),
    "step": Column("step", "step of the checkpoint, or target step of the prediction"),
    "uses_future": Column("yes or no", "the method looked beyond its window"),
    "questions": Column("count", "n, questions of the benchmark"),
    "samples": Column("count", "k, answers to each question"),
    "accuracy": Column("share", "correct answers / answers: mean@k, which is pass@1"),
    "ci_low": Column("share", f"lower end of accuracy's 95 % interval: {SPREAD}"),
    "ci_high": Column("share", "upper end of the same"),
}


COLUMNS: dict[str, dict[str, Column]] = {
    "norms": {
        **TENSOR,
        "step": STEP,
        "update_norm": Column("norm", "‖W_t − W_0‖_F", f"{A}, section 2"),
        "step_norm": Column("norm", "‖W_t − W_t'‖_F, t' the saved step before t"),
        "base_norm": Column("norm", "‖W_0‖_F"),
        "relative_update": Column("ratio", "‖W_t − W_0‖_F / ‖W_0‖_F"),
        "changed_share": Column(
            "share",
            "elements of W_t that differ from W_0 in the stored dtype / d",
            "ours; asked in arXiv 2505.11711",
        ),
        "step_changed_share": Column(
            "share", "elements of W_t that differ from the saved step before, as stored / d"
        ),
    },
    "coefficients": {
        **TENSOR,
        "step": STEP,
        "index": Column("index", "i, the trajectory component"),
        "coefficient": Column("norm", "c_i(t) = <vec ΔW_t, v_i> = σ_i u_i[t]", f"{B}, method"),
    },
    "trajectory_svd": {
        **TENSOR,
        "d": Column("count", "elements of the tensor"),
        "T": STEPS_COUNT,
        "index": Column("index", "i, the trajectory component"),
        "sigma": Column("norm", "σ_i of the T x d stack, uncentred", f"{B}, method"),
        "explained_variance": Column("share", "Σ_{j≤i} σ_j² / Σ_j σ_j²", f"{B}, rank analysis"),
        **_null("null", "component 1's explained variance", RANDOM_WALK),
        "draws": DRAWS,
        "seed": SEED,
        "dtype": DTYPE,
    },
    "linearity": {
        **TENSOR,
        "T": STEPS_COUNT,
        "slope": Column("norm per step", "a of the least-squares line c_1(t) = a t + b", B),
        "intercept": Column("norm", "b of the same line", B),
        "r2": Column("R²", "1 − Σ(c_1 − a t − b)² / Σ(c_1 − mean)², in sample", f"{B}, linearity"),
        **_null("r2_null", "r2", RANDOM_WALK),
        **_null("r2_permuted", "r2", PERMUTED_STEPS),
        "heldout_r2": Column("R²", "line fitted on the first half of the steps, R² on the second"),
        **_null("heldout_r2_null", "heldout_r2", RANDOM_WALK),
        **_null("heldout_r2_permuted", "heldout_r2", PERMUTED_STEPS),
        "loo_r2": Column("R²", "1 − Σ(residual of c_1(t) from the line without t)² / Σ(c_1−mean)²"),
        **_null("loo_r2_null", "loo_r2", RANDOM_WALK),
        **_null("loo_r2_permuted", "loo_r2", PERMUTED_STEPS),
        "draws": DRAWS,
        "seed": SEED,
    },
    "update_svd": {
        **TENSOR,
        "step": STEP,
        **SHAPE,
        "index": Column("index", "i, rank of the singular value, 1 the largest"),
        "sigma": Column("norm", "σ_i of ΔW_t", f"{A}, eq. 1"),
        "frobenius": Column("norm", "‖ΔW_t‖_F", f"{A}, eq. 3 (its code: Frobenius)"),
        "norm_share": Column("share", "σ_i / ‖ΔW_t‖_F", f"{A}, section 2"),
        "norm_share_null": Column("null", f"mean of norm_share over {GAUSSIAN}"),
        "energy_share": Column("share", "σ_i² / ‖ΔW_t‖_F²"),
        "residual": Column(
            "ratio", "max_i max(‖ΔW v_i − σ_i u_i‖, ‖ΔWᵀ u_i − σ_i v_i‖) / σ_1, as computed"
        ),
        "method": Column("name", "how the SVD was computed: gram, krylov or full"),
        "dtype": DTYPE,
    },
    "rank_shares": {
        **TENSOR,
        "step": STEP,
        **SHAPE,
        "rank": Column("name", "rank kept: 1, or a percentage of s", f"{A}, section 2"),
        "k": Column("count", "max(1, ceil(percentage / 100 · s)); the paper gives no rounding"),
        "norm_share": Column(
            "share", "‖ΔW_k‖_F / ‖ΔW‖_F, ΔW_k the k leading terms, unscaled", f"{A}, fig. 5a"
        ),
        "norm_share_null": Column("null", f"mean of norm_share over {GAUSSIAN}"),
        "dtype": DTYPE,
    },
    "update_rank": {
        **TENSOR,
        "step": STEP,
        "stable_rank": Column("rank", "‖ΔW‖_F² / σ_1²", "arXiv math/0503442"),
        "stable_rank_null": Column("null", f"mean of stable_rank over {GAUSSIAN}"),
        "effective_rank": Column(
            "rank", "exp of the entropy of σ / Σσ", "Roy and Vetterli 2007, definition 1"
        ),
        "effective_rank_null": Column("null", f"mean of effective_rank over {GAUSSIAN}"),
        "numerical_rank": Column(
            "rank",
            "number of σ_i above ε/√3 · ‖W_0‖_F/√(mn) · (√m + √n), the largest that rounding to "
            "the stored dtype (spacing ε) would give",
            "ours, with the edge of Bai and Yin 1993; asked in arXiv 2505.11711",
        ),
        "full_rank": Column("count", "s = min(m, n)"),
        "base_cosine_left": Column(
            "cosine",
            "largest principal cosine between the leading left subspaces of ΔW and of W_0",
            "asked in arXiv 2511.08567",
        ),
        "base_cosine_left_null": Column("null", "mean of the same between random subspaces"),
        "base_cosine_right": Column(
            "cosine",
            "largest principal cosine between the leading right subspaces of ΔW and of W_0",
            "asked in arXiv 2511.08567",
        ),
        "base_cosine_right_null": Column("null", "mean of the same between random subspaces"),
        "subspace_k": Column("count", "dimension of the compared subspaces"),
        "dtype": DTYPE,
    },
    "u1_alignment": {
        **TENSOR,
        "step": STEP,
        "flipped": Column(
            "yes or no", "sign of u_1(t) turned to agree with the next step's, from the last", A
        ),
        "cosine_next": Column("cosine", "<u_1(t), u_1 of the next decomposed step>, aligned", A),
        "cosine_last": Column("cosine", "<u_1(t), u_1(T)>, aligned"),
        "sigma1": Column("norm", "σ_1 of ΔW_t", f"{A}, eq. 1"),
        "alpha": Column("ratio", "‖ΔW_t‖_F / σ_1, the factor that rescales rank 1", f"{A}, eq. 3"),
    },
    "pls": {
        **TENSOR,
        "T": Column("count", "checkpoints with both u_1(t) and an accuracy y(t)"),
        "r2": Column(
            "R²",
            "in-sample R² of y(t) on one partial-least-squares component of standardised u_1(t)",
            f"{A}, eq. 6-10",
        ),
        **_null("r2_null", "r2", PERMUTED_ACCURACY),
        **_null("r2_walk", "r2", WALK_ACCURACY),
        "p_value": Column("share", "(1 + permutations with r2 at least as high) / (1 + draws)"),
        "loo_r2": Column("R²", "the same fit without t, judged at t; 1 − Σ error² / Σ(y − mean)²"),
        "accuracy": Column("words", "where y(t) came from"),
        "draws": DRAWS,
        "seed": SEED,
    },
    "oracle": {
        **TENSOR,
        "step": STEP,
        "rank": Column("count", "r, the number of trajectory directions kept"),
        "cosine": Column(
            "cosine",
            "cosine of ΔW_t with its projection on the leading r directions of the whole "
            "trajectory; the magnitude ratio is the same number",
            f"{B}, oracle reconstruction and appendix B",
        ),
        "relative_error": Column("ratio", "‖ΔW_t − projection‖ / ‖ΔW_t‖ = sqrt(1 − cosine²)"),
    },
    "drift": {
        **TENSOR,
        "share": Column("share", "share of the steps, from the first, that the window covers"),
        "stop": Column("step", "last step of that window"),
        "cosine": Column("cosine", "|cos| of v_1 of the window with v_1 of the whole trajectory"),
        **_null("null", "the same", RANDOM_WALK),
        "draws": DRAWS,
        "seed": SEED,
    },
    "explained_variance": {
        "rank": Column("count", "r, the number of leading components"),
        "tensors": Column("count", "tensors summarised"),
        "parameters": Column("count", "elements of these tensors together"),
        "min": Column("share", "lowest Σ_{i≤r} σ_i² / Σ σ_i² over tensors", f"{B}, its code"),
        "mean": Column("share", "mean over tensors", f"{B}, its code"),
        "median": Column("share", "median over tensors", f"{B}, its code"),
        "weighted_mean": Column("share", "mean over tensors weighted by their elements d"),
        "above_90": Column("count", "tensors at or above 0.90", f"{B}, its code"),
        "above_95": Column("count", "tensors at or above 0.95", f"{B}, its code"),
        "above_99": Column("count", "tensors at or above 0.99", f"{B}, its code"),
        "null_mean": Column("null", f"mean over tensors of the null's mean ({RANDOM_WALK}); r = 1"),
        "null_high": Column("null", "mean over tensors of the null's 97.5 % quantile; r = 1"),
    },
    "checkpoints": {
        "step": Column("step", "training step of the checkpoint; 0 for the base"),
        "identity": Column("hash", "hash of its weights"),
        "dtype": DTYPE,
        "repeats": Column("step", "earlier step with byte-identical files; missing if none"),
        "bytes": Column("bytes", "size of its weights on disk"),
    },
    "forecast": {
        "method": Column("name", "label of the method"),
        "observe": Column("step", "last observed step; 0 for a reconstruction"),
        "step": Column("step", "target step"),
        **TENSOR,
        "sse": Column("norm²", "‖Ŵ − W_t‖_F², Ŵ the predicted weights"),
        "sse_hold": Column("norm²", "the same with the last observed checkpoint in place of Ŵ"),
        "skill": Column("share", "1 − sse / sse_hold; 1 is perfect, 0 no better than holding"),
        "cosine": Column("cosine", "cos(Ŵ − W_0, W_t − W_0)", f"{B}, appendix B"),
        "magnitude_ratio": Column("ratio", "‖Ŵ − W_0‖_F / ‖W_t − W_0‖_F", f"{B}, appendix B"),
        "uses_future": Column("yes or no", "the method looked beyond its window"),
        "dtype": DTYPE,
    },
    "index": {
        "method": Column("name", "label of the method"),
        "observe": Column("step", "last observed step; 0 for a reconstruction"),
        "step": Column("step", "target step"),
        "path": Column("name", "folder of the predicted checkpoint, below the run directory"),
        "identity": Column("hash", "hash of its weights"),
        "uses_future": Column("yes or no", "the method looked beyond its window"),
        "candidate_of": Column(
            "name", "the method whose grid this is a candidate of; missing outside a grid"
        ),
        "moved": Column("count", "parameters that the method predicts; the others stay"),
        "parameters": Column("count", "parameters of the model, a tied head counted once"),
    },
    "scores": {
        "model": Column("name", "id of the model: base, step_N or a prediction"),
        **SCORED,
        "benchmark": Column("name", "the benchmark's file name without its ending"),
        "title": Column("name", "its name for readers"),
        "split": Column("name", "in_domain or out_of_domain"),
        "protocol": Column("name", "how answers were drawn, such as greedy or sampled"),
        "pass_at_n": Column(
            "share",
            f"mean of 1 − C(n − c, k) / C(n, k) over questions at k = n, c of the n samples "
            f"correct: questions with a correct sample; {ONE_SAMPLE}",
            "Chen et al. 2021, arXiv 2107.03374, eq. 1",
        ),
        "pass_at_n_low": Column("share", "lower end of its 95 % Wilson interval over questions"),
        "pass_at_n_high": Column("share", "upper end of the same"),
        "majority": Column(
            "share",
            "score of each question's most frequent answer, normalised, averaged over questions; "
            f"answers with equally many votes share; samples without one do not vote; {ONE_SAMPLE}",
            "Lewkowycz et al. 2022, arXiv 2206.14858; the rule for ties is ours",
        ),
        "majority_low": Column("share", "lower end of its 95 % Wilson interval over questions"),
        "majority_high": Column("share", "upper end of the same"),
        "string_match": Column(
            "share", "answers spelled as the gold answer: a second, simpler grader; not for puzzles"
        ),
        "graders_disagree": Column("count", "answers on which the two graders disagree"),
        "golds_as_text": Column(
            "count",
            "reference answers that cannot be parsed as mathematics and are compared as text",
        ),
        "copied": Column(
            "count",
            "correct answers whose text also occurs in the question, copied or worked out",
        ),
        "correct": Column("count", "answers that the grader takes as right"),
        "incorrect": Column("count", "answers that it takes as wrong"),
        "no_answer": Column("count", "responses in which it finds no answer; scored 0"),
        "truncated": Column("count", "responses cut at the token limit before an answer; scored 0"),
        "limit": Column("count", "answers too long or too explosive to be parsed; scored 0"),
        "timeout": Column("count", "answers whose comparison took too long; scored 0"),
        "crash": Column("count", "answers whose comparison broke; scored 0"),
        "finish_stop": Column("count", "responses that the model ended itself"),
        "finish_length": Column("count", "responses cut at the token limit, answered or not"),
        "finish_other": Column("count", "responses that ended for another reason"),
        "mean_tokens": Column("tokens", "mean length of a response"),
        "dtype": Column("name", "precision of the weights in the engine"),
        "seed": Column("number", "seed of the scoring; every request's own seed follows from it"),
        "grader": Column("name", "version of the grader's rules and of the libraries it asks"),
        "key": Column("hash", "of everything that the answers depend on"),
    },
    "selection": {
        **SCORED,
        "identity": Column("hash", "hash of the candidate's weights"),
        "candidate_of": Column("name", "the method whose grid this is a candidate of"),
        "chosen": Column(
            "yes or no",
            "the most accurate candidate of its method, window and step on the validation "
            "problems, the first of equals; it alone meets the benchmarks",
        ),
    },
}


def undocumented(table: str, columns: Iterable[str]) -> list[str]:
    """The columns of a table that `COLUMNS` does not explain, in the given order.

    Args:
        table: Name of the table, without folder and ending.
        columns: Its columns.
    """
    known = COLUMNS.get(table, {})
    return [column for column in columns if column not in known]
