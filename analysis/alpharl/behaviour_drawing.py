"""What the behaviour figures share: rows of estimates, and panels of one group of runs each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.alpharl.behaviour_tables import (
    LOOKS,
    MISSING,
    NAMES,
    behaviour,
    lacking,
    measured,
    questions_of,
)
from analysis.parts.curves import wrapped
from analysis.parts.run_groups import Group, groups, names_of, runs_and_seeds
from rlvr_dynamics.reporting.artefact import Drawing
from rlvr_dynamics.reporting.figure_style import GREY, canvas
from rlvr_dynamics.results.frames import equal, values
from rlvr_dynamics.results.study import Cell, Study

ROW_INCHES, PANEL_INCHES, LEGEND_INCHES = 0.13, 1.5, 0.85
COLUMNS = 3
Reading = tuple[str, str, str]
"""Reader, writer, and how the pair is named in the legend."""


def draw_rows(
    study: Study,
    metric: str,
    readings: Sequence[Reading],
    xlabel: str,
    *,
    scale: float = 1,
    floor: float,
) -> Drawing:
    """One row of estimates per group of runs, a mark per reading and seed.

    Args:
        study: The runs.
        metric: Metric of the summary.
        readings: Which readings are drawn, each in its own look; of equal writers the later ones
            are open.
        xlabel: Label of the axis.
        scale: What values are multiplied with.
        floor: Where the axis begins, before scaling.
    """
    cells = measured(study, "summary")
    if not cells:
        return Drawing(None, missing=MISSING)
    rows = groups(cells, by_algorithm=True)
    height = 0.75 + sum(_inches(group, readings) for group in rows)
    figure, grid = canvas(height)
    axes, edge = grid[0, 0], 0.0
    ticks = []
    for group in rows:
        span = _inches(group, readings)
        ticks.append(edge + span / 2)
        for place, reading in enumerate(readings):
            for number, cell in enumerate(group.cells):
                shift = place * len(group.cells) + number
                mid = edge + ROW_INCHES * (1 + shift)
                _estimate(axes, cell, metric, reading, readings, mid, scale)
        edge += span
        axes.axhline(edge, color="#DDDDDD", linewidth=0.6)
    axes.set_yticks(ticks, [group.title.replace(", lr", ",\nlr") for group in rows])
    axes.set_ylim(edge, 0)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(left=scale * floor)
    axes.set_xlabel(xlabel)
    handles = [_handle(reading, readings) for reading in readings]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    facts = f"{runs_and_seeds(cells)}; {questions_of(cells)}; whiskers: 95 % bootstrap over answers"
    return Drawing(figure, f"{facts}.{lacking(study, cells)}", names_of(study, cells))


def _inches(group: Group, readings: Sequence[Reading]) -> float:
    return ROW_INCHES * (1 + len(readings) * len(group.cells))


def _style(reading: Reading, readings: Sequence[Reading]) -> tuple[str, str, Any]:
    """Colour, marker and filling: by writer, open for its second reader."""
    first = next(other for other in readings if other[1] == reading[1])
    colour, marker = LOOKS[reading[1] if reading == first else reading[0]]
    return colour, marker, "full" if reading == first else "none"


def _handle(reading: Reading, readings: Sequence[Reading]) -> Line2D:
    colour, marker, filling = _style(reading, readings)
    return Line2D(
        [], [], color=colour, marker=marker, fillstyle=filling, linestyle="", label=reading[2]
    )


def _estimate(
    axes: Axes,
    cell: Cell,
    metric: str,
    reading: Reading,
    readings: Sequence[Reading],
    y: float,
    scale: float,
) -> None:
    table = behaviour(cell, "summary")
    if table is None:
        return
    row = equal(table, metric=metric, reader=reading[0], writer=reading[1])
    if not len(row):
        return
    colour, marker, filling = _style(reading, readings)
    value = values(row, "value")
    errors = np.array([value - values(row, "low"), values(row, "high") - value])
    axes.errorbar(
        scale * value,
        [y],
        xerr=scale * np.clip(np.nan_to_num(errors), 0, None),
        color=colour,
        marker=marker,
        fillstyle=filling,
        linestyle="",
        elinewidth=0.8,
        markersize=3.5,
    )


def panels(
    cells: Sequence[Cell], xlabel: str, ylabel: str
) -> tuple[Figure, list[tuple[Axes, Group]]]:
    """A figure with one panel per group of runs.

    Args:
        cells: At least one run.
        xlabel: Label below the lowest panels.
        ylabel: Label left of the first column.

    Returns:
        Figure, and pairs of axes and group; the axes that are left over are hidden.
    """
    found = groups(cells, by_algorithm=True)
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    figure, grid = canvas(
        LEGEND_INCHES + PANEL_INCHES * rows, rows, columns, sharex=True, sharey=True
    )
    flat = list(grid.flat)
    for axes in flat[len(found) :]:
        axes.set_visible(False)
    for place, (axes, group) in enumerate(zip(flat, found, strict=False)):
        axes.set_title(wrapped(group.title, columns), loc="left", fontsize=7)
        if place + columns >= len(found):
            axes.xaxis.set_tick_params(labelbottom=True)
            axes.set_xlabel(xlabel)
        if place % columns == 0:
            axes.set_ylabel(ylabel)
    return figure, list(zip(flat, found, strict=False))


def role_legend(figure: Figure, roles: Sequence[str], *more: Line2D, words: str = "{}") -> None:
    """A legend of the models' looks, and of other lines, below the figure."""
    handles = [
        Line2D(
            [],
            [],
            color=LOOKS[role][0],
            marker=LOOKS[role][1],
            markersize=3.5,
            label=words.format(NAMES[role]),
        )
        for role in roles
    ]
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=2)


def null_line(label: str) -> Line2D:
    """The legend's line for a null."""
    return Line2D([], [], color=GREY, linestyle=":", label=label)
