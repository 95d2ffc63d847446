"""Tables with one row per module type and one for all tensors, each value with its null."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import Formatter, general, integer, module_rank, number
from rlvr_dynamics.results.formatting import percent as per_cent
from rlvr_dynamics.results.frames import (
    accuracy_source,
    count_above,
    equal,
    has,
    known,
    last_step,
    mean,
    median,
    numbers,
    on_clock,
    values,
)
from rlvr_dynamics.results.run import Results

Summary = Callable[[pd.DataFrame], float]


@dataclass(frozen=True)
class Statistic:
    """One column of a table: its heading, its value over a row's tensors, and its format."""

    heading: str
    of: Summary
    show: Formatter = number


def _count(column: str) -> Summary:
    return lambda rows: len(numbers(rows, column))


def _mean(column: str) -> Summary:
    return lambda rows: mean(rows, column)


def _median(column: str) -> Summary:
    return lambda rows: median(rows, column)


def _quantile(column: str, share: float) -> Summary:
    def of(rows: pd.DataFrame) -> float:
        found = numbers(rows, column)
        return float(np.quantile(found, share)) if len(found) else math.nan

    return of


def _share_above(column: str, threshold: float) -> Summary:
    def of(rows: pd.DataFrame) -> float:
        found = numbers(rows, column)
        return float((found > threshold).mean()) if len(found) else math.nan

    return of


def _share_beyond(column: str, *bounds: str) -> Summary:
    """Return the share of tensors above all bounds; unknown if a bound is."""

    def of(rows: pd.DataFrame) -> float:
        if not has(rows, column, *bounds):
            return math.nan
        found = rows.dropna(subset=[column, *bounds])
        highest = found[list(bounds)].max(axis=1)
        return count_above(found.assign(_bound=highest), column, "_bound") / max(1, len(found))

    return of


def _summarise(
    name: str, title: str, caption: str, table: pd.DataFrame, statistics: Sequence[Statistic]
) -> Table:
    """Summarise module types in network order, then all tensors together."""
    groups = sorted(table.groupby("module"), key=lambda group: module_rank(str(group[0])))
    rows = [
        {"module": label, **{each.heading: each.of(tensors) for each in statistics}}
        for label, tensors in [*groups, ("all", table)]
    ]
    formats = {each.heading: each.show for each in statistics}
    return Table(name, title, caption, pd.DataFrame(rows), formats)


def rank1_table(results: Results) -> Table:
    """Rank-1 share of the final update by module type."""
    title = "Rank-1 share of the final update"
    table = results.tables["update_svd"]
    if table is None:
        return absent("rank1_share", title, "update_svd")
    step = last_step(table)
    return _summarise(
        "rank1_share",
        title,
        f"σ₁/‖ΔW‖ over matrices at step {step}. The paper's code prints the ratio of sums; its "
        "DAPO run has 19.3 % (PPO, RLOO, GRPO and Dr.GRPO: 18 to 26 %). No claim rests on it.",
        known(equal(table, step=step, index=1), "norm_share"),
        [
            Statistic("matrices", _count("norm_share"), integer),
            Statistic("mean", _mean("norm_share"), per_cent),
            Statistic("Gaussian null", _mean("norm_share_null"), per_cent),
            Statistic("median", _median("norm_share"), per_cent),
            Statistic("lowest", _quantile("norm_share", 0), per_cent),
            Statistic("highest", _quantile("norm_share", 1), per_cent),
            Statistic(
                "ratio of sums",
                lambda rows: mean(rows, "sigma") / mean(rows, "frobenius"),
                per_cent,
            ),
            Statistic("mean norm", _mean("frobenius"), general),
        ],
    )


def update_rank_table(results: Results) -> Table:
    """How many directions the final update uses, and how it relates to the base weights."""
    title = "Rank of the final update, and its angle to the base"
    table = results.tables["update_rank"]
    if table is None:
        return absent("update_rank", title, "update_rank")
    step = last_step(table)
    return _summarise(
        "update_rank",
        title,
        f"Medians over matrices at step {step}. Stable rank ‖ΔW‖²/σ₁²; effective rank: exponential "
        "of the spectrum's entropy; numerical rank above rounding, as a share of min(m, n). "
        "Cosine: the largest between the leading subspaces of ΔW and of the base. Null: Gaussian "
        "matrices of the same shape, random subspaces.",
        equal(table, step=step),
        [
            Statistic("matrices", _count("stable_rank"), integer),
            Statistic("stable rank", _median("stable_rank"), _one_decimal),
            Statistic("null stable rank", _median("stable_rank_null"), _one_decimal),
            Statistic("effective rank", _median("effective_rank"), _one_decimal),
            Statistic("null effective rank", _median("effective_rank_null"), _one_decimal),
            Statistic("numerical rank share", _numerical_share, per_cent),
            Statistic("cosine left", _median("base_cosine_left")),
            Statistic("null left", _median("base_cosine_left_null")),
            Statistic("cosine right", _median("base_cosine_right")),
            Statistic("null right", _median("base_cosine_right_null")),
        ],
    )


def _one_decimal(value: float) -> str:
    return number(value, 1)


def _numerical_share(rows: pd.DataFrame) -> float:
    if not has(rows, "numerical_rank", "full_rank"):
        return math.nan
    return float(np.nanmedian(values(rows, "numerical_rank") / values(rows, "full_rank")))


