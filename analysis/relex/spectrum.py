"""RELEX: the share of a tensor's trajectory in each of its components."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import plain_ticks
from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import equal, median_and_quartiles, numbers, select, values
from rlvr_dynamics.results.study import Cell, Study

from ..parts.panels import intervals
from ..parts.random_walk import variance_shares, walk_of
from ..parts.run_groups import Group, Looks, dodge, groups, runs_and_seeds
from .figure_parts import (
    NULL_LOOK,
    PRINTED_LOOK,
    drawing,
    legend,
    not_measured,
    null_line,
    panel_grid,
    span_of,
    tensors_of,
    with_table,
)

NAME = "relex_spectrum"
TITLE = "Components of the trajectory"
TABLE = "trajectory_svd"
PRINTED = 0.814  # component 1's share of the variance in the rank-5 subspace
SUBSPACE = 5


@once_per_run
def shares(cell: Cell) -> pd.DataFrame | None:
    """Return σ_i² over the squared length of the trajectory, by tensor and component.

    Returns:
        Columns tensor, index, share, and `of_five`: the share among the first five components;
        None if the trajectory was not decomposed.
    """
    table = cell.results.tables[TABLE]
    if table is None:
        return None
    squares = values(table, "sigma") ** 2
    first = table["index"] == 1
    # Component 1's explained variance is its share, so it determines the total squared length.
    length = squares / values(table, "explained_variance")
    whole = dict(zip(table["tensor"][first], length[first], strict=True))
    rows = pd.DataFrame({"tensor": table["tensor"], "index": table["index"]})
    rows["share"] = squares / np.array([whole.get(name, np.nan) for name in rows["tensor"]])
    leading = select(rows, rows["index"] <= SUBSPACE)
    five = {name: numbers(group, "share").sum() for name, group in leading.groupby("tensor")}
    rows["of_five"] = values(rows, "share") / np.array(
        [five.get(name, np.nan) for name in rows["tensor"]]
    )
    return rows


def draw(study: Study) -> Drawing:
    """Draw a panel of spectra per regime, and component 1's share among the first five."""
    cells = with_table(study, TABLE)
    if not cells:
        return not_measured(TABLE)
    looks, parts = Looks(tuple(cells)), groups(cells)
    figure, panels = panel_grid(len(parts) + 1)
    for axes, part in zip(panels, parts, strict=False):
        _spectra(axes, part, looks)
    _first_of_five(panels[-1], parts, looks)
    legend(figure, looks.handles())
    return drawing(
        study,
        cells,
        figure,
        f"{tensors_of(cells, TABLE)}, {span_of(cells, TABLE, 'T')} steps; "
        f"{runs_and_seeds(cells)}. Marks: median over tensors; bars: quartiles. Null: a random "
        "walk with the run's step norms, exact in many dimensions, mean over the runs of a panel. "
        "Tables trajectory_svd and norms. Printed: 81.4 % in the rank-5 subspace, model and n of "
        "the paper's own.",
        spectrum=cells,
    )


def _spectra(axes: Axes, part: Group, looks: Looks) -> None:
    longest = 1
    for cell in part.cells:
        found = shares(cell)
        if found is None:
            continue
        indices = sorted({int(index) for index in found["index"]})
        longest = max(longest, indices[-1])
        middle = [median_and_quartiles(equal(found, index=index), "share") for index in indices]
        intervals(axes, indices, middle, **looks.of(cell), linestyle="-", linewidth=0.9)
    null_line(axes, part.cells, variance_shares, longest=longest)
    axes.set_yscale("log")
    axes.set_ylim(top=1.6)
    axes.set_yticks([], minor=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(plain_ticks))
    axes.set_title(part.title, loc="left")
    axes.set_xlabel("component i")
    axes.set_ylabel("share σᵢ² / Σσ²")


def _first_of_five(axes: Axes, parts: list[Group], looks: Looks) -> None:
    for place, part in enumerate(parts):
        nulls = []
        for position, cell in enumerate(part.cells):
            found, walk = shares(cell), walk_of(cell)
            if found is None:
                continue
            spot = place + dodge(position, len(part.cells), 0.5)
            middle = median_and_quartiles(equal(found, index=1), "of_five")
            intervals(axes, [spot], [middle], **looks.of(cell), markersize=3.5, elinewidth=0.8)
            if walk is not None:
                null = variance_shares(walk)
                nulls.append(null[0] / null[:SUBSPACE].sum())
        if nulls:
            axes.plot([place - 0.4, place + 0.4], [np.mean(nulls)] * 2, **NULL_LOOK)
    axes.plot([len(parts)], [PRINTED], **PRINTED_LOOK)
    names = [part.title.replace(", ", "\n") for part in parts]
    axes.set_xticks(range(len(parts) + 1), [*names, "RELEX"], fontsize=6)
    axes.set_xlim(-0.6, len(parts) + 0.6)
    axes.set_ylim(top=1.02)
    axes.set_title("component 1 of the first five", loc="left")
    axes.set_ylabel("share σ₁² / Σ₁₋₅ σ²")


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "rank analysis",
        TITLE,
        "The distance between the marks and the dashed line: a random walk puts most of its "
        "length into one component too, so a high first share alone says little.",
        "linearity_pls",
        draw,
    )
]
