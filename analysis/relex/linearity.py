"""RELEX: are the coefficients of the leading direction lines, and do the lines hold out?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.parts.panels import wrapped
from analysis.parts.random_walk import leading_coefficients, walk_of
from analysis.parts.run_groups import Group, Looks, groups, left_out, names_of, runs_and_seeds
from analysis.relex.figures import (
    NULL_LABEL,
    NULL_LOOK,
    PANEL_INCHES,
    PRINTED_LABEL,
    PRINTED_LOOK,
    mean_lines,
    span,
)
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_parts import R2_FLOOR
from rlvr_dynamics.reporting.figure_style import BLACK, GREY, ORANGE, blank
from rlvr_dynamics.results.formatting import number, scientific
from rlvr_dynamics.results.frames import equal, has, highest, known, median, median_and_quartiles
from rlvr_dynamics.results.study import NO_CONTROL, Cell, Study

NAME = "relex_linearity"
TITLE = "Linearity of the leading coefficient"
PRINTED = 0.98
ROW_INCHES = 0.155
COLUMNS = 3


@dataclass(frozen=True)
class Statistic:
    """One R² of the table `linearity`: its column, and where its nulls stand.

    Attributes:
        column: Name of the column.
        title: Head of its panel.
        printed: The paper's number, or None.
        lowest: Left end of its axis; lower values are drawn there.
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
    """R² of every run beside its nulls, and the coefficient itself, by regime."""
    found = [(cell, cell.results.tables["linearity"]) for cell in study.cells]
    tables = [table for _, table in found if table is not None]
    cells = [cell for cell, table in found if table is not None]
    if not cells:
        return Drawing(
            None, missing="Not measured: needs measure/linearity.parquet (stage measure)."
        )
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
    _coefficients(halves[1], parts, looks, rows)
    halves[1].legend(handles=_handles(looks), loc="outside lower center", ncols=4)
    draws = [highest(table, "draws") for table in tables if has(table, "draws")]
    lacking = [cell.name for cell, table in found if table is None]
    return Drawing(
        figure,
        f"n = {span(len(set(table['tensor'])) for table in tables)} tensors a run, "
        f"{span(highest(table, 'T') for table in tables)} steps, {span(draws)} draws "
        f"per null; {runs_and_seeds(cells)}. Marks and lines: median over tensors; bars and "
        "shading: quartiles. Orange: random walks with the same step norms (median over tensors "
        "of the mean and of the ends of the 95 % band; for c₁ the exact curve). Grey: shuffled "
        f"steps. Held-out R² below {number(R2_FLOOR, 0)} is drawn there. Tables linearity, "
        "coefficients and norms. Printed: R² above 0.98 for most tensors. "
        f"{left_out({'linearity': lacking}, len(study.cells))}".rstrip(),
        names_of(study, cells),
    )


def _rows(axes: Axes, statistic: Statistic, cells: list[Cell], looks: Looks) -> None:
    for place, cell in enumerate(cells):
        table = cell.results.tables["linearity"]
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


def row_name(cell: Cell) -> str:
    """Few words for a run: algorithm, learning rate, seed, control."""
    rate = "" if cell.learning_rate is None else scientific(cell.learning_rate)
    mark = "" if cell.control == NO_CONTROL else cell.control.split("_")[0]
    parts = (cell.algorithm, rate.replace("e-0", "e−"), f"s{cell.seed}", mark)
    return " ".join(part for part in parts if part)


def _coefficients(figure: Any, parts: list[Group], looks: Looks, rows: int) -> None:
    width = min(COLUMNS, len(parts))
    grid = figure.subplots(rows, width, squeeze=False, sharey=True)
    panels = list(grid.flat)
    for axes in panels[len(parts) :]:
        axes.set_visible(False)
    for axes, part in zip(panels, parts, strict=False):
        _coefficient_panel(axes, part, looks)
    for row in grid:
        row[0].set_ylabel("c₁(t) / c₁ at the end")


def _coefficient_panel(axes: Axes, part: Group, looks: Looks) -> None:
    walks = []
    for cell in part.cells:
        curve = coefficient_curve(cell)
        if curve is None:
            continue
        colour = looks.colour(cell)
        axes.fill_between(curve.index, curve["low"], curve["high"], color=colour, alpha=0.15, lw=0)
        axes.plot(curve.index, curve["middle"], color=colour, linewidth=0.9)
        axes.plot(
            curve.index[-1:], curve["middle"][-1:], looks.marker(cell), color=colour, markersize=3
        )
        walk = walk_of(cell)
        if walk is not None:
            walks.append(leading_coefficients(walk))
    if walks:
        null = mean_lines(walks)
        axes.plot(np.arange(1, len(null) + 1), null, **NULL_LOOK)
    last = max((cell.results.final_step or 1 for cell in part.cells), default=1)
    axes.plot([0, last], [0, 1], color=BLACK, linewidth=0.6, linestyle=":")
    axes.set_title(wrapped(part.title, 3), loc="left")
    axes.set_xlabel("training step")


def coefficient_curve(cell: Cell) -> pd.DataFrame | None:
    """c_1(t) over its last value: median and quartiles over tensors, by step.

    Returns:
        Columns low, middle, high, indexed by step; None where there are no coefficients.
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


def _handles(looks: Looks) -> list[Line2D]:
    return [
        *looks.handles(),
        Line2D([], [], label=NULL_LABEL, **NULL_LOOK),
        Line2D([], [], color=GREY, marker="|", linestyle="", label="null: shuffled steps"),
        Line2D([], [], color=BLACK, linestyle=":", linewidth=0.8, label="straight line"),
        Line2D([], [], label=PRINTED_LABEL, **{**PRINTED_LOOK, "markersize": 5}),
    ]


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
