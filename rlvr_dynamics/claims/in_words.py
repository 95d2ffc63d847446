"""The ledger as text: the terminal view, and a summary of how many claims hold."""

import textwrap
from collections import Counter
from typing import Any

import pandas as pd

from rlvr_dynamics.claims.judge import FAILS, HOLDS, INCONCLUSIVE, NOT_MEASURED
from rlvr_dynamics.claims.ledger import BY_ID, PRINTED_NUMBERS
from rlvr_dynamics.claims.over_runs import SPREAD
from rlvr_dynamics.results.formatting import DASH, integer, is_missing, number, percent, text
from rlvr_dynamics.results.frames import select

WRONG_SIDE = 0.025
INDENT = " " * 22
IN_WORDS = {
    HOLDS: ("holds", "hold"),
    FAILS: ("fails", "fail"),
    INCONCLUSIVE: ("is inconclusive", "are inconclusive"),
    NOT_MEASURED: ("is not measured", "are not measured"),
}


def ledger_as_text(claims: pd.DataFrame, width: int = 98) -> str:
    """Format the ledger for the terminal, two to four lines per measured claim.

    Args:
        claims: The result of `ledger_of_run` (or claims.csv, read back).
        width: Width of the terminal, in columns.
    """
    lines: list[str] = []
    rows = [row for row in claims.to_dict("records") if not _printed_alone(row)]
    measured = [row for row in rows if row["verdict"] != NOT_MEASURED]
    for row in measured:
        head = f"{row['id']:<8}{str(row['verdict']).upper():<14}{row['claim']}"
        lines += textwrap.wrap(head, width, subsequent_indent=INDENT, break_long_words=False)
        lines += textwrap.wrap(
            _numbers(row), width, initial_indent=INDENT, subsequent_indent=INDENT
        )
    if missing := len(rows) - len(measured):
        lines.append(
            f"{missing} further claims were not measured; the report lists them with what they need"
        )
    return "\n".join(lines) + "\n"


def _printed_alone(row: dict[Any, Any]) -> bool:
    return row.get("kind") == PRINTED_NUMBERS


def _numbers(row: dict[Any, Any]) -> str:
    bar = BY_ID[row["id"]].threshold
    return (
        f"ours {bar.number(row['ours'])} {ends(row)} · "
        f"threshold {row['threshold']} · null {bar.number(row['null'])} · "
        f"n {integer(row['n'])} {text(row['n_unit'])}"
    )


def ends(row: dict[Any, Any]) -> str:
    """Return the interval of a row of the ledger, or the quartiles of its spread, marked so."""
    shown = BY_ID[row["id"]].threshold.interval(row["ci_low"], row["ci_high"])
    return f"quartiles {shown}" if is_spread(row) and shown != DASH else shown


def is_spread(row: dict[Any, Any]) -> bool:
    """Whether the ends of a row are quartiles over the tensors of one run, no interval."""
    return text(row.get("interval_over")).startswith(SPREAD)


def measured_first(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the ledger with measured claims first and the papers' own numbers last."""
    order = (claims["kind"] == PRINTED_NUMBERS) * 2 + (claims["verdict"] == NOT_MEASURED)
    return claims.iloc[order.argsort(kind="stable")]


def in_units(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the ledger as text: numbers in the unit of the threshold, n with its unit."""
    rows = [(BY_ID[row["id"]].threshold, row) for row in claims.to_dict("records")]
    values = ("printed", "ours", "null", "control")
    shown = {
        name: [bar.number(row[name]) for bar, row in rows]
        for name in values
        if name in claims and pd.api.types.is_float_dtype(claims[name])
    }
    shown["interval"] = [ends(row) for _, row in rows]
    shown["n"] = [
        "" if is_missing(row["n"]) else f"{integer(row['n'])} {row['n_unit']}".strip()
        for _, row in rows
    ]
    return claims.assign(**shown)


def claims_in_words(claims: pd.DataFrame) -> list[str]:
    """Say how many claims hold; claims about printed numbers alone get their own sentence."""
    printed = claims["kind"] == PRINTED_NUMBERS
    kinds = [(~printed, "claims"), (printed, "claims about the papers’ printed numbers alone")]
    return [
        f"Of {mask.sum()} {words} {_verdicts(select(claims, mask))}."
        for mask, words in kinds
        if mask.any()
    ]


def by_chance(claims: pd.DataFrame) -> str:
    """Say how many verdicts are expected to be wrong by chance; empty if none has an interval.

    A 95 % interval lies wholly on the wrong side of a threshold in at most 2.5 % of samples,
    wherever the true value is; expectations add up, however the claims depend on each other.
    """
    rows = [row for row in claims.to_dict("records") if row["verdict"] != NOT_MEASURED]
    rows = [row for row in rows if not _printed_alone(row)]
    tested = sum(not (is_spread(row) or is_missing(row["ci_low"])) for row in rows)
    exact = sum(is_spread(row) for row in rows)
    if not tested:
        return ""
    further = (
        f" {exact} more are exact for their one run and say nothing of others." if exact else ""
    )
    return (
        f"{tested} verdicts rest on a 95 % interval, each by itself: at most "
        f"{number(WRONG_SIDE * tested, 1)} of them are expected to hold or fail wrongly by chance "
        f"({tested} × {percent(WRONG_SIDE, 1)}), and as they share answers and runs, several may "
        f"be wrong together.{further}"
    )


def _verdicts(claims: pd.DataFrame) -> str:
    """`3 hold, 2 fail, 4 are inconclusive and 11 are not measured`."""
    counts = Counter(str(verdict) for verdict in claims["verdict"])
    parts = [
        f"{counts[verdict]} {one if counts[verdict] == 1 else many}"
        for verdict, (one, many) in IN_WORDS.items()
        if counts[verdict]
    ]
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)
