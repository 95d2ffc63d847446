"""The path of the leading left vector u1(t) during the training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.results.formatting import percent
from rlvr_dynamics.results.frames import known
from rlvr_dynamics.results.study import Cell, Study

from ..parts.panels import wrapped
from ..parts.run_groups import groups, left_out, names_of, runs_and_seeds
from .paper import figure
from .u1_paths import Path1, has_paths, principal_plane, u1_path, walk_like

MOST_RUNS = 8


def middle_path(cell: Cell) -> Path1 | None:
    """Return u1(t) of the matrix with the median R²: the best of many would flatter the run."""
    table = cell.results.tables["pls"]
    if table is None or not has_paths(cell):
        return None
    rows = known(table, "r2").sort_values(["r2", "tensor"])
    return u1_path(cell, str(rows["tensor"].iloc[len(rows) // 2])) if len(rows) else None


def draw(study: Study) -> Drawing:
    """Draw u1(t) next to a random walk, for one seed of every kind of run."""
    found: list[tuple[Cell, str, Path1]] = []
    for group in groups(study.cells, by_algorithm=True):
        for cell in group.cells:
            path = middle_path(cell)
            if path is not None:
                found.append((cell, group.title, path))
                break
    if not found:
        return Drawing(
            None,
            missing="Not measured: needs measure/pls.parquet, measure/statistics and the "
            "accuracies of the training itself.",
        )
    shown = found[:MOST_RUNS]
    cells = [cell for cell, *_ in shown]
    lacking = [cell.name for cell in study.cells if not has_paths(cell)]
    tensors = "; ".join(dict.fromkeys(f"{path.tensor} ({cell.name})" for cell, _, path in shown))
    facts = (
        f"n = {len(shown[0][2].steps)} steps of one matrix each, the one with the median R² of its "
        f"run: {tensors}; {runs_and_seeds(cells)}, one seed of each kind of run; walks: seed 0; "
        "principal components in place of the paper's t-SNE, which keeps no distances; from "
        f"measure/statistics. {left_out({'u1(t)': lacking}, len(study.cells))}"
    )
    return Drawing(_figure(shown), facts.strip(), names_of(study, cells))


def _figure(found: Sequence[tuple[Cell, str, Path1]]) -> Figure:
    pairs = min(2, len(found))
    rows = -(-len(found) // pairs)
    drawn, grid = canvas(0.5 + 1.5 * rows, rows, 2 * pairs)
    axes = list(grid.flat)
    last = max(int(path.steps[-1]) for *_, path in found)
    shade = Normalize(0, last)
    for place, (_, title, path) in enumerate(found):
        left, right = axes[2 * place : 2 * place + 2]
        name = f"layer {path.layer}, {path.module}"
        plane(left, path.u1, path.steps, shade)
        left.set_title(f"{wrapped(title, 2)}\n{name}", loc="left", fontsize=6.5)
        plane(right, walk_like(path.u1), path.steps, shade)
        right.set_title("random walk", loc="left", fontsize=6.5)
    for one in axes[2 * len(found) :]:
        one.remove()
    drawn.colorbar(
        ScalarMappable(shade, "cividis"),
        ax=axes[: 2 * len(found)],
        label="training step",
        aspect=40,
    )
    return drawn


def plane(axes: Axes, vectors: np.ndarray, steps: np.ndarray, shade: Normalize) -> None:
    """Draw the path of vectors in the plane of their leading principal components."""
    scores, shares = principal_plane(vectors)
    axes.plot(scores[:, 0], scores[:, 1], color="#BBBBBB", linewidth=0.5, zorder=1)
    axes.scatter(scores[:, 0], scores[:, 1], c=steps, cmap="cividis", norm=shade, s=7, zorder=2)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.1)
    axes.set_xlabel(f"first {percent(shares[0], 0)}", fontsize=6.5)
    axes.set_ylabel(f"second {percent(shares[1], 0)}", fontsize=6.5)


ARTEFACTS: list[Artefact] = [
    figure(
        "6a",
        "The path of the update's leading left vector",
        "The two leading principal components of u1(t), with their shares of the variance. A "
        "smooth curve alone is not a finding: a random walk with the same step lengths (right of "
        "each) draws one too. Look for a path that is straighter than its walk.",
        "linearity_pls",
        draw,
    )
]
