"""RELEX, appendix B: direction and length of predicted updates compared with the true ones."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_parts import say_not_measured
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import equal, has, known, median, median_and_quartiles, select
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.system.palette import BLACK, GREY

from ..parts.panels import intervals, wrapped
from ..parts.random_walk import forecast, reconstruction_cosines, walk_of
from ..parts.run_groups import Group, Looks, groups, runs_and_seeds
from .figure_parts import (
    NULL_LOOK,
    PRINTED_LOOK,
    Array,
    drawing,
    legend,
    null_line,
    run_line,
    tensors_of,
    with_table,
)

NAME = "relex_geometry"
TITLE = "Direction and length of predicted updates"
RECONSTRUCTED = (0.50, 0.91)  # printed cosine, first and last
FIRST, LAST = {"cosine": 0.72, "ratio": 1.26}, {"cosine": 0.35, "ratio": 2.70}
LAST_FACTOR = 500 / 75  # last target divided by window
ROW_INCHES = 1.75


@dataclass(frozen=True)
class Prediction:
    """RELEX's predictions of one step from one window, summarised over a run's tensors.

    Attributes:
        observe: Last observed step.
        step: Target step.
        cosine: With the true update from the base: median and quartiles.
        ratio: Length over that of the true update: median and quartiles.
        held: Median cosine of the last observed update with the true one; NaN if unknown.
    """

    observe: int
    step: int
    cosine: Interval
    ratio: Interval
    held: float


@once_per_run
def predictions(cell: Cell) -> list[Prediction]:
    """Return RELEX's predictions of real steps beyond their window, by window and step."""
    table = cell.results.tables["forecast"]
    if table is None or not has(table, "cosine", "magnitude_ratio", "sse_hold"):
        return []
    rows = known(equal(table, method="relex"), "cosine")
    rows = select(rows, (rows["observe"] > 0) & (rows["step"] > rows["observe"]))
    rows = rows.assign(held=_held(cell, rows))
    return [
        Prediction(
            int(observe),
            int(step),
            median_and_quartiles(group, "cosine"),
            median_and_quartiles(group, "magnitude_ratio"),
            median(group, "held"),
        )
        for (observe, step), group in rows.groupby(["observe", "step"])  # pyright: ignore[reportGeneralTypeIssues]
    ]


