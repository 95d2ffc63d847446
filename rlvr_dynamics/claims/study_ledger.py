"""The claims ledger over all runs: every quantitative claim, the papers' numbers and ours.

One row per claim over all comparable runs (`claims`), the same by model and learning rate
(`claims_by_regime`), and one row per claim and run (`claims_by_run`).
"""

import math
from collections.abc import Sequence

import pandas as pd

from rlvr_dynamics.claims import alpharl as alpharl_claims
from rlvr_dynamics.claims import behaviour as behaviour_claims
from rlvr_dynamics.claims import follow_up as follow_up_claims
from rlvr_dynamics.claims import printed_numbers as printed_claims
from rlvr_dynamics.claims import relex as relex_claims
from rlvr_dynamics.claims.over_runs import LedgerClaim, Pooled, pool
from rlvr_dynamics.claims.printed_numbers import PrintedClaim
from rlvr_dynamics.claims.run_ledger import format_value
from rlvr_dynamics.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, Claim
from rlvr_dynamics.results.formatting import scientific
from rlvr_dynamics.results.study import NO_CONTROL, Cell, Study

DEPENDS = "holds at one learning rate and fails at another: read them apart"
MEASURED_HERE, PRINTED_NUMBERS = "measured here", "printed numbers"
CLAIMS: tuple[LedgerClaim, ...] = (
    *alpharl_claims.CLAIMS,
    *behaviour_claims.CLAIMS,
    *relex_claims.CLAIMS,
    *follow_up_claims.CLAIMS,
)
PAPERS = {
    "both": "both papers",
    "alpharl": "AlphaRL",
    "relex": "RELEX",
    "follow_up": "other papers",
    "ours": "ours",
}
COLUMNS = (
    ("id", "paper", "kind", "claim", "source", "statistic", "threshold")
    + ("printed", "printed_origin", "ours", "ci_low", "ci_high", "interval_over")
    + ("runs", "n", "n_unit", "null", "control", "control_runs", "verdict")
    + ("by_learning_rate", "note", "cells")
)
WORDS = (
    "95 % intervals: over runs Student's t of their mean, never narrower than that of the means of "
    "runs that share a base model and its questions (one seed), nor than the runs' own intervals "
    "allow; of one run its own (bootstrap over questions or tensors, Wilson for shares). "
    "Runs are algorithms and seeds; those of one seed share their base model. Controls stand apart."
)


def build_ledger(study: Study) -> pd.DataFrame:
    """The ledger: one row per claim.

    Returns:
        The columns `COLUMNS`. `printed` is the paper's number and `ours` the mean over runs, both
        in the unit of `statistic` (float64, NaN where there is none); `verdict` is about ours. A
        row of the kind `printed numbers` is computed from the papers' printed numbers alone: there
        `printed` is what they give, `ours` is NaN, `n` counts the cases, and the verdict says
        whether all of them meet the bar.
    """
    rows = [_row(claim, study.cells) for claim in CLAIMS]
    rows += [_printed_row(claim()) for claim in printed_claims.CLAIMS]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"runs": "Int64", "n": "Int64", "control_runs": "Int64"})


def _words(claim: LedgerClaim, head: Claim) -> dict[str, object]:
    return {
        "id": head.id,
        "paper": PAPERS[claim.paper],
        "claim": head.claim,
        "source": head.source,
        "statistic": head.statistic,
        "threshold": head.threshold,
    }


def _numbers(found: Pooled) -> dict[str, object]:
    return {
        "ours": found.value.value,
        "ci_low": found.value.low,
        "ci_high": found.value.high,
        "interval_over": found.over,
        "runs": found.runs,
        "n": found.n,
        "n_unit": found.n_unit,
        "null": found.null,
        "control": found.control,
        "control_runs": found.control_runs,
        "verdict": found.verdict,
        "note": "; ".join(note for note in found.notes if note),
        "cells": ", ".join(found.cells),
    }


