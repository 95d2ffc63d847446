"""Does the first PLS component of u1(t) follow the accuracy?"""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import blank
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import has, highest, known, mean, numbers
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.system.palette import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

from ..parts.run_groups import Group, dodge, groups, key, left_out, names_of, runs_and_seeds
from .paper import figure
from .u1_paths import Path1, has_paths, source, u1_path

NULLS = {"r2_walk": ("random-walk accuracies", ORANGE), "r2_null": ("permuted accuracies", GREY)}
ROW = 0.3  # inches per kind of run


def draw(study: Study) -> Drawing:
    """Draw three fits of one run (top) and R² of every run with both nulls (bottom)."""
    cells = [cell for cell in study.cells if has(cell.results.tables["pls"], "r2")]
    if not cells:
        return Drawing(None, missing="Not measured: needs measure/pls.parquet.")
    found = groups(cells, by_algorithm=True)
    example = next((cell for cell in cells if has_paths(cell) and paths_of(cell)), None)
    height = 0.8 + ROW * len(found)
    drawn = blank(height + 0.2 if example is None else height + 2.3)
    bottom: Any = drawn
    if example is not None:
        parts: Any = drawn.subfigures(2, 1, squeeze=False, height_ratios=[2.1, height])
        _examples(parts[0, 0], example)
        bottom = parts[1, 0]
    axes = bottom.subplots()
    for y, group in enumerate(found):
        for place, cell in enumerate(group.cells):
            shift = dodge(place, len(group.cells), 0.45)
            _strip(axes, cell, y + shift)
    _finish(axes, found)
    bottom.legend(handles=_handles(), loc="outside lower center", ncols=2)
    lacking = [cell.name for cell in study.cells if cell not in cells]
    size = _size(cells[0].results.tables["pls"])
    facts = (
        f"n = {size} per run; lines: quartiles over matrices; bands: mean over matrices of each "
        f"null's 95 %; {runs_and_seeds(cells)}; from measure/pls.parquet"
        + (
            "; u1(t) itself was not kept, so no fit is drawn"
            if example is None
            else f" and measure/statistics (top: {example.name})"
        )
        + f". {source(cells[0])} {left_out({'R²': lacking}, len(study.cells))}"
    )
    return Drawing(drawn, " ".join(facts.split()), names_of(study, cells))


def _size(table: pd.DataFrame | None) -> str:
    if table is None:
        return "an unknown number of matrices"
    text = f"{len(set(table['tensor']))} matrices"
    if has(table, "T"):
        text += f", {highest(table, 'T')} steps"
    return f"{text}, {highest(table, 'draws')} draws of each null" if has(table, "draws") else text


def paths_of(cell: Cell) -> tuple[Path1, Path1] | None:
    """Return u1(t) of a run's matrices with the best and the median R²; None without them."""
    table = cell.results.tables["pls"]
    if table is None:
        return None
    rows = known(table, "r2").sort_values(["r2", "tensor"])
    best = u1_path(cell, str(rows["tensor"].iloc[-1]))
    middle = u1_path(cell, str(rows["tensor"].iloc[len(rows) // 2]))
    return None if best is None or middle is None else (best, middle)


def _examples(part: Any, cell: Cell) -> None:
    panels, paths = part.subplots(1, 3, sharey=True), paths_of(cell)
    if paths is None:
        return
    part.suptitle(cell.label, fontsize=8, x=0.01, ha="left")
    best, middle = paths
    shown = [("best R²", best, BLUE), ("median R²", middle, BLUE)]
    shown.append(("same u₁, random walk as y", middle.walk(), ORANGE))
    for axes, (name, path, colour) in zip(panels, shown, strict=True):
        scatter(axes, path, colour)
        axes.set_title(
            f"{name}: {number(path.fit.r2, 2)}\nlayer {path.layer}, {path.module}",
            loc="left",
            fontsize=7,
        )
        axes.set_xlabel("first component z, in sd")
    panels[0].set_ylabel("accuracy y(t)")


def scatter(axes: Axes, path: Path1, colour: Any, *, line: bool = True) -> None:
    """Draw accuracy against the first component, with the line that R² refers to."""
    z = path.component
    axes.plot(z, path.accuracy, ".", color=colour, markersize=3.5, alpha=0.8, markeredgewidth=0)
    if line:
        ends = np.array([z.min(), z.max()])
        slope = np.polyfit(z, path.accuracy, 1)
        axes.plot(ends, np.polyval(slope, ends), color=BLACK, linewidth=0.7)


def _strip(axes: Axes, cell: Cell, y: float) -> None:
    table: pd.DataFrame | None = cell.results.tables["pls"]
    if table is None:
        return
    for null, (_, colour) in NULLS.items():
        bounds = [f"{null}_low", f"{null}_high", f"{null}_mean"]
        if has(table, *bounds):
            low, high, middle = (mean(table, name) for name in bounds)
            width = 6 if null == "r2_walk" else 2.5
            axes.plot([low, high], [y, y], color=colour, linewidth=width, alpha=0.4)
            axes.plot([middle], [y], "|", color=colour, markersize=6)
    for column, colour, marker in (("r2", BLUE, "o"), ("loo_r2", VERMILLION, "s")):
        shares = numbers(table, column)
        if not len(shares):
            continue
        low, high = np.quantile(shares, [0.25, 0.75])
        axes.hlines(y, max(low, -0.05), max(high, -0.05), color=colour, linewidth=0.8)
        middle = float(shares.mean())
        axes.plot([max(middle, -0.05)], [y], marker, color=colour, markersize=3)


def _finish(axes: Axes, found: Sequence[Group]) -> None:
    stated = printed(paper="alpharl", table="text").set_index("metric")["value"]
    axes.plot(
        [stated["pls_r2_mean"]],
        [len(found)],
        "D",
        color=GREEN,
        markerfacecolor="none",
        markersize=4,
    )
    axes.set_yticks(
        range(len(found) + 1),
        [fill(group.title, 26) for group in found] + ["paper's mean (printed)"],
    )
    axes.set_ylim(len(found) + 0.5, -0.5)
    axes.set_xlim(-0.08, 1.02)
    axes.set_xlabel("R² of the accuracy on one component of u₁ (means over matrices)")
    axes.grid(axis="y", visible=False)


def _handles() -> list[Line2D]:
    ours = [
        key("R², in sample", color=BLUE, marker="o", markersize=3, linewidth=0.8),
        key("leave-one-out", color=VERMILLION, marker="s", markersize=3, linewidth=0.8),
    ]
    nulls = [
        key(f"null: {name}", color=colour, linewidth=4, alpha=0.35)
        for name, colour in NULLS.values()
    ]
    return [*ours, *nulls]


ARTEFACTS: list[Artefact] = [
    figure(
        "6b",
        "Does u1 follow the accuracy?",
        "A high R² is evidence only beyond the orange band: within it, random walks in place of "
        "the accuracies are fitted by the same vectors just as well. Permuted accuracies have no "
        "trend and are the easier null; leaving one step out keeps its neighbours and flatters.",
        "linearity_pls",
        draw,
    )
]
