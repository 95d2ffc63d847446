"""Panels of a figure: the runs and benchmark each shows, points with intervals, legends."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.results.study import Cell, benchmarks
from rlvr_dynamics.statistics.intervals import Interval

from .accuracies import main_benchmark, questions
from .run_groups import Group

MOST_PANELS = 24


@dataclass(frozen=True)
class Panel:
    """One panel: runs on one benchmark (None: each on its main benchmark)."""

    title: str
    cells: tuple[Cell, ...]
    benchmark: str | None = None

    def benchmark_of(self, cell: Cell) -> str | None:
        """Return the benchmark drawn for a run."""
        return self.benchmark or main_benchmark(cell)


def panels_of(found: Sequence[Group], *, each_benchmark: bool) -> list[Panel]:
    """Return one panel per group of runs, or per group and benchmark."""
    if not each_benchmark:
        return [Panel(group.title, group.cells) for group in found]
    return [
        Panel(title if place else f"{group.title}: {title}", group.cells, name)
        for group in found
        for place, (name, title) in enumerate(benchmarks(group.cells).items())
    ]


def columns_of(panels: Sequence[Panel], most: int) -> int:
    """Return panels per row, so that one group's benchmarks fill whole rows if possible."""
    each = len({panel.benchmark for panel in panels})
    return min(len(panels), most if each == 1 else 3 if each % 3 == 0 else 2)


def panel_grid(
    titles: Sequence[str], columns: int, xlabel: str, ylabel: str, *, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel per title, all with the same axis labels."""
    rows = -(-len(titles) // columns)
    figure, grid = canvas(1.0 + 1.45 * rows, rows, columns, sharex=True, sharey=sharey)
    axes = list(grid.flat)
    for place, one in enumerate(axes):
        if place >= len(titles):
            one.remove()
            continue
        one.set_title(wrapped(titles[place], columns), loc="left", fontsize=7.5)
        if place + columns >= len(titles):
            one.tick_params(labelbottom=True)
    figure.supxlabel(xlabel, fontsize=7.5)
    figure.supylabel(ylabel, fontsize=7.5)
    return figure, axes[: len(titles)]


def wrapped(title: str, columns: int) -> str:
    """Wrap a panel's title to fit the given number of panels side by side."""
    return textwrap.fill(title, 84 // columns, break_on_hyphens=False)


def intervals(
    axes: Axes, x: Sequence[float], scores: Sequence[Interval], *, along: str = "y", **look: Any
) -> None:
    """Draw points with their intervals; an unknown interval is left out.

    Args:
        axes: Where to draw.
        x: Positions; heights if `along` is `x`.
        scores: Values with their intervals.
        along: The axis of the values.
        look: Style of the points and bars.
    """
    value, low, high = (
        np.array([tuple(score) for score in scores], dtype=np.float64).reshape(-1, 3).T
    )
    errors = np.clip(np.nan_to_num(np.array([value - low, high - value])), 0, None)
    settings = {"linestyle": "", "markersize": 3, "elinewidth": 0.6, **look}
    if along == "x":
        axes.errorbar(value, x, xerr=errors, **settings)
    else:
        axes.errorbar(x, value, yerr=errors, **settings)


def sizes(cells: Sequence[Cell], each_benchmark: bool = False) -> str:
    """Say the questions and answers behind an accuracy, by benchmark where these differ."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        main = main_benchmark(cell)
        named = {} if main is None else {main: cell.results.benchmark_title(main)}
        for name, title in (benchmarks([cell]) if each_benchmark else named).items():
            found.setdefault(questions(cell, name), []).append(title)
    if len(found) == 1 and each_benchmark:
        return next(iter(found))
    return "; ".join(f"{size} ({', '.join(dict.fromkeys(of))})" for size, of in found.items())
