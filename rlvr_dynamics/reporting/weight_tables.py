"""Tables of the weights: ranks, linearity, forecasts, size of the update."""

from collections.abc import Callable

import pandas as pd

from rlvr_dynamics.reporting.formatting import (
    general,
    integer,
    interval,
    method_name,
    module_rank,
    number,
    percent,
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


def rank1_table(results: Results) -> Table:
    """Rank-1 share of the final update by module type."""
    title = "Rank-1 share of the final update"
    table = results.tables["update_svd"]
    if table is None:
        return absent("rank1_share", title, "update_svd")
    step = int(table["step"].max())
    first = table[(table["step"] == step) & (table["index"] == 1)].dropna(subset="norm_share")

    def summary(rows: pd.DataFrame) -> dict[str, float]:
        share = rows["norm_share"]
        return {
            "matrices": len(rows),
            "mean": share.mean(),
            "median": share.median(),
            "lowest": share.min(),
            "highest": share.max(),
            "ratio of sums": rows["sigma"].sum() / rows["frobenius"].sum(),
            "mean norm": rows["frobenius"].mean(),
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
    first = table[table["index"] == 1].dropna(subset="explained_variance")

    def summary(rows: pd.DataFrame) -> dict[str, float]:
        share = rows["explained_variance"]
        compared = rows.dropna(subset="null_high")
        above = (compared["explained_variance"] > compared["null_high"]).mean()
        return {
            "tensors": len(rows),
            "mean": share.mean(),
            "lowest": share.min(),
            "median": share.median(),
            "highest": share.max(),
            "null mean": rows["null_mean"].mean(),
            "above null": above,
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
        r2, held_out = rows["r2"].dropna(), rows["heldout_r2"].dropna()
        null_held_out = rows.get("heldout_r2_null_mean", pd.Series(dtype=float))
        return {
            "tensors": len(rows),
            "median R²": r2.median(),
            "R² > 0.98": (r2 > 0.98).mean(),
            "null mean R²": rows["r2_null_mean"].mean(),
            "median held-out R²": held_out.median(),
            "held-out R² > 0.98": (held_out > 0.98).mean(),
            "null median held-out R²": null_held_out.median(),
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
        skill = group["skill"].dropna()
        rows.append(
            {
                "method": method_name(str(method)),
                "observe": observe,
                "step": step,
                "tensors": len(skill),
                "median skill": skill.median(),
                "quartiles": interval(skill.quantile(0.25), skill.quantile(0.75)),
                "skill > 0": (skill > 0).mean() if len(skill) else float("nan"),
                "median cosine": group["cosine"].median() if "cosine" in group else float("nan"),
                "median magnitude ratio": group["magnitude_ratio"].median()
                if "magnitude_ratio" in group
                else float("nan"),
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
        "Skill 1 − SSE / SSE(hold the last observed checkpoint), over tensors. Cosine and magnitude "
        "ratio: predicted to true update from the base.",
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
    step = int(table["step"].max())

    def summary(rows: pd.DataFrame) -> dict[str, float]:
        relative = rows["relative_update"]
        return {
            "tensors": len(rows),
            "mean ‖ΔW‖": rows["update_norm"].mean(),
            "median ‖ΔW‖/‖W‖": relative.median(),
            "highest ‖ΔW‖/‖W‖": relative.max(),
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
        _summaries(table[table["step"] == step], summary),
        formats,
    )
