"""R² of the accuracy on u1(t), by layer and module."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_parts import say_not_measured
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.results.formatting import module_rank, number
from rlvr_dynamics.results.frames import has, known
from rlvr_dynamics.results.study import Study

from ..parts.run_groups import Group, groups, left_out, names_of, runs_and_seeds
from .paper import figure
from .u1_paths import source

MOST_INCHES = 13.0
COLUMNS = {"r2": "R², in sample", "r2_walk_mean": "null: random-walk accuracies"}
LEGIBLE = 14  # layers; with more, the numbers would not fit


def draw(study: Study) -> Drawing:
    """Draw R², mean over seeds (left), and R² with random walks as accuracies (right)."""
    cells = [cell for cell in study.cells if has(cell.results.tables["pls"], "r2", "layer")]
    if not cells:
        return Drawing(None, missing="Not measured: needs measure/pls.parquet.")
    found = groups(cells, by_algorithm=True)
    room = np.cumsum([_inches(group) for group in found])
    shown = found[: max(1, int((room <= MOST_INCHES).sum()))]
    drawn = [cell for group in shown for cell in group.cells]
    lacking = [cell.name for cell in study.cells if cell not in cells]
    facts = (
        f"n: one matrix per square, mean over seeds where a kind of run has several "
        f"({', '.join(str(len(group.cells)) for group in shown)} runs); {runs_and_seeds(drawn)}; "
        f"from measure/pls.parquet. {source(cells[0])} "
        f"{left_out({'R²': lacking}, len(study.cells))}"
    )
    if len(found) > len(shown):
        facts += f" {len(found) - len(shown)} further kinds of runs are left out."
    return Drawing(_figure(shown), " ".join(facts.split()), names_of(study, drawn))


def _table(group: Group) -> pd.DataFrame:
    tables = [cell.results.tables["pls"] for cell in group.cells]
    joined = pd.concat([table for table in tables if table is not None])
    columns = [name for name in COLUMNS if name in joined]
    means = joined.groupby(["layer", "module"], as_index=False)[columns].mean()
    return cast(pd.DataFrame, means)


def _inches(group: Group) -> float:
    layers = len(set(_table(group)["layer"]))
    return 0.55 + max(3 * 0.16, layers * (0.16 if layers <= LEGIBLE else 0.08))


def _figure(shown: Sequence[Group]) -> Figure:
    tables = [_table(group) for group in shown]
    heights = [_inches(group) for group in shown]
    drawn, grid = canvas(sum(heights) + 0.3, len(shown), len(COLUMNS), height_ratios=heights)
    shade = Normalize(0, 1)
    for row, (group, table) in enumerate(zip(shown, tables, strict=True)):
        for place, (column, name) in enumerate(COLUMNS.items()):
            axes = grid[row, place]
            axes.set_title(group.title if place == 0 else name, loc="left", fontsize=7)
            _map(axes, table, column, shade)
            if place == 0:
                axes.set_ylabel("layer")
    drawn.colorbar(
        ScalarMappable(shade, "cividis"), ax=list(grid.flat), label="R²", fraction=0.04, aspect=30
    )
    return drawn


def _map(axes: Axes, table: pd.DataFrame, column: str, shade: Normalize) -> None:
    if not has(table, column):
        say_not_measured(axes)
        return
    cells = known(table, "layer").pivot(index="layer", columns="module", values=column)
    cells = cells[sorted(cells.columns, key=module_rank)].sort_index()
    axes.imshow(cells.to_numpy(float), aspect="auto", cmap="cividis", norm=shade)
    names = [str(name).removesuffix("_proj") for name in cells.columns]
    axes.set_xticks(range(len(names)), names, fontsize=6.5)
    every = 1 if len(cells) <= LEGIBLE else 4
    axes.set_yticks(
        range(0, len(cells), every), [str(int(layer)) for layer in cells.index[::every]]
    )
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if len(cells) > LEGIBLE:
        return
    for row in range(len(cells)):
        for place in range(len(names)):
            value = cells.iat[row, place]
            colour = "white" if value < 0.55 else "black"
            axes.text(
                place, row, number(value, 2), ha="center", va="center", fontsize=6, color=colour
            )


ARTEFACTS: list[Artefact] = [
    figure(
        "15",
        "Where in the model u1 follows the accuracy",
        "The paper finds the highest R² in the MLPs of middle and late layers. Compare each square "
        "with the one to its right, the mean that random walks reach in place of the accuracies: a "
        "module whose direction moves more smoothly scores higher with any trend.",
        "linearity_pls",
        draw,
    )
]
