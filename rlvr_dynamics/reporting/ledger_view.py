"""How the claims ledger is shown."""

import re
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from rlvr_dynamics.claims.claim import Threshold
from rlvr_dynamics.claims.in_words import by_chance, ends, is_spread, measured_first
from rlvr_dynamics.claims.judge import NOT_MEASURED
from rlvr_dynamics.claims.ledger import BY_ID
from rlvr_dynamics.claims.over_runs import runs_in_words
from rlvr_dynamics.errors import shown
from rlvr_dynamics.reporting.artefact import split_cells
from rlvr_dynamics.results.formatting import DASH, integer, is_missing

MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "not measured": DASH}


def ledger_view(
    claims: pd.DataFrame,
    known: Collection[str] = (),
    files: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what the page shows of a run's or study's ledger.

    Args:
        claims: The result of `ledger_of_run` or `build_ledger` in `rlvr_dynamics.claims`.
        known: Names of the runs that have pages; only these become links. None on a run's page.
        files: Files with the ledger as a table, relative to the page's folder.
        notes: What a reader of all rows must know; empty ones are dropped.
    """
    below = [note for note in (by_chance(claims), *notes) if note]
    rows = [_row(row, known) for row in measured_first(claims).to_dict("records")]
    return {
        "runs": bool(known),
        "rows": [row for row in rows if row["verdict"] != NOT_MEASURED],
        "unmeasured": [row for row in rows if row["verdict"] == NOT_MEASURED],
        "verdicts": [verdict for verdict in MARKS if verdict in {row["verdict"] for row in rows}],
        "papers": list(dict.fromkeys(row["paper"] for row in rows)),
        "files": files,
        "notes": below,
    }


def _row(row: dict[Any, Any], known: Collection[str]) -> dict[str, Any]:
    bar, verdict = BY_ID[row["id"]].threshold, str(row["verdict"])
    control, n = row["control"], row["n"]
    cells = split_cells(_words(row, "cells"))
    return {
        **{key: _words(row, key) for key in ("id", "paper", "claim", "statistic", "note")},
        "threshold": str(bar),
        "verdict": verdict,
        "kind": verdict.replace(" ", "-"),
        "mark": MARKS[verdict],
        "order": list(MARKS).index(verdict),
        "source": link_papers(_words(row, "source")),
        "origin": "" if is_missing(row["printed"]) else _words(row, "printed_origin"),
        "over": _over(row),
        "regimes": _words(row, "by_learning_rate") if known else "",
        "printed": _in_unit(bar, row["printed"]),
        "ours": _in_unit(bar, row["ours"]),
        "interval": ends(row),
        "null": _in_unit(bar, row["null"]),
        "control": "" if is_missing(control) else f"control {_in_unit(bar, control)}",
        "runs": _runs(row["runs"]),
        "n": "" if is_missing(n) else f"{integer(n)} {_words(row, 'n_unit')}",
        "cells": [name for name in cells if name in known],
    }


def _in_unit(bar: Threshold, value: Any) -> str:
    return DASH if is_missing(value) else f"{bar.number(value)} {bar.unit}".rstrip()


def _over(row: dict[Any, Any]) -> str:
    over = _words(row, "interval_over")
    if is_spread(row):
        return f"Ends: {over}."
    return f"Interval over {over}." if over else ""


def _runs(count: Any) -> str:
    if is_missing(count) or not count:
        return DASH
    return runs_in_words(int(count))


def _words(row: dict[Any, Any], key: str) -> str:
    value = row[key]
    return "" if is_missing(value) else str(value)


def link_papers(source: str) -> Markup:
    """Turn arXiv numbers in a source into links, the only external ones on the page."""
    return Markup(  # noqa: S704 - escaped before the links go in
        re.sub(
            r"arXiv (\d{4}\.\d{4,5})",
            r'<a href="https://arxiv.org/abs/\1">arXiv \1</a>',
            str(escape(shown(source))),
        )
    )
