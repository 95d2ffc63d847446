"""Columns of the tables in behaviour/. Data only."""

from rlvr_dynamics.schema.tables.column import Column, table
from rlvr_dynamics.schema.tables.parts import SEED, A

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
)
