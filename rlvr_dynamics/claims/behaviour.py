"""AlphaRL's claims about behaviour, from the tables of `python -m rlvr_dynamics.behaviour`.

The paper gives figures and no bars for them; each bar here is ours and says so.
"""

import math
from functools import partial

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.measures import over_tensors
from rlvr_dynamics.claims.over_runs import AT_MOST_ONE, SHARE, LedgerClaim
from rlvr_dynamics.claims.quoted import NOT_PRINTED
from rlvr_dynamics.claims.update_claims import PAPER
from rlvr_dynamics.claims.verdicts import Claim, verdict_above
from rlvr_dynamics.results.formatting import integer, number
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.system.sealed import read_parquet

LACKING = "needs the behaviour tables: python -m rlvr_dynamics.behaviour run_dir=DIR"
FOLDER = "behaviour"  # below the run directory
GUIDE_TOKENS = 20


def _table(results: Results, name: str) -> pd.DataFrame | None:
    key = "behaviour", name
    if key not in results.memo:
        path = results.run_dir / FOLDER / f"{name}.parquet"
        results.memo[key] = read_parquet(path) if path.is_file() else None
    return results.memo[key]


def _found(table: pd.DataFrame | None, **wanted: object) -> dict | None:
    if table is None or not set(wanted) <= set(table):
        return None
    rows = equal(table, **wanted).to_dict("records")
    return {str(name): value for name, value in rows[0].items()} if rows else None


def _interval(row: dict) -> Interval:
    return Interval(float(row["value"]), float(row["low"]), float(row["high"]))


def _bare(words: Claim) -> Claim:
    return Claim(words.id, words.claim, words.source, words.statistic, words.threshold)


def greedy_agreement(results: Results) -> Claim:
    """A10: the base would have written nearly every token itself."""
    words = Claim(
        "A10",
        "Nearly every token of the trained model's answers is the base's own greedy choice.",
        f"{PAPER}, figure 12a; the bar is ours",
        "share of the trained model's tokens that are the base's most likely token at that place",
        "> 0.9",
        note=LACKING,
    )
    table = _table(results, "summary")
    wanted = {"metric": "non_greedy_share", "reader": "base"}
    row = _found(table, writer="trained", **wanted)
    if row is None:
        return words
    against = _found(table, writer="random_update", **wanted)
    value = Interval(1 - row["value"], 1 - row["high"], 1 - row["low"])
    # Agreement with the base is no achievement: what a random update reaches is no null of it.
    beside = "" if against is None else f"a random update's answers: {number(1 - against['value'])}"
    return (
        _bare(words)
        .measured(value, n=int(row["answers"]), n_unit="answers", verdict=verdict_above(value, 0.9))
        .noted(f"{integer(row['tokens'])} tokens", beside)
    )


def perplexity(results: Results) -> Claim:
    """A11: the base finds the trained model's answers about as likely as its own."""
    words = Claim(
        "A11",
        "The base finds the trained model's answers about as likely as its own.",
        f"{PAPER}, figure 12b; the bar is ours",
        "perplexity of the base on its own greedy answers / on the trained model's",
        "> 0.9",
        note=LACKING,
    )
    table = _table(results, "summary")
    wanted = {"metric": "perplexity", "reader": "base"}
    rows = [_found(table, writer=writer, **wanted) for writer in ("base", "trained")]
    if rows[0] is None or rows[1] is None:
        return words
    own, other = (_interval(row) for row in rows if row is not None)
    logs = [np.log(own), np.log(other)]
    gap = logs[0][0] - logs[1][0]
    # The answers differ, so the two errors are added in squares (MOVER, Zou and Donner 2008).
    low = gap - math.hypot(logs[0][0] - logs[0][1], logs[1][2] - logs[1][0])
    high = gap + math.hypot(logs[0][2] - logs[0][0], logs[1][0] - logs[1][1])
    value = Interval(*(math.exp(end) for end in (gap, low, high)))
    return (
        _bare(words)
        .measured(
            value,
            n=int(rows[0]["answers"]),
            n_unit="answers",
            verdict=verdict_above(value, 0.9),
        )
        .noted(f"perplexities {number(own.value)} and {number(other.value)}")
    )


def few_tokens_guide(results: Results) -> Claim:
    """A12: twenty tokens of the trained model's answer guide the base."""
    words = Claim(
        "A12",
        "The first 20 tokens of the trained model's answer suffice to guide the base to its "
        "accuracy.",
        f"{PAPER}, figure 14; the bar is ours",
        "(accuracy(base behind the prefix) − base) / (trained − base); null: the prefix alone, "
        "graded as an answer",
        "> 0.9",
        note=LACKING,
    )
    table = _table(results, "prefix")
    row = _found(table, guide="trained", guide_tokens=GUIDE_TOKENS)
    alone = _found(table, guide="trained", guide_tokens=0)
    if row is None or math.isnan(row["gap_closed"]):
        return words
    value = Interval(row["gap_closed"], row["gap_closed_low"], row["gap_closed_high"])
    null = math.nan
    if alone is not None:
        gap = row["guide_accuracy"] - alone["accuracy"]
        null = (row["prefix_accuracy"] - alone["accuracy"]) / gap if gap else math.nan
    return (
        _bare(words)
        .measured(
            value,
            n=int(row["questions"]),
            n_unit="questions",
            null=null,
            verdict=verdict_above(value, 0.9),
        )
        .against_null(0.9)
        .noted(
            f"{integer(row['continued'])} of {integer(row['questions'])} answers are longer than "
            "the prefix"
        )
    )


def embeddings_stay(results: Results) -> Claim:
    """A13: token embeddings hardly move."""
    words = Claim(
        "A13",
        "Training hardly moves the embeddings of the tokens.",
        f"{PAPER}, figures 5b, 8 and 9; the bar is ours",
        "mean over the used tokens of cos(embedding of the base, of the trained model)",
        "> 0.99",
        note=LACKING,
    )
    table = _table(results, "embeddings")
    if table is None:
        return words
    rows = equal(table, model="trained", used=True)
    if "matrix" in rows and len(rows):
        rows = equal(rows, matrix="input")
    row = over_tensors(results, words, rows, "cosine", threshold=0.99, n_unit="tokens")
    return row


def early_tokens(results: Results) -> Claim:
    """A14: the base and the trained model part early in the answer."""
    words = Claim(
        "A14",
        "Where the base would have written another token, it is early in the answer more often "
        "than anywhere.",
        f"{PAPER}, figure 12c; the bar is ours",
        "share of these tokens in the first tenth of the answer − share of all tokens there",
        "> 0",
        note=LACKING,
    )
    row = _found(
        _table(results, "summary"),
        metric="non_greedy_position",
        reader="base",
        writer="trained",
        bin_low=0.0,
    )
    if row is None or math.isnan(row["value"]):
        return words
    value = Interval(*(end - row["null"] for end in _interval(row)))
    return (
        _bare(words)
        .measured(value, n=int(row["answers"]), n_unit="answers", verdict=verdict_above(value, 0))
        .noted(f"{integer(row['non_greedy_tokens'])} such tokens")
    )


_claim = partial(LedgerClaim, paper="alpharl", printed=NOT_PRINTED, needs_gain=True)

CLAIMS: list[LedgerClaim] = [
    _claim(greedy_agreement, threshold=0.9, bounds=SHARE),
    _claim(perplexity, threshold=0.9),
    _claim(few_tokens_guide, threshold=0.9),
    _claim(embeddings_stay, threshold=0.99, bounds=AT_MOST_ONE),
    _claim(early_tokens, threshold=0),
]
