"""Columns of the tables in behaviour/. Data only."""

from rlvr_dynamics.schema.tables.column import OURS, Column, table
from rlvr_dynamics.schema.tables.parts import FUNCTION_NULLS, SEED, A, NullWalk

L = "arXiv 2601.04537"
MOVED_WORDS = "|last − first log-probability| > 0.2"

WRITER = Column(
    "writer", "name", "model that wrote the text: base, trained, rank1_recovery, random_update"
)
READER = Column("reader", "name", "model that reads it token by token; missing where nobody reads")
DTYPE = Column("dtype", "name", "precision in which the models ran")
COMMON = (
    Column("benchmark", "name", "the benchmark's file name without its ending"),
    DTYPE,
    Column("device", "name", "cpu or cuda"),
    Column("draws", "count", "bootstrap draws over answers (questions)"),
    SEED,
)


def _identity(role: str) -> Column:
    return Column(f"{role}_identity", "hash", f"hash of the {role}'s weights")


def _spread(name: str, what: str, how: str) -> tuple[Column, ...]:
    return (
        Column(name, "share", what),
        Column(f"{name}_low", "share", f"lower end of its 95 % interval ({how})"),
        Column(f"{name}_high", "share", "upper end of the same"),
    )


def _mean(name: str, what: str, source: str = OURS) -> tuple[Column, ...]:
    return (
        Column(name, "nats", f"mean over the answers' tokens of {what}", source),
        Column(f"{name}_low", "nats", "lower end of its 95 % interval: bootstrap over answers"),
        Column(f"{name}_high", "nats", "upper end of the same"),
    )


def _null_of_lines(null: NullWalk) -> tuple[Column, ...]:
    of = f"of all tokens of all walks; {null.words}"
    return (
        Column(f"{null.prefix}kept_share", "null", f"share that the selection keeps {of}"),
        Column(f"{null.prefix}r2", "null", f"median R² {of}"),
        Column(f"{null.prefix}r2_low", "null", "2.5 % quantile of the median R² over walks"),
        Column(f"{null.prefix}r2_high", "null", "97.5 % quantile of the same"),
        Column(f"{null.prefix}above_share", "null", f"share with R² > 0.7 {of}"),
        Column(f"{null.prefix}heldout_r2", "null", f"median held-out R² {of}"),
    )


CLOCK = Column(
    "clock",
    "name",
    "`step`: the number of the step; `path`: the length of the whole model's path so far, "
    "s(t) = Σ_{i≤t} sqrt(Σ over tensors of ‖W_i − W_i-1‖²)",
)
POINTS = Column("points", "count", "P, base and checkpoints")

