"""The numbers of the regime map: how far each run moved its weights, how predictable it was."""

import math
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.judge import learned
from rlvr_dynamics.claims.measures import prediction
from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.forecasts import HOLD_LAST, own_forecasts
from rlvr_dynamics.results.frames import (
    equal,
    known,
    last_step,
    mean,
    median,
    numbers,
    on_clock,
    select,
)
from rlvr_dynamics.results.methods import method_rank
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import PairedAccuracy, paired_accuracy
from rlvr_dynamics.results.study import NO_CONTROL, Cell, Study
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval, with_quartiles
from rlvr_dynamics.statistics.paired import GAIN

STATISTICS = {  # name and heading
    "rank1_share": "σ₁/‖ΔW‖",
    "variance_share": "EV1",
    "r2": "R²",
    "heldout_r2": "held-out R²",
}


def regimes(study: Study) -> pd.DataFrame:
    """Return one row per run: its size, and statistics of its updates and trajectory.

    Returns:
        cell, model, algorithm, learning_rate, steps, base_seed, seed, control (empty for none),
        dtype;
        rate_x_steps (learning rate x steps); relative_update, the median over tensors of
        ‖ΔW‖/‖W‖ at the last step, between its quartiles update_low and update_high; then, with
        `_low`, `_high` (quartiles over tensors) and `_null`: rank1_share (mean over matrices
        of σ₁/‖ΔW‖; null: Gaussian matrices), variance_share (mean over tensors of component 1's
        explained variance), r2 and heldout_r2 (medians over tensors, of component 1's line; nulls
        of all three: random walks with the same step norms); learned. float64, NaN where missing.
    """
    return pd.DataFrame([_regime(cell) for cell in study.cells])


def _regime(cell: Cell) -> dict[str, Any]:
    results = cell.results
    steps, rate = cell.steps, cell.learning_rate
    return {
        "cell": cell.name,
        "model": cell.model,
        "algorithm": cell.algorithm,
        "learning_rate": math.nan if rate is None else rate,
        "steps": math.nan if steps is None else steps,
        "base_seed": cell.base_seed,
        "seed": cell.seed,
        "control": "" if cell.control == NO_CONTROL else cell.control.replace("_", " "),
        "dtype": results.dtype,
        "rate_x_steps": math.nan if rate is None or steps is None else rate * steps,
        **_measure(results),
    }


@once_per_run
def _measure(results: Results) -> dict[str, Any]:
    tables, row = results.tables, {}
    norms = tables["norms"]
    moved = (
        np.empty(0)
        if norms is None
        else numbers(equal(norms, step=last_step(norms)), "relative_update")
    )
    row["relative_update"] = float(np.median(moved)) if len(moved) else math.nan
    low, high = np.quantile(moved, [0.25, 0.75]) if len(moved) else (math.nan, math.nan)
    row |= {"update_low": float(low), "update_high": float(high)}
    updates, trajectory = tables["update_svd"], tables["trajectory_svd"]
    if updates is not None:
        updates = equal(updates, step=last_step(updates), index=1)
    if trajectory is not None:
        trajectory = equal(trajectory, index=1)
    lines = tables["linearity"]
    lines = None if lines is None else on_clock(lines)
    row |= _statistic("rank1_share", updates, "norm_share", "norm_share_null", np.mean)
    row |= _statistic("variance_share", trajectory, "explained_variance", "null_mean", np.mean)
    row |= _statistic("r2", lines, "r2", "r2_null_mean", np.median)
    row |= _statistic("heldout_r2", lines, "heldout_r2", "heldout_r2_null_mean", np.median)
    row["tensors"] = math.nan if trajectory is None else len(known(trajectory, "tensor"))
    row["learned"] = learned(results)
    return row


def _statistic(
    name: str, table: pd.DataFrame | None, column: str, null: str, of: Any
) -> dict[str, float]:
    found = np.empty(0) if table is None else numbers(table, column)
    value = with_quartiles(found, of)
    centre = mean if of is np.mean else median
    beside = math.nan if table is None else centre(table, null)
    return {
        name: value.value,
        f"{name}_low": value.low,
        f"{name}_high": value.high,
        f"{name}_null": beside,
    }


def forecasts(study: Study) -> pd.DataFrame:
    """Return one row per run, observed window and method that predicted the last step.

    Holding the last observed checkpoint has its own row: its skill is 0 by definition.

    Returns:
        cell, model, algorithm, learning_rate, steps, base_seed, seed, control, relative_update;
        method (its label), name (for readers), observe (last observed step), share (of the
        training); skill (median of 1 − SSE / SSE of holding the last checkpoint over the tensors
        that the method forecasts, their quartiles in skill_low and skill_high), tensors (number of
        these), positive (number of them with a skill above 0);
        gain ((accuracy − base) / (real final − base), in domain, paired 95 % interval in gain_low
        and gain_high), accuracy, questions. NaN where missing; `gain` is also NaN if training did
        not raise the accuracy.
    """
    rows: list[dict[str, Any]] = []
    for cell in study.cells:
        here = _regime(cell)
        names = [
            "cell",
            "model",
            "algorithm",
            "learning_rate",
            "steps",
            "base_seed",
            "seed",
            "control",
        ]
        common = {name: here[name] for name in [*names, "relative_update"]}
        rows += [{**common, **row} for row in _forecasts(cell.results)]
    return pd.DataFrame(rows)


