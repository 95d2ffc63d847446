"""Both clocks and all nulls over learning rates: what looks straight, and what can be forecast."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.forecasts import COUNTED, skill
from rlvr_dynamics.results.formatting import general, integer, number, share_of_training
from rlvr_dynamics.results.frames import equal, median, on_clock
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import NO_CONTROL, Cell, Study
from rlvr_dynamics.schema.tables import NULL_WALKS

from ..parts.paper_tables import Column, as_table
from ..parts.run_groups import groups

NEEDS = "Not measured: needs measure/linearity.parquet."
WINDOW = 0.2  # share of the training that forecasts have seen
METHODS = {"weight_extrapolation": "two-point line", "relex": "RELEX"}
CLOCKS = {"step": "step", "path": "path"}
NULLS = {"walk": "independent steps", "optimizer": "optimizer's noise", "drift": "noise and drift"}


def _statistics() -> dict[str, Callable[[Results], float]]:
    """Return what the table has of a run, by heading."""
    found: dict[str, Callable[[Results], float]] = {"EV1": _variance("explained_variance")}
    for name, words in NULLS.items():
        found[f"EV1 of {words}"] = _variance(f"{NULL_WALKS[name].of_variance}_mean")
    for clock in CLOCKS:
        found[f"held-out R², {clock}"] = _line(clock, "heldout_r2")
    for name in ("optimizer", "drift"):
        column = f"{NULL_WALKS[name].of_score('heldout_r2')}_mean"
        found[f"held-out R², path, of {NULLS[name]}"] = _line("path", column)
    found["drift share"] = _variance("optimizer_drift_share")
    for method, words in METHODS.items():
        for clock in CLOCKS:
            label = method if clock == "step" else f"{method}_path"
            found[f"skill of {words}, {clock}"] = _skill(label)
    return found


def _variance(column: str) -> Callable[[Results], float]:
    def of(results: Results) -> float:
        table = results.tables["trajectory_svd"]
        return np.nan if table is None else median(equal(table, index=1), column)

    return of


def _line(clock: str, column: str) -> Callable[[Results], float]:
    def of(results: Results) -> float:
        table = results.tables["linearity"]
        return np.nan if table is None else median(on_clock(table, clock), column)

    return of


def _skill(label: str) -> Callable[[Results], float]:
    def of(results: Results) -> float:
        observe = results.window_near(WINDOW)
        return np.nan if observe is None else skill(results, label, observe)

    return of


STATISTICS = _statistics()


def clocks_tables(study: Study) -> list[Table]:
    """Build one row per model, algorithm, learning rate and control: means over its runs."""
    rows = clock_rows(study)
    shown = [name for name in STATISTICS if any(np.isfinite(row[name]) for row in rows)]
    return [
        as_table(
            "clocks_over_rates",
            "Both clocks over learning rates",
            "Mean over runs of each run's median over tensors, and lowest and highest run where "
            "there are several. Held out: the line through component 1's coefficient fitted on the "
            "first half of the steps, against the step number or the length of the path Σ ‖W_t − "
            "W_t−1‖. Skill: 1 − SSE / SSE(hold the last observed checkpoint) of the last step, "
            "from the window in the column `observed`; on the path clock the path is continued "
            f"from that window alone. {COUNTED} EV1: component 1's explained variance. Nulls have "
            "each run's step norms: independent steps, the steps of the run's optimizer on noise, "
            "and those with one constant drift of the share that increments at least 30 steps "
            "apart have in common (drift share).",
            rows,
            ["model", "algorithm", Column("learning rate", general), "control"]
            + [Column("runs", integer), Column("steps", integer), "observed"]
            + [part for name in shown for part in _columns(name, rows)]
            + ["cells"],
            NEEDS,
        )
    ]


def clock_rows(study: Study) -> list[dict[str, Any]]:
    """Return the table's rows; beside each statistic its lowest and highest run as numbers."""
    cells = [cell for cell in study.cells if cell.results.tables["linearity"] is not None]
    return [_row(list(group.cells)) for group in groups(cells, by_algorithm=True)]


def _columns(name: str, rows: list[dict[str, Any]]) -> list[Column]:
    several = any(row[f"{name} over runs"] for row in rows)
    return [Column(name, number)] + ([Column(f"{name} over runs", None, "runs")] * several)


def _row(cells: list[Cell]) -> dict[str, Any]:
    first = cells[0]
    observed = {
        share_of_training(observe, cell.results.final_step)
        for cell in cells
        if (observe := cell.results.window_near(WINDOW)) and cell.results.final_step
    }
    row: dict[str, Any] = {
        "model": first.model,
        "algorithm": first.algorithm,
        "learning rate": first.learning_rate,
        "control": "" if first.control == NO_CONTROL else first.control.replace("_", " "),
        "runs": len(cells),
        "steps": max(cell.steps or 0 for cell in cells) or None,
        "observed": ", ".join(sorted(observed)),
        "cells": ", ".join(cell.name for cell in cells),
    }
    for name, of in STATISTICS.items():
        found = np.array([of(cell.results) for cell in cells])
        found = found[np.isfinite(found)]
        row[name] = float(found.mean()) if len(found) else np.nan
        low, high = (found.min(), found.max()) if len(found) else (np.nan, np.nan)
        row |= {f"{name} low": float(low), f"{name} high": float(high)}
        several = len(found) > 1
        row[f"{name} over runs"] = f"{number(low)} to {number(high)}" if several else ""
    return row


ARTEFACTS: list[Artefact] = [
    Artefact(
        "clocks_over_rates",
        "ours",
        "",
        "Both clocks over learning rates",
        "Held out and in forecasts, the step number bends what the length of the path keeps "
        "straight; explained variance beside the optimizer's noise says little about either.",
        "regimes",
        clocks_tables,
    )
]
