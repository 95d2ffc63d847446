"""AlphaRL's claims about behaviour, measured from the tables of the stage `behaviour`.

The paper gives figures but no thresholds; each threshold here is ours and is marked as ours.
"""

import math

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.claim import ALPHARL, AT_MOST_ONE, SHARE, Claim, Measured, Threshold
from rlvr_dynamics.claims.measures import over_tensors
from rlvr_dynamics.results.formatting import integer, number
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.statistics.intervals import Interval

LACKING = "needs the stage behaviour: the run's command with stages=[behaviour,report]"
GUIDE_TOKENS = 20


def _found(table: pd.DataFrame | None, **wanted: object) -> dict | None:
    if table is None or not set(wanted) <= set(table):
        return None
    rows = equal(table, **wanted).to_dict("records")
    return {str(name): value for name, value in rows[0].items()} if rows else None


def _interval(row: dict) -> Interval:
    return Interval(float(row["value"]), float(row["low"]), float(row["high"]))


def _greedy_agreement(results: Results, _observe: int | None) -> Measured | None:
    table = results.behaviour("summary")
    wanted = {"metric": "non_greedy_share", "reader": "base"}
    row = _found(table, writer="trained", **wanted)
    if row is None:
        return None
    against = _found(table, writer="random_update", **wanted)
    value = Interval(1 - row["value"], 1 - row["high"], 1 - row["low"])
    # Agreeing with the base takes no training, so a random update is not a null for it.
    other = "" if against is None else f"a random update's answers: {number(1 - against['value'])}"
    return Measured(value, int(row["answers"]), "answers").noted(
        f"{integer(row['tokens'])} tokens", other
    )


def _perplexity(results: Results, _observe: int | None) -> Measured | None:
    table = results.behaviour("summary")
    wanted = {"metric": "perplexity", "reader": "base"}
    rows = [_found(table, writer=writer, **wanted) for writer in ("base", "trained")]
    if rows[0] is None or rows[1] is None:
        return None
    own, other = (_interval(row) for row in rows if row is not None)
    logs = [np.log(own), np.log(other)]
    gap = logs[0][0] - logs[1][0]
    # The answers differ, so the two errors add in squares (MOVER, Zou and Donner 2008).
    low = gap - math.hypot(logs[0][0] - logs[0][1], logs[1][2] - logs[1][0])
    high = gap + math.hypot(logs[0][2] - logs[0][0], logs[1][0] - logs[1][1])
    value = Interval(*(math.exp(end) for end in (gap, low, high)))
    return Measured(value, int(rows[0]["answers"]), "answers").noted(
        f"perplexities {number(own.value)} and {number(other.value)}"
    )


def _guided(results: Results, _observe: int | None) -> Measured | None:
    table = results.behaviour("prefix")
    row = _found(table, guide="trained", guide_tokens=GUIDE_TOKENS)
    alone = _found(table, guide="trained", guide_tokens=0)
    if row is None or math.isnan(row["gap_closed"]):
        return None
    value = Interval(row["gap_closed"], row["gap_closed_low"], row["gap_closed_high"])
    null = math.nan
    if alone is not None:
        gap = row["guide_accuracy"] - alone["accuracy"]
        null = (row["prefix_accuracy"] - alone["accuracy"]) / gap if gap else math.nan
    return Measured(value, int(row["questions"]), "questions", null).noted(
        f"{integer(row['continued'])} of {integer(row['questions'])} answers are longer than the "
        "prefix"
    )


def _used_embeddings(results: Results, _observe: int | None) -> pd.DataFrame | None:
    table = results.behaviour("embeddings")
    if table is None:
        return None
    rows = equal(table, model="trained", used=True)
    return equal(rows, matrix="input") if "matrix" in rows and len(rows) else rows


def _early_tokens(results: Results, _observe: int | None) -> Measured | None:
    wanted = {"metric": "non_greedy_position", "reader": "base", "writer": "trained"}
    row = _found(results.behaviour("summary"), **wanted, bin_low=0.0)
    if row is None or math.isnan(row["value"]):
        return None
    value = Interval(*(end - row["null"] for end in _interval(row)))
    return Measured(value, int(row["answers"]), "answers").noted(
        f"{integer(row['non_greedy_tokens'])} such tokens"
    )


CLAIMS = [
    Claim(
        "A10",
        "alpharl",
        "Nearly every token of the trained model's answers is the base's own greedy choice.",
        f"{ALPHARL}, figure 12a; the bar is ours",
        "share of the trained model's tokens that are the base's most likely token at that place",
        Threshold(">", 0.9, about="share of the tokens"),
        needs=LACKING,
        measure=_greedy_agreement,
        needs_gain=True,
        bounds=SHARE,
    ),
    Claim(
        "A11",
        "alpharl",
        "The base finds the trained model's answers about as likely as its own.",
        f"{ALPHARL}, figure 12b; the bar is ours",
        "perplexity of the base on its own greedy answers / on the trained model's",
        Threshold(">", 0.9, about="ratio of perplexities"),
        needs=LACKING,
        measure=_perplexity,
        needs_gain=True,
    ),
    Claim(
        "A12",
        "alpharl",
        "The first 20 tokens of the trained model's answer suffice to guide the base to its "
        "accuracy.",
        f"{ALPHARL}, figure 14; the bar is ours",
        "(accuracy(base behind the prefix) − base) / (trained − base); null: the prefix alone, "
        "graded as an answer",
        Threshold(">", 0.9, about="share of the gain"),
        needs=LACKING,
        measure=_guided,
        needs_gain=True,
        null_counts=True,
    ),
    Claim(
        "A13",
        "alpharl",
        "Training hardly moves the embeddings of the tokens.",
        f"{ALPHARL}, figures 5b, 8 and 9; the bar is ours",
        "mean over the used tokens of cos(embedding of the base, of the trained model)",
        Threshold(">", 0.99, about="cosine"),
        needs=LACKING,
        measure=over_tensors(_used_embeddings, "cosine", unit="tokens"),
        needs_gain=True,
        bounds=AT_MOST_ONE,
    ),
    Claim(
        "A14",
        "alpharl",
        "Where the base would have written another token, it is early in the answer more often "
        "than anywhere.",
        f"{ALPHARL}, figure 12c; the bar is ours",
        "share of these tokens in the first tenth of the answer − share of all tokens there",
        Threshold(">", 0, about="difference of shares"),
        needs=LACKING,
        measure=_early_tokens,
        needs_gain=True,
    ),
]