def _row(claim: LedgerClaim, cells: Sequence[Cell]) -> dict[str, object]:
    found = pool(claim, cells)
    regimes = _pooled_by_regime(claim, cells)
    numbers = _numbers(found)
    if {HOLDS, FAILS} <= {part.verdict for _, part in regimes}:
        # A mean over regimes that contradict each other is about none of them.
        numbers["verdict"] = INCONCLUSIVE
        told = [DEPENDS, str(numbers["note"])]
        if found.verdict != INCONCLUSIVE:  # that one says it by itself
            told.append(found.one_by_one)
        numbers["note"] = "; ".join(part for part in told if part)
    return {
        **_words(claim, claim.head),
        "kind": MEASURED_HERE,
        "printed": claim.printed.value,
        "printed_origin": claim.printed.origin,
        "by_learning_rate": "; ".join(
            f"{name}: {part.verdict}, "
            f"{format_value(part.value.value, claim.head.threshold)} ({_count(part.runs)})"
            for name, part in regimes
            if part.runs
        ),
        **numbers,
    }


def _count(runs: int) -> str:
    return f"{runs} run{'' if runs == 1 else 's'}"


def _pooled_by_regime(claim: LedgerClaim, cells: Sequence[Cell]) -> list[tuple[str, Pooled]]:
    groups: dict[str, list[Cell]] = {}
    several = len({cell.model for cell in cells}) > 1
    for cell in sorted(cells, key=_size):
        name = f"{cell.model}, {_regime(cell)}" if several else _regime(cell)
        groups.setdefault(name, []).append(cell)
    return [(name, pool(claim, group)) for name, group in groups.items()]


def _regime(cell: Cell) -> str:
    rate = "" if cell.learning_rate is None else f"lr {scientific(cell.learning_rate)}"
    steps = "" if cell.steps is None else f"{cell.steps} steps"
    return " x ".join(part for part in (rate, steps) if part) or "unknown"


def _size(cell: Cell) -> tuple[str, float, int]:
    return (cell.model, cell.learning_rate or 0.0, cell.steps or 0)


def _printed_row(claim: PrintedClaim) -> dict[str, object]:
    return {
        "id": claim.id,
        "paper": PAPERS[claim.paper],
        "kind": PRINTED_NUMBERS,
        "claim": claim.claim,
        "source": claim.source,
        "statistic": claim.statistic,
        "threshold": claim.threshold,
        "printed": claim.value,
        "printed_origin": f"recomputed from the printed numbers; {claim.origin}",
        **_numbers(Pooled(n=claim.cases, n_unit=claim.unit, verdict=claim.verdict)),
        "by_learning_rate": "",
        "note": f"from the papers' own numbers, no run of ours; {claim.note}",
    }


def build_by_regime(study: Study) -> pd.DataFrame:
    """One row per claim, model and learning rate, for the claims that some run measured."""
    rows = []
    for claim in CLAIMS:
        for name, found in _pooled_by_regime(claim, study.cells):
            if found.runs:
                words = _words(claim, claim.head)
                rows.append(
                    {"id": words["id"], "claim": words["claim"], "regime": name}
                    | {"threshold": words["threshold"]}
                    | _numbers(found)
                )
    return pd.DataFrame(rows)


def build_by_run(study: Study) -> pd.DataFrame:
    """One row per claim and run, controls among them, for the claims that the run measured."""
    rows = []
    for claim in CLAIMS:
        for cell in study.cells:
            if not claim.fits(cell) and cell.control == NO_CONTROL:
                continue
            found = claim.of(cell)
            if not math.isnan(found.ours):
                rows.append(_run_row(cell, found))
    return pd.DataFrame(rows).astype({"n": "Int64"}) if rows else pd.DataFrame()


def _run_row(cell: Cell, found: Claim) -> dict[str, object]:
    return {
        "id": found.id,
        "claim": found.claim,
        "model": cell.model,
        "algorithm": cell.algorithm,
        "learning_rate": cell.learning_rate,
        "seed": cell.seed,
        "control": "" if cell.control == NO_CONTROL else cell.control.replace("_", " "),
        "threshold": found.threshold,
        "ours": found.ours,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "n": found.n,
        "n_unit": found.n_unit,
        "null": found.null,
        "verdict": found.verdict,
        "note": found.note,
        "cell": cell.name,
    }
