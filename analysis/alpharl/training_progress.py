"""Accuracy over the training: real checkpoints and their rank-1 updates."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.scores import model_of, steps_of
from rlvr_dynamics.results.study import Study
from rlvr_dynamics.system.palette import BLACK, GREEN, GREY

from ..parts.accuracies import accuracy
from ..parts.panels import (
    MOST_PANELS,
    Panel,
    columns_of,
    intervals,
    panel_grid,
    panels_of,
    sizes,
)
from ..parts.run_groups import Looks, groups, key, names_of, runs_and_seeds
from .paper import figure

RECOVERY = "rank1_recovery"
FEWEST_STEPS = 2
KINDS: dict[str, tuple[str, str, Literal["-", "--"]]] = {
    "real": ("real checkpoints", BLACK, "-"),
    RECOVERY: ("their rank-1 updates", GREEN, "--"),
}


def draw(study: Study, *, algorithm: str = "", each_benchmark: bool = False) -> Drawing:
    """Draw one panel per model, algorithm and learning rate, with a marker per seed.

    Args:
        study: The runs.
        algorithm: Algorithm of the runs; empty for all.
        each_benchmark: Draw a panel per benchmark instead of only the main one.
    """
    asked = [cell for cell in study.cells if algorithm in ("", cell.algorithm)]
    cells = [cell for cell in asked if len(steps_of(cell.results, RECOVERY)) >= FEWEST_STEPS]
    if not cells:
        missing = f"Not measured: no run has scores of the rank-1 update at {FEWEST_STEPS} or more"
        return Drawing(None, missing=f"{missing} steps.")
    panels = panels_of(groups(cells, by_algorithm=True), each_benchmark=each_benchmark)
    without = [cell.name for cell in asked if cell not in cells]
    facts = (
        f"n = {sizes(cells, each_benchmark)} per checkpoint; bars: 95 % intervals over "
        f"questions; {runs_and_seeds(cells)}; from scores/scores.parquet."
    )
    if len(panels) > MOST_PANELS:
        facts += f" {len(panels) - MOST_PANELS} further panels are left out."
    if without:
        facts += f" Without rank-1 updates at several steps: {', '.join(without)}."
    return Drawing(_figure(panels[:MOST_PANELS], each_benchmark), facts, names_of(study, cells))


def _figure(panels: Sequence[Panel], each_benchmark: bool) -> Figure:
    looks = Looks(tuple(cell for panel in panels for cell in panel.cells))
    titles = [panel.title for panel in panels]
    columns = columns_of(panels, 3)
    drawn, axes = panel_grid(
        titles, columns, "training step", "accuracy", sharey=not each_benchmark
    )
    for one, panel in zip(axes, panels, strict=True):
        _panel(one, panel, looks)
    for one in axes:  # the panels share an axis, so draw all before fixing its end
        one.set_ylim(bottom=0)
    handles = [
        key(
            name,
            color=colour,
            linestyle=line,
            marker="o",
            markersize=3.5,
            markerfacecolor=colour if kind == "real" else "white",
        )
        for kind, (name, colour, line) in KINDS.items()
    ]
    handles.append(key("random update", color=GREY, linestyle="", marker="X", markersize=4))
    seeds = looks.seed_handles(markersize=4)
    handles += seeds if len(seeds) > 1 else []
    drawn.legend(handles=handles, loc="outside upper center", ncols=5, columnspacing=1.2)
    return drawn


def _panel(axes: Axes, panel: Panel, looks: Looks) -> None:
    for place, cell in enumerate(panel.cells):
        where, final = panel.benchmark_of(cell), cell.results.final_step or 1
        base = accuracy(cell, model_of(cell.results, "base"), where)
        for kind, (_, colour, line) in KINDS.items():
            steps = steps_of(cell.results, kind)
            found = [
                (step, accuracy(cell, model_of(cell.results, kind, step=step), where))
                for step in steps
            ]
            # Without an update there is nothing to reduce, so both curves start at the base.
            points = [(0, base), *found] if base is not None else found
            known = [(step, score) for step, score in points if score is not None]
            side = 0.5 * (kind == RECOVERY) + place - (len(panel.cells) - 1) / 2
            x = [step + side * final / 60 for step, _ in known]
            scores = [score for _, score in known]
            values = [score.value for score in scores]
            axes.plot(x, values, line, color=colour, linewidth=0.8, alpha=0.7)
            fill, marker = colour if kind == "real" else "white", looks.marker(cell)
            intervals(axes, x, scores, color=colour, marker=marker, markerfacecolor=fill, zorder=3)
        random = accuracy(cell, model_of(cell.results, "random_update"), where)
        if random is not None:
            intervals(axes, [final * 1.04], [random], color=GREY, marker="X", markersize=3.5)


ARTEFACTS: list[Artefact] = [
    figure(
        "3b",
        "Accuracy over the training, full and rank 1",
        "Each open marker is the rank-1 part of the update at that very step, rescaled. The paper "
        "shows DAPO and RLOO and sees both curves together all along; a random update of the final "
        "norm (cross, right) is what the norm alone does.",
        "training_progress",
        draw,
    ),
    figure(
        "10",
        "Rank-1 updates across the checkpoints of GRPO",
        "As figure 3b on every benchmark, for GRPO alone, as in the paper; runs on shuffled "
        "rewards have panels of their own.",
        "training_progress",
        partial(draw, algorithm="grpo", each_benchmark=True),
    ),
]
