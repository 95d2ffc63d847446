"""How the claims ledger is shown."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from rlvr_dynamics.claims.run_ledger import format_interval, format_value
from rlvr_dynamics.claims.study_ledger import PRINTED_NUMBERS
from rlvr_dynamics.errors import shown
from rlvr_dynamics.reporting.artefact import split_cells
from rlvr_dynamics.results.formatting import DASH, integer, is_missing
from rlvr_dynamics.results.frames import select

MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "not measured": DASH}
# Columns that the ledger of one run does not have.
OF_A_STUDY = ("printed", "printed_origin", "interval_over", "by_learning_rate", "control")
OF_A_STUDY += ("runs", "cells")


def claims_in_words(claims: pd.DataFrame) -> list[str]:
    """How many claims hold, those about the papers' printed numbers alone in a sentence apart."""
    printed = claims["kind"] == PRINTED_NUMBERS
    told = [(~printed, "claims"), (printed, "claims about the papers’ printed numbers alone")]
    return [
        f"Of {mask.sum()} {words} {verdicts_in_words(select(claims, mask))}."
        for mask, words in told
        if mask.any()
    ]


def verdicts_in_words(claims: pd.DataFrame) -> str:
    """`3 hold, 2 fail, 4 are inconclusive and 11 are not measured`."""
    words = {
        "holds": ("holds", "hold"),
        "fails": ("fails", "fail"),
        "inconclusive": ("is inconclusive", "are inconclusive"),
        "not measured": ("is not measured", "are not measured"),
    }
    counts = Counter(str(verdict) for verdict in claims["verdict"])
    parts = [
        f"{counts[verdict]} {one if counts[verdict] == 1 else many}"
        for verdict, (one, many) in words.items()
        if counts[verdict]
    ]
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def ledger_view(
    claims: pd.DataFrame, known: Collection[str] = (), files: Sequence[str] = ()
) -> dict[str, Any]:
    """What the page shows of the ledger of a run or of a study.

    Args:
        claims: What `build_claims` or `build_ledger` of `rlvr_dynamics.claims` returned.
        known: Names of the runs that have pages; only these become links.
        files: The ledger as a table, from the folder of the page.
    """
    rows = [_row({**dict.fromkeys(OF_A_STUDY), **row}, known) for row in claims.to_dict("records")]
    return {"printed": "printed" in claims, "runs": "runs" in claims, "rows": rows, "files": files}


def _row(row: dict[Any, Any], known: Collection[str]) -> dict[str, Any]:
    threshold, verdict = _words(row, "threshold"), str(row["verdict"])
    control, n = row["control"], row["n"]
    cells = split_cells(_words(row, "cells"))
    return {
        **{key: _words(row, key) for key in ("id", "claim", "statistic", "note")},
        "threshold": threshold,
        "verdict": verdict,
        "kind": verdict.replace(" ", "-"),
        "mark": MARKS[verdict],
        "order": list(MARKS).index(verdict),
        "source": link_papers(_words(row, "source")),
        "origin": _words(row, "printed_origin"),
        "over": _words(row, "interval_over"),
        "regimes": _words(row, "by_learning_rate"),
        "printed": format_value(row["printed"], threshold),
        "ours": format_value(row["ours"], threshold),
        "interval": format_interval(row["ci_low"], row["ci_high"], threshold),
        "null": format_value(row["null"], threshold),
        "control": "" if is_missing(control) else f"control {format_value(control, threshold)}",
        "runs": _runs(row["runs"]),
        "n": "" if is_missing(n) else f"{integer(n)} {_words(row, 'n_unit')}",
        "cells": [name for name in cells if name in known],
    }


def _runs(count: Any) -> str:
    if is_missing(count) or not count:
        return DASH
    return f"{int(count)} run{'' if count == 1 else 's'}"


def _words(row: dict[Any, Any], key: str) -> str:
    value = row[key]
    return "" if is_missing(value) else str(value)


def link_papers(source: str) -> Markup:
    """The source with arXiv numbers as links, the only addresses on the page."""
    return Markup(  # noqa: S704 - escaped before the links go in
        re.sub(
            r"arXiv (\d{4}\.\d{4,5})",
            r'<a href="https://arxiv.org/abs/\1">arXiv \1</a>',
            str(escape(shown(source))),
        )
    )
