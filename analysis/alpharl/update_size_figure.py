"""How large the update is, and how much of its norm lies in a few directions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import canvas, plain_ticks
from rlvr_dynamics.results.frames import equal, has, known, last_step, select, values
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.system.palette import BLACK, BLUE, GREY, VERMILLION

from ..parts.run_groups import Looks, dodge, groups, key, names_of, runs_and_seeds
from .paper import figure

RANKS = {"1": ("rank 1", VERMILLION), "1%": ("rank 1 %", BLUE)}
PRINTED_NAMES = {
    "dapo": "DAPO",
    "sft": "SFT",
    "dist": "distillation",
    "opd": "on-policy distillation",
    "dpo": "DPO",
}
PRINTED_METRICS = {"1": "rank1_norm_fraction_pct", "1%": "rank1pct_norm_fraction_pct"}
# Labels in the paper's figure, in per cent, not assigned to runs: PPO, RLOO, GRPO, Dr.GRPO.
UNASSIGNED = {"1": (25.6, 19.6, 18.3, 18.7), "1%": (49.1, 39.5, 37.1, 37.3)}


@dataclass(frozen=True)
class Share:
    """Share of one run's update norm in the leading directions.

    Attributes:
        value: Σ ‖ΔW_k‖ / Σ ‖ΔW‖ over matrices (ratio of sums, as in the paper's code).
        low: Lower quartile over matrices of ‖ΔW_k‖ / ‖ΔW‖.
        high: Upper quartile.
        null: `value` for Gaussian matrices of the same shapes and norms; NaN if not measured.
    """

    value: float
    low: float
    high: float
    null: float


def mean_norm(cell: Cell) -> tuple[float, int] | None:
    """Return the mean ‖ΔW‖_F over attention and MLP matrices at the last step, and their number."""
    norms = _norms(cell)
    return None if norms is None else (float(norms.mean()), len(norms))


def _norms(cell: Cell) -> pd.Series | None:
    table = cell.results.tables["update_svd"]
    if not has(table, "frobenius") or table is None:
        return None
    final = equal(table, step=last_step(table), index=1)
    return pd.Series(values(final, "frobenius"), index=list(final["tensor"]))


def share_of(cell: Cell, rank: str) -> Share | None:
    """Return a rank's share at the last step with full spectra; None if it was not measured."""
    table, norms = cell.results.tables["rank_shares"], _norms(cell)
    if table is None or norms is None or not has(table, "norm_share"):
        return None
    rows = known(equal(table, step=last_step(table), rank=rank), "norm_share")
    rows = select(rows, rows["tensor"].isin(list(norms.index)))
    if not len(rows):
        return None
    weight = norms.loc[list(rows["tensor"])].to_numpy(np.float64)
    if not weight.sum() > 0:
        return None
    share, null = values(rows, "norm_share"), values(rows, "norm_share_null")
    low, high = np.quantile(share, [0.25, 0.75])
    weigh = weight / weight.sum()
    return Share(float(weigh @ share), float(low), float(high), float(weigh @ null))


def draw(study: Study) -> Drawing:
    """Draw mean norms (left), and shares with Gaussian matrices and printed values (right)."""
    cells = [cell for cell in study.cells if mean_norm(cell) is not None]
    if not cells:
        return Drawing(None, missing="Not measured: needs measure/update_svd.parquet.")
    found = groups(cells, by_algorithm=True)
    ours = [group.title for group in found]
    printed_rows = [f"{name} (printed)" for name in PRINTED_NAMES.values()]
    rows = [*ours, *printed_rows, "four more (printed)"]
    drawn, grid = canvas(0.9 + 0.23 * len(rows), 1, 2, sharey=True, width_ratios=[1, 1.5])
    left, right = grid[0]
    looks = Looks(tuple(cells))
    for y, group in enumerate(found):
        for place, cell in enumerate(group.cells):
            shift = dodge(place, len(group.cells), 0.4)
            _ours(left, right, cell, y + shift, looks.marker(cell))
    _printed(left, right, len(ours))
    _finish(drawn, left, right, rows, len(ours), looks)
    matrices = sorted({size[1] for cell in cells if (size := mean_norm(cell)) is not None})
    facts = (
        f"n = {', '.join(map(str, matrices))} matrices per run, at its last step; lines: quartiles "
        f"over matrices; {runs_and_seeds(cells)}; from measure/update_svd.parquet and "
        "measure/rank_shares.parquet. Printed: the paper's table 7, and four labels of its figure "
        "that belong to PPO, RLOO, GRPO and Dr.GRPO without saying which to which."
    )
    without = [cell.name for cell in cells if share_of(cell, "1") is None]
    if without:
        facts += f" Shares not measured: {', '.join(without)}."
    return Drawing(drawn, facts, names_of(study, cells))


def _ours(left: Axes, right: Axes, cell: Cell, y: float, marker: str) -> None:
    norm = mean_norm(cell)
    if norm is not None and norm[0] > 0:
        left.plot([norm[0]], [y], marker, color=BLACK, markersize=3.5)
    for rank, (_, colour) in RANKS.items():
        share = share_of(cell, rank)
        if share is None:
            continue
        y += 0.06 if rank == "1" else -0.12  # if 1 % is one direction, both are the same
        right.hlines(y, 100 * share.low, 100 * share.high, color=colour, linewidth=0.8)
        right.plot([100 * share.value], [y], marker, color=colour, markersize=3.5)
        if math.isfinite(share.null):
            right.plot([100 * share.null], [y], "|", color=colour, markersize=6, alpha=0.7)


def _printed(left: Axes, right: Axes, first: int) -> None:
    table = printed(paper="alpharl", table="table7")
    look = {"markerfacecolor": "none", "markersize": 4, "linestyle": "", "markeredgewidth": 0.8}
    for y, algorithm in enumerate(PRINTED_NAMES, start=first):
        rows = table[table["algorithm"] == algorithm].set_index("metric")["value"]
        left.plot([rows["mean_update_norm"]], [y], "D", color=BLACK, **look)
        for rank, metric in PRINTED_METRICS.items():
            right.plot([rows[metric]], [y], "D", color=RANKS[rank][1], **look)
    for rank, labels in UNASSIGNED.items():
        y = [first + len(PRINTED_NAMES)] * len(labels)
        right.plot(list(labels), y, "D", color=RANKS[rank][1], **look)


def _finish(
    drawn: Figure, left: Axes, right: Axes, rows: Sequence[str], ours: int, looks: Looks
) -> None:
    left.set_yticks(range(len(rows)), [fill(row, 26) for row in rows])
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xscale("log")
    left.xaxis.set_major_formatter(lambda value, _: plain_ticks(value))
    left.xaxis.set_minor_formatter(lambda _value, _place: "")
    left.set_xlabel("mean ‖ΔW‖ (Frobenius)")
    right.set_xlabel("‖ΔW_k‖ / ‖ΔW‖, %")
    right.set_xlim(0, 100)
    for axes in (left, right):
        axes.axhline(ours - 0.5, color=GREY, linewidth=0.6)
    handles = [key(name, color=colour, linewidth=2) for name, colour in RANKS.values()]
    handles.append(key("Gaussian matrix", color=GREY, marker="|", linestyle="", markersize=7))
    handles += looks.seed_handles()
    handles.append(key("printed", color=GREY, marker="D", markerfacecolor="none", linestyle=""))
    drawn.legend(
        handles=handles, loc="outside upper center", ncols=6, columnspacing=1.2, handlelength=1.4
    )


ARTEFACTS: list[Artefact] = [
    figure(
        "5a",
        "Norm of the update, and the part that few directions hold",
        "Left: the paper's reinforcement learning moves weights far less than imitation. Right: a "
        "point right of its tick holds more of the norm than a Gaussian matrix of that shape. A "
        "direction of a small matrix holds more whatever it is, so compare shares across models "
        "only by their distance from the tick.",
        "rank_recovery",
        draw,
    )
]
