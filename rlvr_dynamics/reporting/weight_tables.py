"""Tables of the weights as a whole: explained variance, rank shares, oracle, forecasts."""

import math

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.forecasts import COUNTED, own_forecasts, path_ratios
from rlvr_dynamics.results.formatting import integer, interval, number, percent, rank_order
from rlvr_dynamics.results.frames import equal, known, last_step, mean, median, numbers, select
from rlvr_dynamics.results.methods import method_rank
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.statistics.intervals import with_quartiles

# arXiv 2510.00553, table 7: share of the update's norm, by kind of training.
PRINTED_SHARES = {
    "RL (DAPO), paper": {"1": 0.193, "1%": 0.365},
    "SFT, paper": {"1": 0.077, "1%": 0.277},
    "DPO, paper": {"1": 0.1142, "1%": 0.2413},
}


def explained_variance_table(results: Results) -> Table:
    """Explained variance of the leading components over all tensors, as RELEX reports it."""
    title = "Trajectory: explained variance of the leading components"
    table = results.tables["explained_variance"]
    if table is None:
        return absent("explained_variance", title, "explained_variance")
    shown = {
        "rank": "components",
        "tensors": "tensors",
        "min": "lowest",
        "mean": "mean",
        "median": "median",
        "weighted_mean": "mean by size",
        "above_90": "≥ 0.90",
        "above_95": "≥ 0.95",
        "above_99": "≥ 0.99",
        "null_mean": "null mean",
        "null_high": "null 97.5 %",
    }
    whole = ("rank", "tensors", "above_90", "above_95", "above_99")
    return Table(
        "explained_variance",
        title,
        "Over tensors; the last columns count tensors at or above a share. Mean by size: weighted "
        "by elements. Null: random walks with the same step norms, known for one component.",
        table.filter(items=list(shown)).sort_values(["rank"]).reset_index(drop=True),
        {name: integer if name in whole else number for name in shown},
        shown,
    )


def rank_shares_table(results: Results) -> Table:
    """Norm share of the final update's leading directions, compared with a Gaussian matrix."""
    title = "Norm share of the update's leading directions"
    table = results.tables["rank_shares"]
    if table is None:
        return absent("rank_shares", title, "rank_shares")
    step = last_step(table)
    final = equal(table, step=step)
    rows = []
    for rank in sorted(set(final["rank"]), key=rank_order):
        matrices = equal(final, rank=rank)
        kept, share = numbers(matrices, "k"), numbers(matrices, "norm_share")
        low, high = np.quantile(share, [0.25, 0.75]) if len(share) else (np.nan, np.nan)
        rows.append(
            {
                "rank": rank,
                "k": "–".join(dict.fromkeys([f"{kept.min():.0f}", f"{kept.max():.0f}"])),
                "matrices": len(share),
                "mean": mean(matrices, "norm_share"),
                "lower quartile": low,
                "upper quartile": high,
                "null mean": mean(matrices, "norm_share_null"),
                **{paper: printed.get(rank) for paper, printed in PRINTED_SHARES.items()},
            }
        )
    shares = ["mean", "lower quartile", "upper quartile", "null mean", *PRINTED_SHARES]
    return Table(
        "rank_shares",
        title,
        f"‖ΔW_k‖/‖ΔW‖ over matrices at step {step}, unscaled. Null: Gaussian matrices of the same "
        "shape. A small matrix has few directions, so its share at a given rank is larger: compare "
        "with the null, not with the paper's 7B and 8B models.",
        pd.DataFrame(rows),
        {"matrices": integer, **dict.fromkeys(shares, percent)},
    )