TABLES = (
    table(
        "behaviour/tokens.parquet",
        "behaviour",
        WRITER,
        READER,
        Column("question_id", "name", "id of the question"),
        Column("position", "index", "place of the token in the answer, from 0"),
        Column("length", "tokens", "length of the answer; the token that ended it counts"),
        Column("relative_position", "share", "(position + 1/2) / length"),
        Column("token", "index", "id of the token"),
        Column("greedy_token", "index", "id of the token that the reader finds most likely"),
        Column("non_greedy", "yes or no", "the two differ", f"{A}, figure 12a"),
        Column("log_prob", "nats", "log-probability of the token under the reader"),
        Column("text", "words", "the token's text"),
        _identity("writer"),
        _identity("reader"),
        DTYPE,
    ),
    table(
        "behaviour/summary.parquet",
        "behaviour",
        Column(
            "metric",
            "name",
            "non_greedy_share (tokens of the writer that the reader would not have written / "
            "tokens), perplexity (exp of the mean −log-probability of a token of the answers), "
            "non_greedy_position (share of the non-greedy tokens in a part of the answer), "
            "accuracy and cut_share of the writer's own answers",
            f"{A}, figure 12",
        ),
        WRITER,
        READER,
        Column("value", "share", "the metric; perplexity is a number of 1 or more"),
        Column(
            "low",
            "share",
            "lower end of its 95 % interval: bootstrap over answers; Wilson for accuracy and "
            "cut_share, and, where no token is non-greedy, for answers with one such token",
        ),
        Column("high", "share", "upper end of the same"),
        Column("bin_low", "share", "where the part of the answer begins"),
        Column("bin_high", "share", "where it ends"),
        Column("null", "null", "share of all tokens that stand in this part"),
        Column("answers", "count", "n, answers"),
        Column("tokens", "count", "tokens of these answers"),
        Column("non_greedy_tokens", "count", "tokens that the reader would not have written"),
        _identity("writer"),
        _identity("reader"),
        *COMMON,
        Column("max_new_tokens", "tokens", "longest answer that was allowed"),
    ),
    table(
        "behaviour/embeddings.parquet",
        "behaviour",
        Column("model", "name", "the model whose embeddings are compared with the base's"),
        Column("matrix", "name", "input, or output where the head is a matrix of its own"),
        Column("tied", "yes or no", "the head of the base is its input embedding"),
        Column("token", "index", "id of the token"),
        Column("text", "words", "its text; empty for tokens that nobody wrote"),
        Column(
            "used",
            "yes or no",
            "it occurs in the trained model's answers; the others are all, or 1000 drawn, that "
            "do not",
        ),
        Column("base_norm", "norm", "‖e_0‖, e_0 the token's embedding in the base"),
        Column("shift_norm", "norm", "‖e − e_0‖"),
        Column("relative_shift", "ratio", "‖e − e_0‖ / ‖e_0‖"),
        Column("cosine", "cosine", "cos(e_0, e)"),
        Column(
            "common",
            "cosine",
            "cosine of the shift with the mean shift of the (other) used tokens; within about "
            "1/√d of 0 if every token goes its own way",
        ),
        Column(
            "x_base",
            "norm",
            "first principal axis of the used embeddings of both models together, base; missing "
            "for tokens that are not used",
            f"{A}, figure 5b",
        ),
        Column("y_base", "norm", "the same, second axis"),
        Column("x", "norm", "first axis, the model"),
        Column("y", "norm", "second axis, the model"),
        Column("x_explained", "share", "share of the variance along the first axis"),
        Column("y_explained", "share", "share of the variance along the second axis"),
        _identity("model"),
        _identity("base"),
        *COMMON,
    ),
    table(
        "behaviour/prefix.parquet",
        "behaviour",
        Column("guide", "name", "model whose answers begin"),
        Column(
            "guide_tokens", "tokens", "k, tokens of them that the base is given", f"{A}, fig. 14"
        ),
        Column("questions", "count", "n, questions"),
        Column("continued", "count", "answers longer than k, which the base had to finish"),
        *_spread("accuracy", "correct answers of the base behind the prefix / n", "Wilson"),
        *_spread(
            "prefix_accuracy",
            "prefixes that hold the right answer already, without the base",
            "Wilson",
        ),
        *_spread("guide_accuracy", "correct answers of the guide itself / n", "Wilson"),
        *_spread(
            "gap_closed",
            "(accuracy − base's own) / (guide's own − base's own)",
            "bootstrap over questions, paired; missing where guide and base are too close",
        ),
        _identity("guide"),
        _identity("base"),
        *COMMON,
    ),
    table(
        "behaviour/function.parquet",
        "behaviour",
        Column("writer", "name", "who wrote the answers, greedily: base or trained"),
        Column("step", "step", "training step of the reader; 0 is the base"),
        Column("path", "norm", "length of its path from the base, as for the clock `path`"),
        Column("answers", "count", "answers read, the same for every reader"),
        Column("tokens", "count", "their tokens, with the one that ended the answer"),
        *_mean("log_prob", "the token's log-probability under the reader", L),
        *_mean(
            "kl_to_base",
            "KL(reader ‖ base) = Σ_v p_t(v) log(p_t(v) / p_0(v)) over the whole vocabulary",
        ),
        *_mean("entropy", "−Σ_v p_t(v) log p_t(v), of the reader"),
        *COMMON,
    ),
    table(
        "behaviour/log_probs.parquet",
        "behaviour",
        Column("writer", "name", "who wrote the answer, greedily: base or trained"),
        Column("question_id", "name", "id of the question"),
        Column("position", "index", "place of the token in the answer, from 0"),
        Column("token", "index", "id of the token"),
        Column("text", "words", "the token's text"),
        CLOCK,
        POINTS,
        Column("first", "nats", "its log-probability under the base"),
        Column("last", "nats", "the same under the last checkpoint"),
        Column("change", "nats", "last − first"),
        Column("moved", "yes or no", MOVED_WORDS, f"{L}, its code"),
        Column("slope", "nats per position", "a of the least-squares line log p(t) = a t + b"),
        Column("r2", "R²", "1 − Σ(log p − a t − b)² / Σ(log p − mean)², in sample", L),
        Column("heldout_r2", "R²", "line fitted on the first half of the points, R² on the second"),
        *COMMON,
    ),
    table(
        "behaviour/token_lines.parquet",
        "behaviour",
        Column("writer", "name", "who wrote the answers, greedily: base or trained"),
        CLOCK,
        Column("selected", "yes or no", f"only tokens with {MOVED_WORDS}", f"{L}, its code"),
        POINTS,
        Column("answers", "count", "answers"),
        Column("all_tokens", "count", "tokens to which lines were fitted, at most 20,000 drawn"),
        Column("tokens", "count", "those that the selection keeps and that are not constant"),
        Column("constant", "count", "tokens whose log-probability never changed, left out"),
        Column("kept_share", "share", "tokens / all_tokens"),
        Column("r2", "R²", "median of r2 over these tokens", f"{L}, figure 2"),
        Column("r2_low", "R²", "lower end of its 95 % interval: bootstrap over answers"),
        Column("r2_high", "R²", "upper end of the same"),
        Column("above_share", "share", "share of these tokens with r2 > 0.7"),
        Column("heldout_r2", "R²", "median of heldout_r2 over these tokens"),
        *(column for null in FUNCTION_NULLS.values() for column in _null_of_lines(null)),
        Column("null_draws", "count", "walks behind each null"),
        *COMMON,
    ),
)
