"""Tables of the weights: ranks, linearity, forecasts, size of the update."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.reporting.formatting import (
    general,
    integer,
    interval,
    method_name,
    module_rank,
    number,
    percent,
)
from rlvr_dynamics.reporting.frames import (
    count_above,
    equal,
    known,
    last_step,
    mean,
    median,
    numbers,
    values,
)
from rlvr_dynamics.reporting.results import Results
from rlvr_dynamics.reporting.tables import Table, absent

Summary = Callable[[pd.DataFrame], dict[str, float]]


def _summaries(table: pd.DataFrame, summary: Summary) -> pd.DataFrame:
    groups = {str(module): summary(rows) for module, rows in table.groupby("module", sort=True)}
    groups["all"] = summary(table)
    return _by_module(pd.DataFrame(groups).T)


def _by_module(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of a per-module summary in the order of the network, all tensors last."""
    order = sorted(frame.index, key=lambda module: (module == "all", *module_rank(str(module))))
    return frame.loc[order].rename_axis("module").reset_index()


def _share_above(found: NDArray[np.float64], threshold: float) -> float:
    return float((found > threshold).mean()) if len(found) else math.nan


def _quartiles(found: NDArray[np.float64]) -> str:
    if not len(found):
        return interval(None, None)
    low, high = np.quantile(found, [0.25, 0.75])
    return interval(low, high)


def rank1_table(results: Results) -> Table:
    """Rank-1 share of the final update by module type."""
    title = "Rank-1 share of the final update"
    table = results.tables["update_svd"]
    if table is None:
        return absent("rank1_share", title, "update_svd")
    step = last_step(table)
    first = known(equal(table, step=step, index=1), "norm_share")

    def summary(rows: pd.DataFrame) -> dict[str, float]:
        share = values(rows, "norm_share")
        return {
            "matrices": len(rows),
            "mean": share.mean(),
            "median": float(np.median(share)),
            "lowest": share.min(),
            "highest": share.max(),
            "ratio of sums": mean(rows, "sigma") / mean(rows, "frobenius"),
            "mean norm": mean(rows, "frobenius"),
        }

    formats = {
        "matrices": integer,
        "mean norm": general,
        **dict.fromkeys(["mean", "median", "lowest", "highest", "ratio of sums"], percent),
    }
    return Table(
        "rank1_share",
        title,
        f"σ₁/‖ΔW‖ over matrices at step {step}. The paper's code prints the ratio of sums; its "
        "DAPO run has 19.3 % (PPO, RLOO, GRPO and Dr.GRPO: 18 to 26 %). No claim rests on it.",
        _summaries(first, summary),
        formats,
    )


def trajectory_table(results: Results) -> Table:
    """Explained variance of component 1 by module type, beside the random walk."""
    title = "Trajectory: explained variance of component 1"
    table = results.tables["trajectory_svd"]
    if table is None:
        return absent("trajectory_summary", title, "trajectory_svd")
    first = known(equal(table, index=1), "explained_variance")

    def summary(rows: pd.DataFrame) -> dict[str, float]:
        share = values(rows, "explained_variance")
        compared = known(rows, "null_high")
        above = count_above(compared, "explained_variance", "null_high")
        return {
            "tensors": len(rows),
            "mean": share.mean(),
            "lowest": share.min(),
            "median": float(np.median(share)),
            "highest": share.max(),
            "null mean": mean(rows, "null_mean"),
            "above null": above / len(compared) if len(compared) else math.nan,
        }

    formats = {
        "tensors": integer,
        "above null": percent,
        **dict.fromkeys(["mean", "lowest", "median", "highest", "null mean"], number),
    }
    return Table(
        "trajectory_summary",
        title,
        "Share of the uncentred trajectory's squared norm. Null: random walk with the same step "
        "norms; above null: share of tensors beyond its 97.5 % quantile.",
        _summaries(first, summary),
        formats,
    )


def linearity_table(results: Results) -> Table:
    """R² of the coefficient line by module type, in sample and held out, beside the null."""
    title = "Linearity of the coefficient of component 1"
    table = results.tables["linearity"]
    if table is None:
        return absent("linearity_summary", title, "linearity")

    def summary(rows: pd.DataFrame) -> dict[str, float]:
        r2, held_out = numbers(rows, "r2"), numbers(rows, "heldout_r2")
        return {
            "tensors": len(rows),
            "median R²": median(rows, "r2"),
            "R² > 0.98": _share_above(r2, 0.98),
            "null mean R²": mean(rows, "r2_null_mean"),
            "median held-out R²": median(rows, "heldout_r2"),
            "held-out R² > 0.98": _share_above(held_out, 0.98),
            "null median held-out R²": median(rows, "heldout_r2_null_mean"),
        }

    formats = {
        "tensors": integer,
        **dict.fromkeys(["R² > 0.98", "held-out R² > 0.98"], percent),
        **dict.fromkeys(
            ["median R²", "null mean R²", "median held-out R²", "null median held-out R²"], number
        ),
    }
    return Table(
        "linearity_summary",
        title,
        "Least squares of c₁ on the step number. Held out: fitted on the first half of the steps, "
        "judged on the second; below 0 the line is worse than the second half's mean.",
        _summaries(table, summary),
        formats,
    )


def forecast_table(results: Results) -> Table:
    """Forecast skill in the weights by method, window and target."""
    title = "Forecast skill in the weights"
    table = results.tables["forecast"]
    if table is None:
        return absent("forecast_skill", title, "forecast")
    rows = []
    for key, group in table.groupby(["method", "observe", "step"], sort=True):
        method, observe, step = key  # pyright: ignore[reportGeneralTypeIssues]
        skill = numbers(group, "skill")
        rows.append(
            {
                "method": method_name(str(method)),
                "observe": observe or None,
                "step": step,
                "tensors": len(skill),
                "median skill": median(group, "skill"),
                "quartiles": _quartiles(skill),
                "skill > 0": _share_above(skill, 0),
                "median cosine": median(group, "cosine"),
                "median magnitude ratio": median(group, "magnitude_ratio"),
            }
        )
    formats = {
        **dict.fromkeys(["observe", "step", "tensors"], integer),
        "skill > 0": percent,
        **dict.fromkeys(["median skill", "median cosine", "median magnitude ratio"], number),
    }
    return Table(
        "forecast_skill",
        title,
        "Skill 1 − SSE / SSE(hold the last observed checkpoint, or the base where none was "
        "observed), over tensors. Cosine and magnitude ratio: predicted to true update from the "
        "base.",
        pd.DataFrame(rows),
        formats,
        {"observe": "observed to"},
    )


def norms_table(results: Results) -> Table:
    """How far the weights moved by the final step, by module type."""
    title = "Size of the update"
    table = results.tables["norms"]
    if table is None:
        return absent("update_norms", title, "norms")
    step = last_step(table)

    def summary(rows: pd.DataFrame) -> dict[str, float]:
        return {
            "tensors": len(rows),
            "mean ‖ΔW‖": mean(rows, "update_norm"),
            "median ‖ΔW‖/‖W‖": median(rows, "relative_update"),
            "highest ‖ΔW‖/‖W‖": float(numbers(rows, "relative_update").max(initial=0.0)),
        }

    formats = {
        "tensors": integer,
        "mean ‖ΔW‖": general,
        **dict.fromkeys(["median ‖ΔW‖/‖W‖", "highest ‖ΔW‖/‖W‖"], lambda value: percent(value, 3)),
    }
    return Table(
        "update_norms",
        title,
        f"Frobenius norms at step {step}.",
        _summaries(equal(table, step=step), summary),
        formats,
    )
