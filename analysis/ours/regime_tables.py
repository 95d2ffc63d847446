"""The regime map in numbers: one table by run, one by run, window and method."""

import math

import pandas as pd

from analysis.ours.regimes import forecasts, regimes
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.forecasts import COUNTED
from rlvr_dynamics.results.formatting import general, integer, interval, number, percent
from rlvr_dynamics.results.frames import numbers
from rlvr_dynamics.results.study import Study

NEEDS = "Not measured: needs measure/norms.parquet and predictions/forecast.parquet."


def tables(study: Study) -> list[Table]:
    """The map as numbers: one table by run, one by run, window and method."""
    runs, methods = regimes(study), forecasts(study)
    return [_runs_table(runs), _methods_table(methods)]


def _runs_table(runs: pd.DataFrame) -> Table:
    title = "Regimes: size of the update, concentration and linearity"
    if not len(runs) or not len(numbers(runs, "relative_update")):
        return Table("regimes", title, "", None, missing=NEEDS)
    runs = runs.sort_values(["control", "relative_update", "cell"]).reset_index(drop=True)
    frame = runs.filter(items=["model", "algorithm", "learning_rate", "steps", "seed", "control"])
    frame["rate_x_steps"] = runs["rate_x_steps"]
    frame["relative_update"] = runs["relative_update"]
    frame["quartiles"] = _spans(runs, "update", 5)
    for name in ("rank1_share", "variance_share", "r2", "heldout_r2"):
        frame[name] = runs[name]
        frame[f"{name}_interval"] = _spans(runs, name, 3)
        frame[f"{name}_null"] = runs[f"{name}_null"]
    frame["tensors"] = runs["tensors"]
    frame["dtype"] = runs["dtype"]
    frame["cell"] = runs["cell"]
    shares = ("rank1_share", "variance_share", "r2", "heldout_r2")
    headings = {
        "learning_rate": "learning rate",
        "rate_x_steps": "rate × steps",
        "relative_update": "‖ΔW‖/‖W‖",
        "rank1_share": "σ₁/‖ΔW‖",
        "variance_share": "EV1",
        "r2": "R²",
        "heldout_r2": "held-out R²",
    }
    for name in shares:
        headings |= {f"{name}_interval": "95 %", f"{name}_null": "null"}
    return Table(
        "regimes",
        title,
        "One row per run, controls last, by the size of its update. ‖ΔW‖/‖W‖: median over tensors "
        "at the last step, with quartiles. σ₁/‖ΔW‖: mean over matrices of the last update. EV1: "
        "mean over tensors of component 1's share of the trajectory's variance. R² of a line "
        "through component 1's coefficient, in sample and held out (fitted on the first half): "
        "medians over tensors. 95 %: bootstrap over tensors, which are not independent runs. "
        "Nulls: Gaussian matrices; random walks with the same step norms.",
        frame,
        {
            **dict.fromkeys(["learning_rate", "rate_x_steps", "relative_update"], general),
            **dict.fromkeys(["steps", "seed", "tensors"], integer),
            **dict.fromkeys([*shares, *(f"{name}_null" for name in shares)], number),
        },
        headings,
    )


def _methods_table(methods: pd.DataFrame) -> Table:
    title = "Regimes: every extrapolator against holding the last checkpoint"
    if not len(methods):
        return Table("regimes_by_method", title, "", None, missing=NEEDS)
    # Windows of one run stay together, the runs in the order of their updates.
    methods = methods.sort_values(
        ["control", "relative_update", "cell", "observe"], kind="stable"
    ).reset_index(drop=True)
    frame = methods.filter(items=["model", "algorithm", "learning_rate", "seed", "control"])
    frame["relative_update"] = methods["relative_update"]
    frame["method"] = methods["name"]
    frame["share"] = methods["share"]
    frame["skill"] = methods["skill"]
    frame["skill_interval"] = _spans(methods, "skill", 3)
    frame["positive"] = [
        "" if math.isnan(row["tensors"]) else f"{row['positive']:.0f} of {row['tensors']:.0f}"
        for row in methods.to_dict("records")
    ]
    frame["gain"] = methods["gain"]
    frame["gain_interval"] = _spans(methods, "gain", 3)
    frame["accuracy"] = methods["accuracy"]
    frame["questions"] = methods["questions"]
    frame["cell"] = methods["cell"]
    return Table(
        "regimes_by_method",
        title,
        "Prediction of the last step from the observed share of the training. Skill: median over "
        "tensors of 1 − SSE / SSE of holding the last observed checkpoint (0 by definition for "
        "that one), 95 % bootstrap over tensors, and in how many tensors it is positive. "
        f"{COUNTED} Share of the gain: (accuracy − base) / (real last − base), in domain, paired "
        "95 % interval over n questions; a dash where training gained nothing.",
        frame,
        {
            **dict.fromkeys(["learning_rate", "relative_update"], general),
            **dict.fromkeys(["seed", "questions"], integer),
            **dict.fromkeys(["skill", "gain"], number),
            "share": lambda value: percent(value, 0),
            "accuracy": percent,
        },
        {
            "learning_rate": "learning rate",
            "relative_update": "‖ΔW‖/‖W‖",
            "share": "observed",
            "skill_interval": "95 %",
            "positive": "positive in",
            "gain": "share of the gain",
            "gain_interval": "95 %",
            "questions": "n",
        },
    )


def _spans(table: pd.DataFrame, name: str, digits: int) -> list[str]:
    return [
        interval(row[f"{name}_low"], row[f"{name}_high"], digits)
        for row in table.to_dict("records")
    ]