def oracle_table(results: Results) -> Table:
    """How well the leading trajectory directions reconstruct each real update."""
    title = "Oracle reconstruction from the trajectory's leading directions"
    table = results.tables["oracle"]
    if table is None:
        return absent("oracle", title, "oracle")
    steps = np.unique(numbers(table, "step"))
    chosen = dict.fromkeys(steps[[0, len(steps) // 4, len(steps) // 2, -1]].astype(int))
    rows = []
    for rank, group in table.groupby("rank", sort=True):
        final = numbers(equal(group, step=last_step(table)), "cosine")
        rows.append(
            {
                "directions": rank,
                "tensors": group["tensor"].nunique(),
                **{f"step {step}": median(equal(group, step=step), "cosine") for step in chosen},
                "lowest at the end": final.min() if len(final) else np.nan,
            }
        )
    return Table(
        "oracle",
        title,
        "Median over tensors of the cosine between the update and its projection on the leading "
        "directions of the whole trajectory, which uses the future. The paper's appendix B has "
        "0.50 early, rising to 0.91, for one direction.",
        pd.DataFrame(rows),
        {
            **dict.fromkeys(["directions", "tensors"], integer),
            **dict.fromkeys([*(f"step {step}" for step in chosen), "lowest at the end"], number),
        },
    )


def forecast_table(results: Results) -> Table:
    """Forecast skill in the weights by window, target and method."""
    title = "Forecast skill in the weights"
    table = results.tables["forecast"]
    if table is None:
        return absent("forecast_skill", title, "forecast")
    rows = []
    groups = {
        (int(observe), int(step), str(method)): rows
        for (observe, step, method), rows in table.groupby(["observe", "step", "method"])  # pyright: ignore[reportGeneralTypeIssues]
    }
    for observe, step, method in sorted(
        groups, key=lambda group: (*group[:2], method_rank(group[2]))
    ):
        group = groups[observe, step, method]
        group = own_forecasts(group)
        skill = numbers(group, "skill")
        middle = with_quartiles(skill, np.median)
        rows.append(
            {
                "observe": observe or None,
                "step": step,
                "method": results.method_name(method),
                "clock": _clock_in_words(groups[observe, step, method]),
                "path": _path_ratio(results, group, observe, step),
                "median skill": middle.value,
                "quartiles": interval(middle.low, middle.high),
                "skill > 0": f"{int((skill > 0).sum())} of {len(skill)}",
                "median cosine": median(group, "cosine"),
                "median magnitude ratio": median(group, "magnitude_ratio"),
            }
        )
    formats = {
        **dict.fromkeys(["observe", "step"], integer),
        **dict.fromkeys(["path", "median skill", "median cosine"], number),
        "median magnitude ratio": number,
    }
    return Table(
        "forecast_skill",
        title,
        "Skill 1 − SSE / SSE(hold the last observed checkpoint, or the base where none was "
        "observed): median over tensors with their quartiles, and in how many tensors "
        f"it is above 0. {COUNTED} Cosine and magnitude ratio: predicted to true update from the "
        "base (the paper's appendix B: cosine 0.72 falling to 0.35, ratio 1.26 rising to 2.70). "
        "Clock: the axis on which a line is continued, for methods with a choice; tensors whose "
        "path cannot be continued, as they hardly moved, stay on the step number. Path: predicted "
        "over true length of the path Σ ‖W_t − W_t−1‖ from the base to the target, median over "
        "tensors; the prediction has the window alone, and steps beyond training have no true one.",
        pd.DataFrame(rows),
        formats,
        {"observe": "observed to", "path": "path, predicted / true"},
    )


def _clock(group: pd.DataFrame) -> str | None:
    here = known(group, "clock") if "clock" in group else group.head(0)
    return str(here["clock"].iloc[0]) if len(here) else None


def _clock_in_words(group: pd.DataFrame) -> str | None:
    """Name the clock, and count the tensors that stayed on the step number."""
    clock, stayed = _clock(group), numbers(group, "tensors_on_step")
    if not len(stayed) or not stayed[0]:
        return clock
    return (
        f"{clock} ({integer(stayed[0])} of {group['tensor'].nunique()} tensors on the step number)"
    )


def _path_ratio(results: Results, group: pd.DataFrame, observe: int, step: int) -> float:
    ratios = path_ratios(results)
    if ratios is None or _clock(group) != "path":
        return math.nan
    used = str(group["continuation"].iloc[0])
    here = equal(ratios, observe=observe, step=step, continuation=used)
    return median(select(here, here["tensor"].isin(list(group["tensor"]))), "path_ratio")
