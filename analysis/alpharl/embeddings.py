"""Token embeddings before and after training."""

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from rlvr_dynamics.behaviour.job import TRAINED
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import blank
from rlvr_dynamics.results.frames import equal, values
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.system.palette import BLUE, GREY, ORANGE, VERMILLION

from ..parts.panels import intervals, wrapped
from ..parts.run_groups import Group, groups, key, names_of, runs_and_seeds
from .behaviour_tables import MISSING, behaviour, lacking, measured
from .paper import figure

COLUMNS = 3
PLANE_INCHES, ROW_INCHES = 1.6, 0.16
GROUPS = ((True, VERMILLION, "o", "tokens of the answers"), (False, GREY, "X", "other tokens"))


def draw(study: Study) -> Drawing:
    """Draw the plane of each group's first run, and the shift lengths of every run."""
    cells = measured(study, "embeddings")
    if not cells:
        return Drawing(None, missing=MISSING)
    found = groups(cells, by_algorithm=True)
    rows = -(-len(found) // COLUMNS)
    lengths = 0.75 + ROW_INCHES * 2 * (len(cells) + len(found) / 2)
    drawn = blank(0.4 + PLANE_INCHES * rows + lengths)
    parts: Any = drawn.subfigures(2, 1, height_ratios=[PLANE_INCHES * rows + 0.3, lengths])
    grid = parts[0].subplots(rows, min(COLUMNS, len(found)), squeeze=False)
    for axes in list(grid.flat)[len(found) :]:
        axes.set_visible(False)
    for axes, group in zip(grid.flat, found, strict=False):
        _plane(axes, group)
    _plane_legend(parts[0])
    _lengths(parts[1], found)
    tokens = [int(values(_trained(cell), "used").sum()) for cell in cells]
    span = str(min(tokens)) + (f" to {max(tokens)}" if max(tokens) > min(tokens) else "")
    ties = {bool(tied) for cell in cells for tied in _trained(cell, None)["tied"]}
    words = {True: "the output head is the same matrix", False: "the output head is its own matrix"}
    facts = (
        f"{runs_and_seeds(cells)}; n = {span} tokens of the trained model's greedy answers; "
        f"{' or '.join(words[tied] for tied in sorted(ties))}; exact PCA of both models' "
        "embeddings together (no seed needed); bars: middle half of the tokens, a spread and no "
        "interval. Rank-1 and random updates leave embeddings at the base's, shift 0"
    )
    return Drawing(drawn, f"{facts}.{lacking(study, cells)}", names_of(study, cells))


def _trained(cell: Cell, matrix: str | None = "input") -> pd.DataFrame:
    rows = equal(behaviour(cell, "embeddings"), model=TRAINED)
    return rows if matrix is None else equal(rows, matrix=matrix)


def _plane(axes: Axes, group: Group) -> None:
    cell = group.cells[0]
    rows = equal(_trained(cell), used=True)
    start = np.column_stack([values(rows, "x_base"), values(rows, "y_base")])
    end = np.column_stack([values(rows, "x"), values(rows, "y")])
    links = LineCollection(list(np.stack([start, end], axis=1)), colors=GREY, linewidths=0.6)
    axes.add_collection(links)
    axes.plot(*start.T, linestyle="", marker="o", fillstyle="none", color=BLUE, markersize=4)
    axes.plot(*end.T, linestyle="", marker=".", color=VERMILLION, markersize=3)
    seed = f", seed {cell.seeds}" if len(group.cells) > 1 else ""
    axes.set_title(wrapped(f"{group.title}{seed}", COLUMNS), loc="left", fontsize=7)
    across, up = (100 * float(values(rows, name)[0]) for name in ("x_explained", "y_explained"))
    axes.set_xlabel(f"axis 1 ({across:.0f} % of variance)", fontsize=6.5)
    axes.set_ylabel(f"axis 2 ({up:.0f} %)", fontsize=6.5)
    axes.set_xticks([])
    axes.set_yticks([])


def _plane_legend(part: Any) -> None:
    handles = [
        key("base", linestyle="", marker="o", fillstyle="none", color=BLUE),
        key("trained model", linestyle="", marker=".", color=VERMILLION),
        key("shift of a token, to scale", color=GREY, linewidth=0.6),
    ]
    part.legend(handles=handles, loc="outside lower center", ncols=3)


def _lengths(part: Any, found: list[Group]) -> None:
    axes = part.subplots()
    y, ticks, names = 0.0, [], []
    for group in found:
        begin = y
        for cell in group.cells:
            for matrix in ("input", "output"):
                for used, colour, marker, _ in GROUPS:
                    rows = equal(_trained(cell, matrix), used=used)
                    shifts = 100 * values(rows, "relative_shift")
                    shifts = shifts[np.isfinite(shifts)]
                    if not len(shifts):
                        continue
                    low, middle, high = np.quantile(shifts, [0.25, 0.5, 0.75])
                    intervals(
                        axes,
                        [y],
                        [Interval(middle, low, high)],
                        along="x",
                        color=colour if matrix == "input" else ORANGE,
                        marker=marker,
                        fillstyle="full" if matrix == "input" else "none",
                        markersize=3.5,
                        elinewidth=0.8,
                    )
                    y += 1
        ticks.append((begin + y - 1) / 2)
        names.append(fill(group.title, 26))
        y += 0.7
    axes.set_yticks(ticks, names)
    axes.set_ylim(y - 0.2, -0.8)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(left=0)
    axes.set_xlabel("shift of a token, % of its embedding (median and middle half)")
    handles = [
        key(label, color=colour, marker=marker, linestyle="") for _, colour, marker, label in GROUPS
    ]
    if any(len(_trained(cell, "output")) for group in found for cell in group.cells):
        handles.append(key("output head", color=ORANGE, fillstyle="none", marker="o", linestyle=""))
    part.legend(handles=handles, loc="outside lower center", ncols=3)


ARTEFACTS: list[Artefact] = [
    figure(
        "5b",
        "Token embeddings before and after training",
        "Points are the tokens of the trained model's answers, links their shifts, drawn to scale "
        "on two axes that say how much of the variance they show. Below, how long the shifts are; "
        "tokens that do not occur in the answers are the control.",
        "rank_recovery",
        draw,
    )
]