def pls_table(results: Results) -> Table:
    """R² of accuracy on the leading left vector, with both of its nulls."""
    title = "Accuracy on the leading left vector (partial least squares)"
    table = results.tables["pls"]
    if table is None:
        return absent("pls_summary", title, "pls")
    return _summarise(
        "pls_summary",
        title,
        "R² of y(t) on one component of u₁(t), over matrices; the paper's average is 0.914. Nulls: "
        "permuted accuracies, and random walks in place of y(t), which trend as accuracy does. "
        "Beyond both: share of matrices above both 97.5 % quantiles. Corrected: divided by the "
        "ceiling that the noise of y(t) sets. Step number: R² of y(t) on it alone; partial: R² of "
        f"u₁ beyond it. {accuracy_source(table)}",
        table,
        [
            Statistic("matrices", _count("r2"), integer),
            Statistic("checkpoints", _quantile("T", 1), integer),
            Statistic("mean R²", _mean("r2")),
            Statistic("lowest R²", _quantile("r2", 0)),
            Statistic("permuted, mean", _mean("r2_null_mean")),
            Statistic("permuted, 97.5 %", _mean("r2_null_high")),
            Statistic("random walk, mean", _mean("r2_walk_mean")),
            Statistic("random walk, 97.5 %", _mean("r2_walk_high")),
            Statistic("beyond both", _share_beyond("r2", "r2_null_high", "r2_walk_high"), per_cent),
            Statistic("median leave-one-out R²", _median("loo_r2")),
            Statistic("ceiling", _mean("r2_ceiling")),
            Statistic("corrected R²", _mean("r2_corrected")),
            Statistic("step number", _mean("step_r2")),
            Statistic("partial R²", _mean("partial_r2")),
        ],
    )


def trajectory_table(results: Results) -> Table:
    """Explained variance of component 1 by module type, with the random walk."""
    title = "Trajectory: explained variance of component 1"
    table = results.tables["trajectory_svd"]
    if table is None:
        return absent("trajectory_summary", title, "trajectory_svd")
    return _summarise(
        "trajectory_summary",
        title,
        "Share of the uncentred trajectory's squared norm. Null: random walk with the same step "
        "norms; above null: share of tensors beyond its 97.5 % quantile.",
        known(equal(table, index=1), "explained_variance"),
        [
            Statistic("tensors", _count("explained_variance"), integer),
            Statistic("mean", _mean("explained_variance")),
            Statistic("lowest", _quantile("explained_variance", 0)),
            Statistic("median", _median("explained_variance")),
            Statistic("highest", _quantile("explained_variance", 1)),
            Statistic("null mean", _mean("null_mean")),
            Statistic("above null", _share_beyond("explained_variance", "null_high"), per_cent),
        ],
    )


def linearity_table(results: Results) -> Table:
    """R² of the coefficient's line in sample, leave-one-out and held out, with both nulls."""
    title = "Linearity of the coefficient of component 1"
    table = results.tables["linearity"]
    if table is None:
        return absent("linearity_summary", title, "linearity")
    table = on_clock(table)
    statistics = [Statistic("tensors", lambda rows: len(rows), integer)]
    for column, name in (("r2", "R²"), ("loo_r2", "left-out R²"), ("heldout_r2", "held-out R²")):
        statistics += [
            Statistic(f"median {name}", _median(column)),
            Statistic(f"{name} > 0.98", _share_above(column, 0.98), per_cent),
            Statistic(f"{name}, random walk", _median(f"{column}_null_mean")),
            Statistic(f"{name}, permuted", _median(f"{column}_permuted_mean")),
        ]
    return _summarise(
        "linearity_summary",
        title,
        "Least squares of c₁ on the step number; medians over tensors. Left-out: every step "
        "predicted by the line through the others. Held out: fitted on the first half of the "
        "steps, judged on the second; below 0 the line is worse than the second half's mean. "
        "Nulls, as medians of their means: random walks with the same step norms, which trend as "
        "well, and permuted steps.",
        table,
        statistics,
    )


def norms_table(results: Results) -> Table:
    """How far and how many of the weights moved by the final step, by module type."""
    title = "Size and sparsity of the update"
    table = results.tables["norms"]
    if table is None:
        return absent("update_norms", title, "norms")
    step = last_step(table)

    def three_digits(value: float) -> str:
        return per_cent(value, 3)

    return _summarise(
        "update_norms",
        title,
        f"Frobenius norms at step {step}. Changed: share of elements that differ from the base (in "
        "one step: from the step before), which depends on the number format "
        f"({results.dtype or 'not recorded'}); in bfloat16: by more than 1e-5 in that "
        "format, as arXiv 2505.11711 counts. Rounding: what rounding to the format "
        "accounts for in the squared norm; where it is not small, shares and variances of the "
        "update are read too low.",
        equal(table, step=step),
        [
            Statistic("tensors", _count("update_norm"), integer),
            Statistic("mean ‖ΔW‖", _mean("update_norm"), general),
            Statistic("median ‖ΔW‖/‖W‖", _median("relative_update"), three_digits),
            Statistic("highest ‖ΔW‖/‖W‖", _quantile("relative_update", 1), three_digits),
            Statistic("median changed", _median("changed_share"), per_cent),
            Statistic("lowest changed", _quantile("changed_share", 0), per_cent),
            Statistic("median changed in bfloat16", _median("bfloat16_changed_share"), per_cent),
            Statistic("median changed in one step", _median("step_changed_share"), per_cent),
            Statistic("median rounding / ‖ΔW‖²", _median("rounding_share"), general),
        ],
    )