@once_per_run
def _forecasts(results: Results) -> list[dict[str, Any]]:
    final, table, scores = results.final_step, results.tables["forecast"], results.tables["scores"]
    if final is None:
        return []
    parts = [
        equal(part, step=final).filter(items=["method", "observe"])
        for part in (table, scores)
        if part is not None
    ]
    if not parts:
        return []
    pairs = known(pd.concat(parts), "observe").drop_duplicates()
    pairs = select(pairs, (pairs["observe"] > 0) & (pairs["observe"] < final))
    found = {(int(row["observe"]), str(row["method"])) for row in pairs.to_dict("records")}
    found |= {(observe, HOLD_LAST) for observe, _ in found}
    order = sorted(found, key=lambda pair: (pair[0], method_rank(pair[1])))
    models = [str(prediction(method, observe, final)) for observe, method in order]
    accuracies = _paired(results, list(dict.fromkeys([*models, f"step_{final}", "base"])))
    return [_forecast(results, method, observe, final, accuracies) for observe, method in order]


def _paired(results: Results, models: list[str]) -> PairedAccuracy | None:
    """Pair the models scored in domain on their common questions, with one bootstrap for all."""
    benchmarks = results.benchmarks("in_domain")
    scored = [
        model for model in models if all(results.has_samples(model, name) for name in benchmarks)
    ]
    return paired_accuracy(results, scored, benchmarks) if scored and benchmarks else None


def _forecast(
    results: Results, method: str, observe: int, final: int, paired: PairedAccuracy | None
) -> dict[str, Any]:
    table = results.tables["forecast"]
    skills = np.empty(0)
    if table is not None and method != HOLD_LAST:
        rows = equal(table, method=method, observe=observe, step=final)
        skills = numbers(own_forecasts(rows), "skill")
    skill = with_quartiles(skills, np.median)
    if method == HOLD_LAST:
        skill = Interval(0.0, math.nan, math.nan)
    wanted = [str(prediction(method, observe, final)), f"step_{final}", "base"]
    gain, accuracy = UNDEFINED, math.nan
    if paired is not None and wanted[0] in paired:
        accuracy = float(paired.means[paired.models.index(wanted[0])])
        if learned(results):
            gain = paired.compare(GAIN, *wanted)
    return {
        "method": method,
        "name": results.method_name(method),
        "observe": observe,
        "share": observe / final,
        "skill": skill.value,
        "skill_low": skill.low,
        "skill_high": skill.high,
        "tensors": len(skills) or math.nan,
        "positive": int((skills > 0).sum()) if len(skills) else math.nan,
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "accuracy": accuracy,
        "questions": math.nan if paired is None or math.isnan(accuracy) else paired.questions,
    }


def where_it_ends(table: pd.DataFrame, method: str) -> str:
    """Say up to which size of update a method beat holding the last checkpoint.

    Args:
        table: Rows of `forecasts` for one window; controls are skipped.
        method: Label of the method.

    Returns:
        A sentence that states only what the runs show: the largest update of runs with skill
        above 0, below the smallest update of a run whose skill is not.
    """
    rows = known(select(table, (table["method"] == method) & (table["control"] == "")), "skill")
    rows = known(rows, "relative_update")
    if not len(rows):
        return "has no forecast here"
    lost = select(rows, rows["skill"] <= 0)
    if not len(lost):
        return (
            f"beats holding in all {len(rows)} runs, up to a median ‖ΔW‖/‖W‖ of "
            f"{_short(_ends(rows)[1])}"
        )
    edge = _ends(lost)[0]
    above = select(rows, rows["skill"] > 0)
    largest = _ends(above)[1] if len(above) else math.nan
    beyond = (
        "none beats holding"
        if math.isnan(largest)
        else f"the largest at which it does is {_short(largest)}"
    )
    return (
        f"does not beat holding in {len(lost)} of {len(rows)} runs; the smallest such update is "
        f"‖ΔW‖/‖W‖ = {_short(edge)}, {beyond}"
    )


def _ends(rows: pd.DataFrame) -> tuple[float, float]:
    found = numbers(rows, "relative_update")
    return float(found.min()), float(found.max())


def _short(value: float) -> str:
    return f"{value:.2g}"
