"""Linearity on every clock beside every null: is it the run, or what its optimizer writes?"""

import math

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import Formatter, integer, number
from rlvr_dynamics.results.formatting import percent as per_cent
from rlvr_dynamics.results.frames import equal, has, known, last_step, median, numbers, on_clock
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.optimizers import RATE
from rlvr_dynamics.schema.tables import LAGS, NULL_WALKS

CLOCKS = {"step": "training step", "path": "length of the path", "optimizer": "optimizer time"}
NULL_NAMES = {
    "walk": "independent steps",
    "optimizer": "optimizer's noise",
    "drift": "noise and a drift",
}
SCORES = {"r2": "R²", "heldout_r2": "held-out R²"}


def clocks_table(results: Results) -> Table:
    """Explained variance, and R² on every clock, of the run and of every null: one row each."""
    title = "The trajectory on its clocks, and what an optimizer writes by itself"
    lines, svd = results.tables["linearity"], results.tables["trajectory_svd"]
    if lines is None or svd is None:
        return absent("clocks", title, "linearity")
    first = equal(svd, index=1)
    rows = [_row("the run", first, lines, "explained_variance", {s: s for s in SCORES})]
    for name, walk in NULL_WALKS.items():
        columns = {score: f"{walk.of_score(score)}_mean" for score in SCORES}
        rows.append(
            _row(f"null: {NULL_NAMES[name]}", first, lines, f"{walk.of_variance}_mean", columns)
        )
    formats: dict[str, Formatter] = {
        heading: number for heading in rows[0] if heading != "trajectory"
    }
    return Table(
        "clocks",
        title,
        "Medians over tensors; of a null, of its mean over draws. Every null has the run's step "
        "norms and dimensions. Optimizer's noise: the steps of Adam, or of SGD with momentum, are "
        "correlated through the first moment, so a run that learns nothing looks close to rank-1 "
        "and linear as well. Noise and "
        "a drift: the same with one constant direction, of the share that increments far apart "
        "have in common. Held out: fitted on the first half, judged on the second; steps shrink "
        "as a run goes on, so a coefficient bends against the step number even where the "
        "direction holds." + _left_out(first, lines) + _optimizer_time(results, lines),
        pd.DataFrame(rows),
        formats | {"tensors": integer},
    )


def _row(
    name: str, first: pd.DataFrame, lines: pd.DataFrame, variance: str, columns: dict[str, str]
) -> dict[str, object]:
    row: dict[str, object] = {
        "trajectory": name,
        "tensors": len(numbers(first, variance)) or math.nan,
        "explained variance": median(first, variance),
    }
    for clock, words in CLOCKS.items():
        here = on_clock(lines, clock)
        if clock == "optimizer" and not len(here):
            continue
        for score, column in columns.items():
            row[f"{SCORES[score]}, {words}"] = median(here, column)
    return row


def _left_out(first: pd.DataFrame, lines: pd.DataFrame) -> str:
    """Say how many tensors have no path clock, or no null of the optimizer."""
    return _without_path(lines) + _without_optimizer(first)


def _without_optimizer(first: pd.DataFrame) -> str:
    moved = known(first, "explained_variance")
    column = f"{NULL_WALKS['optimizer'].of_variance}_mean"
    missing = len(moved) - len(numbers(moved, column))
    if not missing or column not in first:
        return ""
    return (
        f" {missing} of {len(moved)} tensors have no optimizer's noise: checkpoints at uneven "
        "steps, or adapters (LoRA), or an optimizer that is not known here."
    )


def _without_path(lines: pd.DataFrame) -> str:
    every, there = (len(set(on_clock(lines, clock)["tensor"])) for clock in ("step", "path"))
    if "clock" not in lines:
        return " Measured before the path clock."
    if there == every:
        return ""
    return (
        f" {every - there} of {every} tensors have no path clock: their checkpoints are not evenly "
        "spaced from the base on, or a step did not move them."
    )


def _optimizer_time(results: Results, lines: pd.DataFrame) -> str:
    """Say what optimizer time is, or why it has no columns."""
    if len(on_clock(lines, "optimizer")):
        return " Optimizer time: the sum of the learning rates so far."
    metrics = results.tables["metrics"]
    rates = np.empty(0) if metrics is None else numbers(metrics, RATE)
    if not len(rates):
        return ""
    if (rates == rates[0]).all():
        return " The learning rate was constant, so optimizer time is the step number."
    return " Measured before optimizer time, which differs from the step number in this run."


def optimizer_table(results: Results) -> Table:
    """How long the steps are in learning rates, and how much of them is one drift."""
    title = "Steps in units of the learning rate, and their autocorrelation"
    norms, svd = results.tables["norms"], results.tables["trajectory_svd"]
    if norms is None or svd is None or not has(svd, "optimizer_autocorrelation_1"):
        return absent("optimizer", title, "trajectory_svd")
    first = equal(svd, index=1)
    last = equal(norms, step=last_step(norms))
    early = equal(norms, step=int(numbers(norms, "step").min()))
    row = {
        "steps": "the run",
        "tensors": len(first),
        "first step": median(early, "optimizer_step_length"),
        "last step": median(last, "optimizer_step_length"),
        **{f"lag {lag}": median(first, f"optimizer_autocorrelation_{lag}") for lag in LAGS},
        "drift share": median(first, "optimizer_drift_share"),
    }
    noise = {
        "steps": f"null: {NULL_NAMES['optimizer']}",
        **{f"lag {lag}": median(first, f"optimizer_null_autocorrelation_{lag}") for lag in LAGS},
        "drift share": median(first, "optimizer_null_drift_share"),
    }
    formats: dict[str, Formatter] = {heading: number for heading in row if heading != "steps"}
    formats |= {"tensors": integer, "drift share": per_cent}
    return Table(
        "optimizer",
        title,
        "Medians over tensors. First and last step: ‖W_t − W_t−1‖ / (√d Σ learning rate), 1 where "
        "every update moves every weight by the learning rate in one direction; a dash where the "
        "rate is not known or the optimizer is not Adam. Lags: mean cosine of increments so many "
        "saved steps apart, and what the optimizer's noise has. Drift share: the mean cosine at 30 "
        "steps and more, of the run without subtracting what the optimizer's memory gives.",
        pd.DataFrame([row, noise]),
        formats,
    )
