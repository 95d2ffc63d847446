"""RELEX: are the leading direction's coefficients linear, and do the lines hold out of sample?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_parts import R2_FLOOR
from rlvr_dynamics.reporting.figure_style import blank
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import equal, has, known, median, median_and_quartiles, on_clock
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.system.palette import BLACK, GREY, ORANGE

from ..parts.panels import wrapped
from ..parts.random_walk import leading_coefficients
from ..parts.run_groups import Group, Looks, groups, row_name, runs_and_seeds
from .figure_parts import (
    PANEL_INCHES,
    PRINTED_LOOK,
    drawing,
    legend,
    not_measured,
    null_line,
    run_line,
    shown_panels,
    span_of,
    tensors_of,
    with_table,
)

NAME = "relex_linearity"
TITLE = "Linearity of the leading coefficient"
PRINTED = 0.98
ROW_INCHES = 0.155
COLUMNS = 3


@dataclass(frozen=True)
class Statistic:
    """One R² of the table `linearity`.

    Attributes:
        column: Name of the column.
        title: Title of its panel.
        printed: The paper's number, or None.
        lowest: Left end of its axis; lower values are drawn at it.
    """

    column: str
    title: str
    printed: float | None = None
    lowest: float = -0.1


STATISTICS = (
    Statistic("r2", "R², in sample", PRINTED),
    Statistic("heldout_r2", "R², held-out half", lowest=R2_FLOOR),
    Statistic("loo_r2", "R², each step left out"),
)


def draw(study: Study) -> Drawing:
    """Draw R² of every run with its nulls, and the coefficient itself, by regime."""
    cells = with_table(study, "linearity")
    if not cells:
        return not_measured("linearity")
    parts, looks = groups(cells), Looks(tuple(cells))
    rows = -(-len(parts) // COLUMNS)
    upper, lower = 0.95 + ROW_INCHES * (len(cells) + 1), PANEL_INCHES * rows + 0.65
    figure = blank(upper + lower)
    halves: Any = figure.subfigures(2, 1, height_ratios=[upper, lower])
    ordered = [cell for part in parts for cell in part.cells]
    panels = halves[0].subplots(1, len(STATISTICS), sharey=True)
    for axes, statistic in zip(panels, STATISTICS, strict=True):
        _rows(axes, statistic, ordered, looks)
    _name_rows(panels[0], ordered)
    grid = halves[1].subplots(rows, min(COLUMNS, len(parts)), squeeze=False, sharey=True)
    for axes, part in zip(shown_panels(grid, len(parts)), parts, strict=True):
        _coefficients(axes, part, looks)
    for row in grid:
        row[0].set_ylabel("c₁(t) / c₁ at the end")
    legend(
        halves[1],
        looks.handles(),
        Line2D([], [], color=GREY, marker="|", linestyle="", label="null: shuffled steps"),
        Line2D([], [], color=BLACK, linestyle=":", linewidth=0.8, label="straight line"),
    )
    return drawing(
        study,
        cells,
        figure,
        f"{tensors_of(cells, 'linearity')}, {span_of(cells, 'linearity', 'T')} steps, "
        f"{span_of(cells, 'linearity', 'draws')} draws "
        f"per null; {runs_and_seeds(cells)}. Marks and lines: median over tensors; bars and "
        "shading: quartiles. Orange: random walks with the same step norms (median over tensors "
        "of the mean and of the ends of the 95 % band; for c₁ the exact curve). Grey: shuffled "
        f"steps. Held-out R² below {number(R2_FLOOR, 0)} is drawn there. Tables linearity, "
        "coefficients and norms. Printed: R² above 0.98 for most tensors.",
        linearity=cells,
    )


def _rows(axes: Axes, statistic: Statistic, cells: list[Cell], looks: Looks) -> None:
    for place, cell in enumerate(cells):
        table = cell.results.tables["linearity"]
        table = None if table is None else on_clock(table)
        if table is None or not has(table, statistic.column):
            axes.text(statistic.lowest, place, " not measured", fontsize=6, va="center", color=GREY)
            continue
        low, mean, high = (
            max(statistic.lowest, median(table, f"{statistic.column}_null_{end}"))
            if has(table, f"{statistic.column}_null_{end}")
            else np.nan
            for end in ("low", "mean", "high")
        )
        axes.plot([low, high], [place, place], color=ORANGE, linewidth=4, alpha=0.45)
        axes.plot([mean], [place], "|", color=ORANGE, markersize=6)
        shuffled = f"{statistic.column}_permuted_mean"
        if has(table, shuffled):
            axes.plot(
                [max(statistic.lowest, median(table, shuffled))],
                [place],
                "|",
                color=GREY,
                markersize=6,
            )
        middle = np.clip(median_and_quartiles(table, statistic.column), statistic.lowest, None)
        axes.plot(middle[1:], [place, place], color=looks.colour(cell), linewidth=0.9)
        axes.plot(middle[:1], [place], looks.marker(cell), color=looks.colour(cell), markersize=3.5)
    if statistic.printed is not None:
        axes.plot([statistic.printed], [len(cells)], **PRINTED_LOOK)
    axes.set_xlim(statistic.lowest - 0.08, 1.08)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1] if statistic.lowest <= -1 else [0, 0.5, 1])
    axes.set_title(statistic.title, loc="left")


def _name_rows(axes: Axes, cells: list[Cell]) -> None:
    several = len({cell.model for cell in cells}) > 1
    names = [f"{cell.model} " * several + row_name(cell) for cell in cells]
    axes.set_yticks(range(len(names) + 1), [*names, "RELEX, printed"], fontsize=6)
    axes.set_ylim(len(names) + 0.7, -0.7)


def _coefficients(axes: Axes, part: Group, looks: Looks) -> None:
    there = [(cell, coefficient_curve(cell)) for cell in part.cells]
    curves = [(cell, curve) for cell, curve in there if curve is not None]
    for cell, curve in curves:
        colour = looks.colour(cell)
        axes.fill_between(curve.index, curve["low"], curve["high"], color=colour, alpha=0.15, lw=0)
        run_line(axes, looks, cell, curve.index, curve["middle"])
    null_line(axes, [cell for cell, _ in curves], leading_coefficients)
    last = max((cell.results.final_step or 1 for cell in part.cells), default=1)
    axes.plot([0, last], [0, 1], color=BLACK, linewidth=0.6, linestyle=":")
    axes.set_title(wrapped(part.title, 3), loc="left")
    axes.set_xlabel("training step")


def coefficient_curve(cell: Cell) -> pd.DataFrame | None:
    """Return c_1(t) over its last value: median and quartiles over tensors, by step.

    Returns:
        Columns low, middle, high, indexed by step; None if there are no coefficients.
    """
    table = cell.results.tables["coefficients"]
    if table is None:
        return None
    wide = equal(table, index=1).pivot(index="step", columns="tensor", values="coefficient")
    last = wide.iloc[-1]
    wide = wide.loc[:, last.notna() & (last != 0)]
    scaled = wide / wide.iloc[-1]
    found = scaled.quantile([0.25, 0.5, 0.75], axis=1).T
    found.columns = pd.Index(["low", "middle", "high"])
    return known(found, "middle")


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "linearity figure",
        TITLE,
        "A mark inside the orange bar is as straight as a random walk. The held-out half asks "
        "whether a line fitted early meets the later coefficients, which is what RELEX needs.",
        "linearity_pls",
        draw,
    )
]
