"""Held-out linearity and forecast skill on both clocks against the learning rate."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_parts import mark_break, shared_legend
from rlvr_dynamics.reporting.figure_style import canvas, plain_ticks
from rlvr_dynamics.results.formatting import percent, scientific
from rlvr_dynamics.results.study import Study
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.system.palette import BLACK, GREEN, GREY, SKY, VERMILLION

from ..parts.panels import intervals
from .clocks import WINDOW, clock_rows

NEEDS = "Not drawn: needs runs at two learning rates of one algorithm, measured on both clocks."
PANELS = {
    "Line through component 1": {
        "held-out R², step": ("training step", SKY, "o"),
        "held-out R², path": ("length of the path", BLACK, "s"),
        "held-out R², path, of optimizer's noise": ("path, optimizer's noise", GREY, "_"),
    },
    "Forecast of the weights": {
        "skill of two-point line, step": ("two-point line, step", GREEN, "<"),
        "skill of two-point line, path": ("two-point line, path", GREEN, "s"),
        "skill of RELEX, step": ("RELEX, step", VERMILLION, "^"),
        "skill of RELEX, path": ("RELEX, path", VERMILLION, "s"),
    },
}
YLABELS = ("R² on the second half", "skill; 0: holding the last\nobserved checkpoint")


def draw(study: Study) -> Drawing:
    """Draw the algorithm with the most learning rates; a point is a mean over runs."""
    rows = [row for row in clock_rows(study) if not row["control"] and row["learning rate"]]
    kinds = [(row["model"], row["algorithm"]) for row in rows]
    if not kinds or (most := max(kinds.count(kind) for kind in kinds)) < 2:
        return Drawing(None, missing=NEEDS)
    kind = next(each for each in kinds if kinds.count(each) == most)
    rows = [row for row, each in zip(rows, kinds, strict=True) if each == kind]
    figure, grid = canvas(2.9, 1, 2)
    for axes, (title, series), ylabel in zip(grid[0], PANELS.items(), YLABELS, strict=True):
        _panel(axes, rows, series)
        axes.set_title(title, loc="left")
        axes.set_ylabel(ylabel)
    shared_legend(figure, grid[0], 4)
    runs = sum(row["runs"] for row in rows)
    return Drawing(
        figure,
        f"{', '.join(kind)}: n = {runs} runs. Points: mean over the runs of a learning rate of "
        "their medians over tensors; bars: lowest and highest run. Forecasts of the last step from "
        f"{percent(WINDOW, 0)} of the steps. Linear between -1 and 1, logarithmic beyond. Sources: "
        "linearity, forecast.",
        tuple(", ".join(row["cells"] for row in rows).split(", ")),
    )


def _panel(axes: Axes, rows: list[dict[str, Any]], series: dict[str, tuple[str, str, str]]) -> None:
    rates = np.array([row["learning rate"] for row in rows])
    lowest = 0.0
    for name, (label, colour, marker) in series.items():
        found = [Interval(row[name], row[f"{name} low"], row[f"{name} high"]) for row in rows]
        if not any(np.isfinite(each.value) for each in found):
            continue
        lowest = min(lowest, *(each.low for each in found if np.isfinite(each.low)))
        filled = colour if name.endswith("path") else "white"
        look = {"color": colour, "marker": marker, "markerfacecolor": filled}
        intervals(axes, list(rates), found, label=label, linestyle="-", linewidth=0.6, **look)
    axes.axhline(0, color=GREY, linewidth=0.7, linestyle="--")
    if lowest < -2:
        axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(bottom=1.6 * lowest)
        mark_break(axes, -1.0)
        axes.yaxis.set_major_formatter(FuncFormatter(plain_ticks))
    axes.set_xscale("log")
    axes.set_xticks(rates, [scientific(rate) for rate in rates])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("learning rate")


ARTEFACTS: list[Artefact] = [
    Artefact(
        "clocks_figure",
        "ours",
        "",
        "Both clocks against the learning rate",
        "How much of what the step number loses the length of the path keeps, and where neither "
        "forecasts.",
        "regimes",
        draw,
    )
]
