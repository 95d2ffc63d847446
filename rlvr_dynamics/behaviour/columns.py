"""What every column of the four tables means: unit, words, source."""

from rlvr_dynamics.results.columns import SEED, Column

A = "AlphaRL, arXiv 2510.00553"
WRITER = Column("name", "model that wrote the text: base, trained, rank1_recovery, random_update")
READER = Column("name", "model that reads it token by token; missing where nobody reads")
DRAWS = Column("count", "bootstrap draws over answers (questions)")
HASHES = {
    "base_identity": Column("hash", "hash of the base's weights"),
    "writer_identity": Column("hash", "hash of the writer's weights"),
    "reader_identity": Column("hash", "hash of the reader's weights"),
    "model_identity": Column("hash", "hash of the model's weights"),
    "guide_identity": Column("hash", "hash of the guide's weights"),
}
COMMON = {
    "benchmark": Column("name", "the benchmark's file name without its ending"),
    "dtype": Column("name", "precision in which the models ran"),
    "device": Column("name", "cpu or cuda"),
    "draws": DRAWS,
    "seed": SEED,
}


def _spread(name: str, what: str, how: str) -> dict[str, Column]:
    return {
        name: Column("share", what),
        f"{name}_low": Column("share", f"lower end of its 95 % interval ({how})"),
        f"{name}_high": Column("share", "upper end of the same"),
    }


COLUMNS: dict[str, dict[str, Column]] = {
    "tokens": {
        "writer": WRITER,
        "reader": READER,
        "question_id": Column("name", "id of the question"),
        "position": Column("index", "place of the token in the answer, from 0"),
        "length": Column("tokens", "length of the answer; the token that ended it counts"),
        "relative_position": Column("share", "(position + 1/2) / length"),
        "token": Column("index", "id of the token"),
        "greedy_token": Column("index", "id of the token that the reader finds most likely"),
        "non_greedy": Column("yes or no", "the two differ", f"{A}, figure 12a"),
        "log_prob": Column("nats", "log-probability of the token under the reader"),
        "text": Column("words", "the token's text"),
        "writer_identity": HASHES["writer_identity"],
        "reader_identity": HASHES["reader_identity"],
        "dtype": COMMON["dtype"],
    },
    "summary": {
        "metric": Column(
            "name",
            "non_greedy_share (tokens of the writer that the reader would not have written / "
            "tokens), perplexity (exp of the mean −log-probability of a token of the answers), "
            "non_greedy_position (share of the non-greedy tokens in a part of the answer), "
            "accuracy and cut_share of the writer's own answers",
            f"{A}, figure 12",
        ),
        "writer": WRITER,
        "reader": READER,
        "value": Column("share", "the metric; perplexity is a number of 1 or more"),
        "low": Column(
            "share",
            "lower end of its 95 % interval: bootstrap over answers; Wilson for accuracy and "
            "cut_share, and, where no token is non-greedy, for answers with one such token",
        ),
        "high": Column("share", "upper end of the same"),
        "bin_low": Column("share", "where the part of the answer begins"),
        "bin_high": Column("share", "where it ends"),
        "null": Column("null", "share of all tokens that stand in this part"),
        "answers": Column("count", "n, answers"),
        "tokens": Column("count", "tokens of these answers"),
        "non_greedy_tokens": Column("count", "tokens that the reader would not have written"),
        "writer_identity": HASHES["writer_identity"],
        "reader_identity": HASHES["reader_identity"],
        **COMMON,
        "max_new_tokens": Column("tokens", "longest answer that was allowed"),
    },
    "embeddings": {
        "model": Column("name", "the model whose embeddings are compared with the base's"),
        "matrix": Column("name", "input, or output where the head is a matrix of its own"),
        "tied": Column("yes or no", "the head of the base is its input embedding"),
        "token": Column("index", "id of the token"),
        "text": Column("words", "its text; empty for tokens that nobody wrote"),
        "used": Column(
            "yes or no",
            "it occurs in the trained model's answers; the others are all, or 1000 drawn, that "
            "do not",
        ),
        "base_norm": Column("norm", "‖e_0‖, e_0 the token's embedding in the base"),
        "shift_norm": Column("norm", "‖e − e_0‖"),
        "relative_shift": Column("ratio", "‖e − e_0‖ / ‖e_0‖"),
        "cosine": Column("cosine", "cos(e_0, e)"),
        "common": Column(
            "cosine",
            "cosine of the shift with the mean shift of the (other) used tokens; within about "
            "1/√d of 0 if every token goes its own way",
        ),
        "x_base": Column(
            "norm",
            "first principal axis of the used embeddings of both models together, base; missing "
            "for tokens that are not used",
            f"{A}, figure 5b",
        ),
        "y_base": Column("norm", "the same, second axis"),
        "x": Column("norm", "first axis, the model"),
        "y": Column("norm", "second axis, the model"),
        "x_explained": Column("share", "share of the variance along the first axis"),
        "y_explained": Column("share", "share of the variance along the second axis"),
        "model_identity": HASHES["model_identity"],
        "base_identity": HASHES["base_identity"],
        **COMMON,
    },
    "prefix": {
        "guide": Column("name", "model whose answers begin"),
        "guide_tokens": Column(
            "tokens", "k, tokens of them that the base is given", f"{A}, fig. 14"
        ),
        "questions": Column("count", "n, questions"),
        "continued": Column("count", "answers longer than k, which the base had to finish"),
        **_spread("accuracy", "correct answers of the base behind the prefix / n", "Wilson"),
        **_spread(
            "prefix_accuracy",
            "prefixes that hold the right answer already, without the base",
            "Wilson",
        ),
        **_spread("guide_accuracy", "correct answers of the guide itself / n", "Wilson"),
        **_spread(
            "gap_closed",
            "(accuracy − base's own) / (guide's own − base's own)",
            "bootstrap over questions, paired; missing where guide and base are too close",
        ),
        "guide_identity": HASHES["guide_identity"],
        "base_identity": HASHES["base_identity"],
        **COMMON,
    },
}
"""Table to column to meaning."""
