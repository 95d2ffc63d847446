"""u1(t) and its PLS component for every kind of module."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_parts import say_not_measured
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.results.formatting import module_rank, number
from rlvr_dynamics.results.frames import equal, has, known, mean, values
from rlvr_dynamics.results.study import Cell, Study

from ..parts.run_groups import names_of, runs_and_seeds
from .paper import figure
from .pls_fits import scatter
from .u1_figures import plane
from .u1_paths import Path1, has_paths, source, u1_path

PAPERS = "dapo"  # the paper's figures show a run of this algorithm
SHADES = "viridis"


def draw(study: Study) -> Drawing:
    """Draw one row per kind of module for one run: a DAPO run if possible, as in the paper."""
    cell = chosen(study)
    if cell is None:
        return Drawing(None, missing="Not measured: needs measure/u1_alignment.parquet.")
    table = cell.results.tables["u1_alignment"]
    modules = sorted(set() if table is None else set(table["module"]), key=module_rank)
    paths = {module: _paths(cell, module) for module in modules}
    facts = (
        f"{cell.label}; n = {_counts(cell, paths)}; {runs_and_seeds([cell])}; principal "
        "components in place of the paper's t-SNE; from measure/u1_alignment.parquet, "
        f"measure/pls.parquet and measure/statistics. {source(cell)}"
    )
    if not any(paths.values()):
        facts += " The vectors themselves were not kept: left and middle columns not measured."
    return Drawing(_figure(cell, modules, paths), facts.strip(), names_of(study, [cell]))


def chosen(study: Study) -> Cell | None:
    """Choose the run to draw: not a control, with kept vectors, preferably DAPO."""
    there = [
        cell for cell in study.cells if has(cell.results.tables["u1_alignment"], "cosine_last")
    ]
    order = [
        (cell.control != "none", not has_paths(cell), cell.algorithm != PAPERS, place)
        for place, cell in enumerate(there)
    ]
    return there[min(order)[-1]] if there else None


def _paths(cell: Cell, module: str) -> list[Path1]:
    table = cell.results.tables["pls"]
    if table is None or not has_paths(cell):
        return []
    rows = known(equal(table, module=module), "layer").sort_values(["layer", "tensor"])
    found = [u1_path(cell, str(tensor)) for tensor in rows["tensor"]]
    return [path for path in found if path is not None]


def _counts(cell: Cell, paths: dict[str, list[Path1]]) -> str:
    table = cell.results.tables["u1_alignment"]
    matrices = 0 if table is None else len(set(table["tensor"]))
    steps = sorted({len(path.steps) for found in paths.values() for path in found})
    text = f"{matrices} matrices"
    return f"{text}, {steps[-1]} steps with an accuracy" if steps else text


def _figure(cell: Cell, modules: Sequence[str], paths: dict[str, list[Path1]]) -> Figure:
    drawn, grid = canvas(0.7 + 1.15 * len(modules), len(modules), 3, width_ratios=[0.75, 1, 1])
    table = cell.results.tables["u1_alignment"]
    layers = [] if table is None else sorted(set(known(table, "layer")["layer"]))
    shade = Normalize(min(layers, default=0), max(1, max(layers, default=1)))
    last = cell.results.final_step or 1
    for row, module in enumerate(modules):
        left, middle, right = grid[row]
        if paths[module]:
            path = middle_of(paths[module])
            plane(left, path.u1, path.steps, Normalize(0, last))
            _components(middle, cell, module, paths[module], shade)
        else:
            for axes in (left, middle):
                axes.set_xticks([])
                axes.set_yticks([])
                say_not_measured(axes)
        named = f"{module}, layer {middle_of(paths[module]).layer}" if paths[module] else module
        left.set_title(named, loc="left", fontsize=7)
        _cosines(right, cell, module, shade)
    widest = max(abs(edge) for axes in grid[:, 1] for edge in axes.get_xlim())
    for axes in grid[:, 1]:
        axes.set_xlim(-widest, widest)
    for axes in grid[:-1, 1:].flat:
        axes.tick_params(labelbottom=False)
    grid[-1, 1].set_xlabel("first PLS component z, in sd")
    grid[-1, 2].set_xlabel("training step")
    grid[0, 2].set_title("cosine of u₁(t) with the last", loc="left", fontsize=7)
    drawn.colorbar(
        ScalarMappable(Normalize(0, last), "cividis"),
        ax=list(grid[:, 0]),
        location="bottom",
        label="training step",
        aspect=12,
        pad=0.01,
    )
    drawn.colorbar(
        ScalarMappable(shade, SHADES),
        ax=list(grid[:, 1:].flat),
        location="bottom",
        label="layer",
        aspect=40,
        ticks=[round(tick) for tick in np.linspace(shade.vmin or 0, shade.vmax or 1, 3)],
        pad=0.01,
    )
    return drawn


def middle_of(paths: Sequence[Path1]) -> Path1:
    """Return the middle layer, whose path is drawn."""
    return paths[len(paths) // 2]


def _components(
    axes: Axes, cell: Cell, module: str, paths: Sequence[Path1], shade: Normalize
) -> None:
    colours = colormaps[SHADES]
    for path in paths:
        scatter(axes, path, colours(shade(path.layer)), line=False)
    table: Any = cell.results.tables["pls"]
    rows = equal(table, module=module)
    text = f"accuracy; R² {number(mean(rows, 'r2'), 2)}"
    if has(rows, "r2_walk_mean"):
        text += f", walks {number(mean(rows, 'r2_walk_mean'), 2)}"
    axes.set_title(text, loc="left", fontsize=7)


def _cosines(axes: Axes, cell: Cell, module: str, shade: Normalize) -> None:
    colours = colormaps[SHADES]
    table: Any = cell.results.tables["u1_alignment"]
    for layer, rows in known(equal(table, module=module), "layer").groupby("layer", sort=True):
        rows = rows.sort_values(["step"])
        colour = colours(shade(float(str(layer))))
        axes.plot(values(rows, "step"), values(rows, "cosine_last"), color=colour, linewidth=0.8)
    axes.set_ylim(top=1.04)


ARTEFACTS: list[Artefact] = [
    figure(
        "16 to 29",
        "u1 of every kind of module, and how it follows the accuracy",
        "Left: principal components of u1(t) of the middle layer. Middle: accuracy against the "
        "first PLS component, every layer in its colour; walks: the mean R² of random walks in "
        "place of the accuracies, the null to beat. Right: how early the direction is settled.",
        "linearity_pls",
        draw,
    )
]
