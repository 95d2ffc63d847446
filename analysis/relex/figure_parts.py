"""Shared parts of RELEX's figures: panels, curves of runs, the null walk, printed values."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from rlvr_dynamics.reporting.artefact import Drawing
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.reporting.tables import absent
from rlvr_dynamics.results.frames import has, highest
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.system.palette import BLACK, ORANGE

from ..parts.random_walk import walk_of
from ..parts.run_groups import Looks, left_out, names_of

Array = NDArray[np.float64]
NULL_LOOK: dict[str, Any] = {"color": ORANGE, "linestyle": "--", "linewidth": 1.2}
PRINTED_LOOK: dict[str, Any] = {
    "color": BLACK,
    "marker": "o",
    "markerfacecolor": "white",
    "markersize": 6,
    "linestyle": "",
    "zorder": 5,
}
PANEL_INCHES = 1.85


def panel_grid(count: int, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels and room for a legend; further panels are hidden."""
    rows = -(-count // columns)
    figure, grid = canvas(0.6 + PANEL_INCHES * rows, rows, columns)
    return figure, shown_panels(grid, count)


def shown_panels(grid: Any, count: int) -> list[Axes]:
    """Return the first `count` panels of a grid and hide the others."""
    panels = list(grid.flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return panels[:count]


def run_line(axes: Axes, looks: Looks, cell: Cell, x: ArrayLike, y: ArrayLike) -> None:
    """Draw a run's curve, with its marker at the end."""
    axes.plot(x, y, **looks.of(cell), markersize=3, markevery=[-1], linewidth=0.9)


def null_line(
    axes: Axes,
    cells: Iterable[Cell],
    of: Callable[[Array], Array],
    *,
    in_percent: bool = False,
    longest: int | None = None,
) -> None:
    """Draw a curve of random walks with the runs' step norms: mean over runs at common steps.

    Args:
        axes: Where to draw.
        cells: Runs; those without a known walk are skipped.
        of: Computes the curve from the step norms of a walk.
        in_percent: Whether x is the share of the steps, in per cent, instead of 1, 2, ...
        longest: Maximum number of points.
    """
    walks = [of(walk) for cell in cells if (walk := walk_of(cell)) is not None]
    if not walks:
        return
    common = min(len(walk) for walk in walks)
    null = np.mean([walk[:common] for walk in walks], axis=0)[:longest]
    x = np.arange(1, len(null) + 1)
    axes.plot(100 * x / len(null) if in_percent else x, null, **NULL_LOOK)


def legend(figure: Any, handles: Sequence[Line2D], *more: Line2D, null: bool = True) -> None:
    """Draw a legend below the figure: the runs, the null, further lines and the printed values."""
    walk = [Line2D([], [], label="null: random walk", **NULL_LOOK)] if null else []
    printed = Line2D([], [], label="printed", **{**PRINTED_LOOK, "markersize": 5})
    figure.legend(handles=[*handles, *walk, *more, printed], loc="outside lower center", ncols=4)


def with_table(study: Study, table: str) -> list[Cell]:
    """Return the runs that have a table."""
    return [cell for cell in study.cells if cell.results.tables[table] is not None]


def not_measured(table: str) -> Drawing:
    """Return an empty drawing, because no run has the table."""
    return Drawing(None, missing=absent("", "", table).missing)


def drawing(
    study: Study, cells: Sequence[Cell], figure: Figure, facts: str, **drawn: Sequence[Cell]
) -> Drawing:
    """Return a figure with its facts and what was not measured.

    Args:
        study: All runs.
        cells: The runs it shows.
        figure: The figure.
        facts: n, intervals and sources.
        drawn: The runs that have each optional item; `_` in its name stands for a blank.
    """
    lacking = {
        what.replace("_", " "): [cell.name for cell in study.cells if cell not in there]
        for what, there in drawn.items()
    }
    text = f"{facts} {left_out(lacking, len(study.cells))}".rstrip()
    return Drawing(figure, text, names_of(study, cells))


def tensors_of(cells: Iterable[Cell], table: str) -> str:
    """Return `n = 35 tensors a run`, or the smallest and largest number."""
    tables = [cell.results.tables[table] for cell in cells]
    return f"n = {span(len(set(one['tensor'])) for one in tables if one is not None)} tensors a run"


def span_of(cells: Iterable[Cell], table: str, column: str) -> str:
    """Return the highest value of a column, or its smallest and largest over runs."""
    tables = [cell.results.tables[table] for cell in cells]
    return span(highest(one, column) for one in tables if one is not None and has(one, column))


def span(values: Iterable[int]) -> str:
    """Return `35`, or `21–35`."""
    found = sorted(set(values))
    return "–".join(str(value) for value in dict.fromkeys([found[0], found[-1]])) if found else "0"
