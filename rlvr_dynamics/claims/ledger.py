"""The claims ledger: every claim of the papers with the verdict of one run or many.

One row per claim over all comparable runs (`claims`), the same by model and learning rate
(`claims_by_regime`), and one row per claim and run (`claims_by_run`). The ledger of a run is the
ledger of a study with one run.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from rlvr_dynamics.claims import (
    acceleration,
    alpharl,
    alpharl_left_vectors,
    alpharl_weights,
    behaviour,
    direction,
    follow_up,
    preconditions,
    printed_numbers,
    relex,
    relex_forecasts,
    relex_trajectory,
    weight_lines,
)
from rlvr_dynamics.claims.claim import PAPERS, Claim
from rlvr_dynamics.claims.judge import Judged, judge, judge_printed
from rlvr_dynamics.claims.over_runs import runs_in_words
from rlvr_dynamics.claims.printed_numbers import PrintedClaim
from rlvr_dynamics.results.formatting import is_missing
from rlvr_dynamics.results.readings import without_repeats
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import NO_CONTROL, Cell, Study
from rlvr_dynamics.statistics.intervals import UNDEFINED

MEASURED_HERE, PRINTED_NUMBERS = "measured here", "printed numbers"
COLUMNS = (
    ("id", "paper", "kind", "claim", "source", "statistic", "threshold")
    + ("printed", "printed_origin", "ours", "ci_low", "ci_high", "interval_over")
    + ("runs", "n", "n_unit", "null", "control", "control_runs", "verdict")
    + ("by_learning_rate", "note", "cells")
)
WORDS = (
    "95 % intervals: over runs Student's t of their mean, never narrower than that of the means of "
    "runs that share a base model and its questions (one base seed), nor than the runs' own "
    "intervals allow; of one run its own (bootstrap over questions, Wilson for shares). A number "
    "over the tensors of one run has none: its quartiles are a spread, and its value decides for "
    "that run. Runs are algorithms, base seeds and training seeds. Controls stand apart."
)


def _place(claim: Claim) -> tuple[int, int]:
    """Sort key: paper, then number; claims with the same number keep their declared order."""
    number = re.match(r"\d+", claim.id[1:])
    return "PABFO".index(claim.id[0]), int(number[0]) if number else 0


CLAIMS: tuple[Claim, ...] = tuple(
    sorted(
        (
            *preconditions.CLAIMS,
            *alpharl.CLAIMS,
            *alpharl_left_vectors.CLAIMS,
            *alpharl_weights.CLAIMS,
            *behaviour.CLAIMS,
            *relex.CLAIMS,
            *relex_trajectory.CLAIMS,
            *relex_forecasts.CLAIMS,
            *follow_up.CLAIMS,
            *weight_lines.CLAIMS,
            *direction.CLAIMS,
            *acceleration.CLAIMS,
        ),
        key=_place,
    )
)
BY_ID: dict[str, Claim | PrintedClaim] = {
    claim.id: claim for claim in (*CLAIMS, *printed_numbers.CLAIMS)
}


def build_ledger(study: Study) -> pd.DataFrame:
    """Build the ledger, one row per claim.

    Returns:
        The columns `COLUMNS`. `printed` is the paper's number and `ours` the mean over runs, both
        in the unit of `statistic` (float64, NaN if there is none); `verdict` is about ours. A
        row of the kind `printed numbers` uses the papers' printed numbers alone: `printed` is
        computed from them, `ours` is NaN, `n` counts the cases, and the verdict says whether all
        of them meet the threshold.
    """
    runs, controls = _apart(study.cells)
    rows = [_row(claim, judge(claim, runs, controls)) for claim in CLAIMS]
    rows += [_printed_row(claim, judge_printed(claim)) for claim in printed_numbers.CLAIMS]
    return _whole(pd.DataFrame(rows, columns=list(COLUMNS)), "runs", "n", "control_runs")


def ledger_of_run(results: Results) -> pd.DataFrame:
    """Build the ledger of one run, as a study with a single run."""
    return build_ledger(Study((Cell(results.run_dir.resolve().name, results),)))


def build_by_regime(study: Study) -> pd.DataFrame:
    """Build one row per claim, model and learning rate, for claims measured by at least one run."""
    runs, controls = _apart(study.cells)
    return pd.DataFrame(
        [
            {"id": claim.id, "claim": claim.words, "regime": name}
            | {"threshold": str(claim.threshold)}
            | _numbers(found)
            for claim in CLAIMS
            for name, found in judge(claim, runs, controls).regimes
            if found.runs
        ]
    )


def build_by_run(study: Study) -> pd.DataFrame:
    """Build one row per run (controls included) and claim that it measured."""
    rows = [
        _run_row(claim, cell, found)
        for claim in CLAIMS
        for cell in study.cells
        for found in [judge(claim, [cell], study=_apart(study.cells)[0])]
        if not is_missing(found.value.value)
    ]
    return _whole(pd.DataFrame(rows), "n") if rows else pd.DataFrame()


def _apart(cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Split runs from controls; if all are controls, the ledger is about them.

    A training counts once, however many runs read its checkpoints.
    """
    cells = without_repeats(cells)
    runs = [cell for cell in cells if cell.control == NO_CONTROL]
    controls = [cell for cell in cells if cell.control != NO_CONTROL]
    return (runs, controls) if runs else (controls, [])


def _whole(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return table.astype(dict.fromkeys(columns, "Int64"))


def _words(claim: Claim | PrintedClaim) -> dict[str, object]:
    return {
        "id": claim.id,
        "paper": PAPERS[claim.paper],
        "claim": claim.words,
        "source": claim.source,
        "statistic": claim.statistic,
        "threshold": str(claim.threshold),
    }


def _numbers(found: Judged) -> dict[str, object]:
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
        "note": "; ".join(found.notes),
        "cells": ", ".join(found.cells),
    }


def _row(claim: Claim, found: Judged) -> dict[str, object]:
    return {
        **_words(claim),
        "kind": MEASURED_HERE,
        "printed": claim.printed.value,
        "printed_origin": claim.printed.origin,
        "by_learning_rate": "; ".join(
            f"{name}: {part.verdict}, {claim.threshold.number(part.value.value)} "
            f"({runs_in_words(part.runs)})"
            for name, part in found.regimes
            if part.runs
        ),
        **_numbers(found),
    }


def _printed_row(claim: PrintedClaim, found: Judged) -> dict[str, object]:
    return {
        **_words(claim),
        "kind": PRINTED_NUMBERS,
        "printed": found.value.value,
        "printed_origin": f"recomputed from the printed numbers; {claim.origin}",
        "by_learning_rate": "",
        **_numbers(replace(found, value=UNDEFINED)),
    }


def _run_row(claim: Claim, cell: Cell, found: Judged) -> dict[str, object]:
    numbers = _numbers(found)
    kept = ("ours", "ci_low", "ci_high", "interval_over", "n", "n_unit", "null", "verdict", "note")
    return {
        "id": claim.id,
        "claim": claim.words,
        "model": cell.model,
        "algorithm": cell.algorithm,
        "learning_rate": cell.learning_rate,
        "base_seed": cell.base_seed,
        "seed": cell.seed,
        "control": "" if cell.control == NO_CONTROL else cell.control.replace("_", " "),
        "threshold": str(claim.threshold),
        **{name: numbers[name] for name in kept},
        "cell": cell.name,
    }