def _held(cell: Cell, rows: pd.DataFrame) -> Array | float:
    """Return the cosine of the last observed with the true update by row, from the cosine rule."""
    norms = cell.results.tables["norms"]
    if norms is None:
        return np.nan
    length = norms.set_index(["tensor", "step"])["update_norm"]
    observed, true = (
        length.reindex(pd.MultiIndex.from_arrays([rows["tensor"], rows[name]])).to_numpy(float)
        for name in ("observe", "step")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        top = observed**2 + true**2 - rows["sse_hold"].to_numpy(float)
        return top / (2 * observed * true)


def draw(study: Study) -> Drawing:
    """Draw three panels per regime: rebuilt direction, predicted direction, predicted length."""
    found = {cell.name: predictions(cell) for cell in study.cells}
    rebuilt = with_table(study, "oracle")
    predicted = [cell for cell in study.cells if found[cell.name]]
    cells = [cell for cell in study.cells if cell in rebuilt or cell in predicted]
    if not cells:
        return Drawing(
            None,
            missing="Not measured: needs predictions/forecast.parquet (stage extrapolate) or "
            "measure/oracle.parquet (stage measure).",
        )
    parts, looks = groups(cells), Looks(tuple(cells))
    figure, grid = canvas(0.75 + ROW_INCHES * len(parts), len(parts), 3, sharex="col")
    for row, part in zip(grid, parts, strict=True):
        _rebuilt(row[0], part, looks)
        _predicted(row[1], row[2], [(cell, found[cell.name]) for cell in part.cells], looks)
        row[0].set_title(wrapped(part.title, 3), loc="left")
        row[1].set_title("RELEX, direction", loc="left")
        row[2].set_title("RELEX, length", loc="left")
    for axes, label in zip(
        grid[-1],
        ("share of the training, %", *["target / observed steps"] * 2),
        strict=True,
    ):
        axes.set_xlabel(label)
    held = Line2D([], [], color=GREY, linewidth=1, label="last observed update")
    legend(figure, [*looks.handles(), held])
    return drawing(
        study,
        cells,
        figure,
        f"{tensors_of(cells, 'forecast')}; {runs_and_seeds(cells)}. Marks and lines: median "
        "over tensors; bars: quartiles. Left: projection on direction 1 of the whole trajectory, "
        "which uses the future. Null: rank 1 with a line on a random walk with the run's step "
        "norms, exact in many dimensions, mean over the runs of a panel. Tables oracle, forecast "
        "and norms. Printed: rebuilt 0.50 rising to 0.91; from 75 of 500 steps cosine 0.72 falling "
        "to 0.35, ratio 1.26 rising to 2.70. At which step the first of each pair was taken is "
        "not known: those stand at the left edge.",
        RELEX_forecast=predicted,
        oracle=rebuilt,
    )


def _rebuilt(axes: Axes, part: Group, looks: Looks) -> None:
    there = [cell for cell in part.cells if cell.results.tables["oracle"] is not None]
    for cell in there:
        table, final = cell.results.tables["oracle"], cell.results.final_step
        if table is not None and final is not None:
            middle = equal(table, rank=1).groupby("step")["cosine"].median()
            run_line(axes, looks, cell, 100 * middle.index / final, middle)
    if not axes.lines:
        say_not_measured(axes)
    null_line(axes, there, lambda walk: reconstruction_cosines(walk, 1), in_percent=True)
    axes.plot([0, 100], RECONSTRUCTED, clip_on=False, **PRINTED_LOOK)
    axes.set_xlim(0, 103)
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("cosine, rebuilt")


def _predicted(
    direction: Axes, length: Axes, found: list[tuple[Cell, list[Prediction]]], looks: Looks
) -> None:
    nulls: dict[float, list[tuple[float, float]]] = {}
    for cell, each_of in found:
        walk = walk_of(cell)
        for step in sorted({each.step for each in each_of}):
            here = sorted((one for one in each_of if one.step == step), key=lambda e: -e.observe)
            factors = [each.step / each.observe for each in here]
            look = {**looks.of(cell), "linestyle": "-", "linewidth": 0.8}
            for axes, drawn in (
                (direction, [each.cosine for each in here]),
                (length, [each.ratio for each in here]),
            ):
                intervals(axes, factors, drawn, **look)
            direction.plot(factors, [each.held for each in here], color=GREY, lw=0.8, zorder=1)
            for each in here:
                if walk is not None and step <= len(walk) and each.observe > 1:
                    null = forecast(walk, each.observe, step)
                    nulls.setdefault(step / each.observe, []).append((null.cosine, null.ratio))
    if not direction.lines:
        say_not_measured(direction)
        say_not_measured(length)
    factors = sorted(nulls)
    means = np.array([np.mean(nulls[factor], axis=0) for factor in factors]).reshape(-1, 2)
    direction.plot(factors, means[:, 0], **NULL_LOOK)
    length.plot(factors, means[:, 1], **NULL_LOOK)
    length.axhline(1, color=BLACK, linewidth=0.6, linestyle=":")
    for axes, name in ((direction, "cosine"), (length, "ratio")):
        axes.set_xscale("log")
        axes.set_xlim(1, max([20.0, *factors]) * 1.25)
        axes.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
        axes.set_xticks([], minor=True)
        axes.plot([1, LAST_FACTOR], [FIRST[name], LAST[name]], clip_on=False, **PRINTED_LOOK)
    direction.set_ylim(0, 1.05)
    direction.set_ylabel("cosine, predicted")
    length.set_yscale("log")
    length.set_yticks([0.5, 1, 2, 5], ["0.5", "1", "2", "5"])
    length.set_yticks([], minor=True)
    length.set_ylabel("length, predicted / true")


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "appendix B",
        TITLE,
        "Middle: does the predicted direction beat the last observed update (grey), which costs "
        "nothing? Right: above the dotted line the prediction overshoots. The dashed line is "
        "what the method gives on a random walk.",
        "linearity_pls",
        draw,
    )
]
