"""The regime map as numbers: a table by run, and one by run, window and method."""

import math
from dataclasses import replace

import pandas as pd

from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.forecasts import COUNTED
from rlvr_dynamics.results.formatting import general, integer, interval, number, percent
from rlvr_dynamics.results.frames import known
from rlvr_dynamics.results.study import Study

from ..parts.paper_tables import SPREAD, Column, as_table
from .regimes import STATISTICS, forecasts, regimes

NEEDS = "Not measured: needs measure/norms.parquet and predictions/forecast.parquet."
RATE = Column("learning_rate", general, "learning rate")
SEEDS = (Column("base_seed", integer, "base seed"), "seed")
UPDATE = Column("relative_update", general, "‖ΔW‖/‖W‖")


def tables(study: Study) -> list[Table]:
    """Build the map as numbers: a table by run, and one by run, window and method."""
    return [_runs_table(regimes(study)), _methods_table(forecasts(study))]


def _runs_table(runs: pd.DataFrame) -> Table:
    runs = _with_spans(runs, {"update": 5, **dict.fromkeys(STATISTICS, 3)}, SPREAD)
    measured = len(runs) and len(known(runs, "relative_update"))
    runs = runs.sort_values(["control", "relative_update", "cell"]) if measured else runs.head(0)
    shown = [
        column
        for name, heading in STATISTICS.items()
        for column in (
            Column(name, number, heading, name + SPREAD),
            Column(f"{name}_null", number, "null"),
        )
    ]
    of_update = replace(UPDATE, interval=f"update{SPREAD}")
    return as_table(
        "regimes",
        "Regimes: size of the update, concentration and linearity",
        "One row per run, controls last, by the size of its update. ‖ΔW‖/‖W‖: median over tensors "
        "at the last step, with quartiles. σ₁/‖ΔW‖: mean over matrices of the last update. EV1: "
        "mean over tensors of component 1's share of the trajectory's variance. R² of a line "
        "through component 1's coefficient, in sample and held out (fitted on the first half): "
        "medians over tensors. Quartiles: over the tensors of the run, no interval. "
        "Nulls: Gaussian matrices; random walks with the same step norms.",
        runs.to_dict("records"),
        ["model", "algorithm", RATE, Column("steps", integer), *SEEDS, "control"]
        + [Column("rate_x_steps", general, "rate × steps"), of_update, *shown]
        + [Column("tensors", integer), "dtype", "cell"],
        NEEDS,
    )


def _methods_table(methods: pd.DataFrame) -> Table:
    if len(methods):
        # Keep windows of one run together, and order runs by the size of their updates.
        order = ["control", "relative_update", "cell", "observe"]
        methods = _with_spans(_with_spans(methods, {"skill": 3}, SPREAD), {"gain": 3})
        methods = methods.sort_values(order, kind="stable")
    rows = [
        {
            **row,
            "method": row["name"],
            "positive": ""
            if math.isnan(row["tensors"])
            else f"{row['positive']:.0f} of {row['tensors']:.0f}",
        }
        for row in methods.to_dict("records")
    ]
    return as_table(
        "regimes_by_method",
        "Regimes: every extrapolator against holding the last checkpoint",
        "Prediction of the last step from the observed share of the training. Skill: median over "
        "tensors of 1 − SSE / SSE of holding the last observed checkpoint (0 by definition for "
        "that one) with quartiles, and in how many tensors it is positive. "
        f"{COUNTED} Share of the gain: (accuracy − base) / (real last − base), in domain, paired "
        "95 % interval over n questions; a dash where training gained nothing.",
        rows,
        ["model", "algorithm", RATE, *SEEDS, "control", UPDATE, "method"]
        + [Column("share", lambda value: percent(value, 0), "observed")]
        + [Column("skill", number, "", f"skill{SPREAD}"), Column("positive", None, "positive in")]
        + [Column("gain", number, "share of the gain", "gain_interval")]
        + [Column("accuracy", percent), Column("questions", integer, "n"), "cell"],
        NEEDS,
    )


def _with_spans(
    table: pd.DataFrame, digits: dict[str, int], ending: str = "_interval"
) -> pd.DataFrame:
    """Add text columns `<name><ending>`, from `<name>_low` and `<name>_high`."""
    return table.assign(
        **{
            f"{name}{ending}": [
                interval(row[f"{name}_low"], row[f"{name}_high"], places)
                for row in table.to_dict("records")
            ]
            for name, places in digits.items()
        }
    )
