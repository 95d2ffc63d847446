"""Accuracy over the training: real checkpoints beside their rank-1 updates (figures 3b and 10)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.parts.accuracies import accuracy, main_benchmark
from analysis.parts.curves import MOST_PANELS, intervals, sizes, wrapped
from analysis.parts.run_groups import SEED_MARKERS, groups, names_of, runs_and_seeds
from rlvr_dynamics.reporting.artefact import Drawing
from rlvr_dynamics.reporting.figure_style import BLACK, GREEN, GREY, canvas
from rlvr_dynamics.results.scores import model_of, steps_of
from rlvr_dynamics.results.study import Cell, Study, benchmarks

RECOVERY = "rank1_recovery"
FEWEST_STEPS = 2
KINDS: dict[str, tuple[str, str, Literal["-", "--"]]] = {
    "real": ("real checkpoints", BLACK, "-"),
    RECOVERY: ("their rank-1 updates", GREEN, "--"),
}


@dataclass(frozen=True)
class ProgressFigure:
    """Which runs are drawn, and on which benchmarks.

    Attributes:
        where: Which runs.
        each_benchmark: One panel per benchmark instead of the main one alone.
    """

    each_benchmark: bool = False
    where: Callable[[Cell], bool] = field(default=lambda cell: True)

    def draw(self, study: Study) -> Drawing:
        """One panel per model, algorithm and learning rate; seeds differ in their markers."""
        asked = [cell for cell in study.cells if self.where(cell)]
        cells = [cell for cell in asked if len(steps_of(cell.results, RECOVERY)) >= FEWEST_STEPS]
        if not cells:
            return Drawing(
                None,
                missing=f"Not measured: no run has scores of the rank-1 update at {FEWEST_STEPS} "
                "or more steps.",
            )
        panels = [
            (title, group.cells, name)
            for group in groups(cells, by_algorithm=True)
            for title, name in self._benchmarks(group.title, group.cells)
        ]
        shown, more = panels[:MOST_PANELS], len(panels) - MOST_PANELS
        without = [cell.name for cell in asked if cell not in cells]
        facts = (
            f"n = {sizes(cells, self.each_benchmark)} per checkpoint; bars: 95 % intervals over "
            f"questions; {runs_and_seeds(cells)}; from scores/scores.parquet."
        )
        if more > 0:
            facts += f" {more} further panels are left out."
        if without:
            facts += f" Without rank-1 updates at several steps: {', '.join(without)}."
        return Drawing(self._figure(shown), facts, names_of(study, cells))

    def _benchmarks(self, title: str, cells: Sequence[Cell]) -> list[tuple[str, str | None]]:
        if not self.each_benchmark:
            return [(title, None)]
        named = benchmarks(cells).items()
        return [
            (name if place else f"{title}: {name}", benchmark)
            for place, (benchmark, name) in enumerate(named)
        ]

    def _figure(self, panels: Sequence[tuple[str, tuple[Cell, ...], str | None]]) -> Figure:
        each = len({benchmark for *_, benchmark in panels})
        columns = min(len(panels), 3 if each % 3 == 0 or each == 1 else 2)
        rows = -(-len(panels) // columns)
        figure, grid = canvas(
            1.0 + 1.45 * rows, rows, columns, sharex=True, sharey=not self.each_benchmark
        )
        axes = list(grid.flat)
        seeds = sorted({cell.seed for _, cells, _ in panels for cell in cells})
        for place, one in enumerate(axes):
            if place >= len(panels):
                one.remove()
                continue
            title, cells, benchmark = panels[place]
            _panel(one, cells, benchmark, seeds)
            one.set_title(wrapped(title, columns), loc="left", fontsize=7.5)
            if place + columns >= len(panels):
                one.tick_params(labelbottom=True)
        for one in axes[: len(panels)]:
            one.set_ylim(bottom=0)
        figure.supxlabel("training step", fontsize=7.5)
        figure.supylabel("accuracy", fontsize=7.5)
        figure.legend(
            handles=_handles(seeds), loc="outside upper center", ncols=5, columnspacing=1.2
        )
        return figure


def _panel(axes: Axes, cells: Sequence[Cell], benchmark: str | None, seeds: list[int]) -> None:
    for place, cell in enumerate(cells):
        where = benchmark or main_benchmark(cell)
        marker = SEED_MARKERS[seeds.index(cell.seed) % len(SEED_MARKERS)]
        final = cell.results.final_step or 1
        base = accuracy(cell, model_of(cell.results, "base"), where)
        for kind, (_, colour, line) in KINDS.items():
            found = [
                (step, accuracy(cell, model_of(cell.results, kind, step=step), where))
                for step in steps_of(cell.results, kind)
            ]
            # Without an update there is nothing to reduce: both start at the base.
            points = [(0, base), *found] if base is not None else found
            known = [(step, score) for step, score in points if score is not None]
            side = 0.5 * (kind == RECOVERY) + place - (len(cells) - 1) / 2
            x = [step + side * final / 60 for step, _ in known]
            scores = [score for _, score in known]
            axes.plot(
                x, [score.value for score in scores], line, color=colour, linewidth=0.8, alpha=0.7
            )
            fill = colour if kind == "real" else "white"
            intervals(axes, x, scores, color=colour, marker=marker, markerfacecolor=fill, zorder=3)
        random = accuracy(cell, model_of(cell.results, "random_update"), where)
        if random is not None:
            intervals(axes, [final * 1.04], [random], color=GREY, marker="X", markersize=3.5)


def _handles(seeds: list[int]) -> list[Line2D]:
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            linestyle=line,
            marker="o",
            markersize=3.5,
            markerfacecolor=colour if kind == "real" else "white",
            label=name,
        )
        for kind, (name, colour, line) in KINDS.items()
    ]
    handles.append(
        Line2D([], [], color=GREY, linestyle="", marker="X", markersize=4, label="random update")
    )
    if len(seeds) > 1:
        for place, seed in enumerate(seeds):
            marker = SEED_MARKERS[place % len(SEED_MARKERS)]
            handles.append(
                Line2D(
                    [],
                    [],
                    color=GREY,
                    linestyle="",
                    marker=marker,
                    markersize=4,
                    label=f"seed {seed}",
                )
            )
    return handles
