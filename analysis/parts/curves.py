"""Accuracy against what was kept of the update: the shape of AlphaRL's figures 3a, 4, 6c, 7, 11."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.parts.accuracies import accuracy, main_benchmark, questions, relative_accuracy
from analysis.parts.run_groups import (
    Group,
    Looks,
    dodge,
    groups,
    left_out,
    names_of,
    runs_and_seeds,
)
from rlvr_dynamics.reporting.artefact import Drawing
from rlvr_dynamics.reporting.figure_style import GREY, canvas
from rlvr_dynamics.results.methods import method_name
from rlvr_dynamics.results.scores import methods_of, model_of
from rlvr_dynamics.results.study import Cell, Study, benchmarks
from rlvr_dynamics.statistics.intervals import Interval

MOST_PANELS = 24
CROWDED = 8  # runs in a panel


@dataclass(frozen=True)
class Place:
    """One place on the horizontal axis.

    Attributes:
        label: Tick label.
        method: Label of the method in the tables; `base` and `real` among them.
        x: Position.
        joined: Whether a line joins it to its joined neighbours.
    """

    label: str
    method: str
    x: float
    joined: bool = True


def places(*listed: tuple[str, str, bool]) -> list[Place]:
    """Evenly spaced places from label, method and whether they are joined."""
    return [Place(label, method, x, joined) for x, (label, method, joined) in enumerate(listed)]


Value = Callable[[Cell, str | None, str | None], Interval | None]


@dataclass(frozen=True)
class Panel:
    """One panel: some runs on one benchmark (None: each on the one that stands for it)."""

    title: str
    cells: tuple[Cell, ...]
    benchmark: str | None = None

    def benchmark_of(self, cell: Cell) -> str | None:
        """The benchmark that is drawn of a run."""
        return self.benchmark or main_benchmark(cell)


@dataclass(frozen=True)
class CurveFigure:
    """What the figures share; each gives its places.

    Attributes:
        places: What stands on the horizontal axis.
        xlabel: Its label.
        each_benchmark: One panel per benchmark instead of the main one alone.
        relative: Accuracy over the final checkpoint's, instead of accuracy.
        needed: The places of which a run needs at least one to be drawn; the joined ones when
            empty.
        beside: Draws one more panel, such as printed values, and says what it is; or None.
        decorate: Called with every panel of ours.
        dodged: Width over which the runs of a place are spread.
        where: Which runs are drawn, for the figures of one algorithm.
    """

    places: Sequence[Place]
    xlabel: str
    each_benchmark: bool = False
    relative: bool = False
    needed: tuple[str, ...] = ()
    beside: Callable[[Axes], None] | None = None
    decorate: Callable[[Axes], None] | None = None
    dodged: float = 0.6
    where: Callable[[Cell], bool] = field(default=lambda cell: True)

    def draw(self, study: Study) -> Drawing:
        """Draw the figure, or say what it lacks."""
        needed = self.needed or tuple(place.method for place in self.places if place.joined)
        asked = [cell for cell in study.cells if self.where(cell)]
        cells = [cell for cell in asked if set(needed) & methods_of(cell.results)]
        if not cells:
            names = ", ".join(method_name(method) for method in needed[:3])
            return Drawing(None, missing=f"Not measured: no run has scores of {names}.")
        panels = self._panels(groups(cells))
        shown, more = panels[:MOST_PANELS], panels[MOST_PANELS:]
        figure = self._figure(shown, Looks(tuple(cells)))
        return Drawing(figure, self._facts(asked, cells, more), names_of(study, cells))

    def _panels(self, found: Sequence[Group]) -> list[Panel]:
        if not self.each_benchmark:
            return [Panel(group.title, group.cells) for group in found]
        return [
            Panel(title if place else f"{group.title}: {title}", group.cells, name)
            for group in found
            for place, (name, title) in enumerate(benchmarks(group.cells).items())
        ]

    def _figure(self, panels: Sequence[Panel], looks: Looks) -> Figure:
        count = len(panels) + (self.beside is not None)
        columns = _columns(panels) if self.each_benchmark else min(2, count)
        rows = -(-count // columns)
        figure, grid = canvas(
            1.0 + 1.45 * rows, rows, columns, sharex=True, sharey=not self.each_benchmark
        )
        axes = list(grid.flat)
        for panel, one in zip(panels, axes, strict=False):
            self._panel(one, panel, looks)
            one.set_title(wrapped(panel.title, columns), loc="left", fontsize=7.5)
        if self.beside is not None:
            self.beside(axes[len(panels)])
        for place, one in enumerate(axes):
            if place >= count:
                one.remove()
                continue
            one.set_ylim(bottom=0, top=1.04 * max(one.get_ylim()[1], float(self.relative)))
            one.grid(axis="x", visible=False)
            if place + columns >= count:
                one.tick_params(labelbottom=True)
        self._ticks(axes[:count])
        figure.supxlabel(self.xlabel, fontsize=7.5)
        figure.supylabel("accuracy / final checkpoint's" if self.relative else "accuracy", size=7.5)
        handles: list[Any] = looks.handles()
        figure.legend(handles=handles, loc="outside upper center", ncols=min(6, len(handles)))
        return figure

    def _panel(self, axes: Axes, panel: Panel, looks: Looks) -> None:
        value: Value = relative_accuracy if self.relative else accuracy
        for place, cell in enumerate(panel.cells):
            shift = dodge(place, len(panel.cells), self.dodged)
            benchmark = panel.benchmark_of(cell)
            found = [
                (spot, value(cell, model_of(cell.results, spot.method), benchmark))
                for spot in self.places
            ]
            there = [(spot, score) for spot, score in found if score is not None]
            joined = [(spot.x + shift, score.value) for spot, score in there if spot.joined]
            axes.plot(
                [x for x, _ in joined],
                [y for _, y in joined],
                color=looks.colour(cell),
                linewidth=0.8,
                alpha=0.7,
            )
            if there:
                intervals(
                    axes,
                    [spot.x + shift for spot, _ in there],
                    [score for _, score in there],
                    color=looks.colour(cell),
                    marker=looks.marker(cell),
                    **({"markersize": 2, "elinewidth": 0.35} if len(panel.cells) > CROWDED else {}),
                )
        if self.decorate is not None:
            self.decorate(axes)
        if self.relative:
            axes.axhline(1, color=GREY, linewidth=0.7, linestyle=":")

    def _ticks(self, axes: Sequence[Axes]) -> None:
        crowded = len(self.places) * max(3, max(len(place.label) for place in self.places)) > 40
        turned = {"rotation": 55, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        for one in axes:
            one.set_xticks(
                [place.x for place in self.places],
                [place.label for place in self.places],
                fontsize=6.5,
                **turned,
            )
            first, last = self.places[0].x, self.places[-1].x
            margin = 0.06 * (last - first) + self.dodged / 2
            one.set_xlim(first - margin, last + margin)

    def _facts(self, asked: list[Cell], cells: list[Cell], more: Sequence[Panel]) -> str:
        lacking: dict[str, list[str]] = {}
        for spot in self.places:
            for cell in cells:
                if model_of(cell.results, spot.method) is None:
                    lacking.setdefault(method_name(spot.method), []).append(cell.name)
        how = "paired bootstrap over questions" if self.relative else "over questions"
        text = (
            f"n = {sizes(cells, self.each_benchmark)} per model; bars: 95 % intervals, {how}; "
            f"{runs_and_seeds(cells)}; from scores/scores.parquet"
            + (" and scores/samples" if self.relative else "")
        )
        if more:
            text += f"; {len(more)} further panels are left out"
        without = [cell.name for cell in asked if cell not in cells]
        missing = left_out(lacking, len(cells))
        if without:
            missing += f" Not drawn, because nothing of this was scored: {', '.join(without)}."
        return f"{text}. {missing.strip()}".strip()


def _columns(panels: Sequence[Panel]) -> int:
    """Panels in a row, such that the benchmarks of one group fill whole rows where they can."""
    each = len({panel.benchmark for panel in panels})
    return 3 if each % 3 == 0 else min(2, each)


def wrapped(title: str, columns: int) -> str:
    """The title of a panel, in lines that fit when so many panels stand side by side."""
    return textwrap.fill(title, 84 // columns, break_on_hyphens=False)


def sizes(cells: Sequence[Cell], each_benchmark: bool = False) -> str:
    """Questions and answers behind an accuracy, by benchmark where runs or benchmarks differ."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        names = benchmarks([cell]) if each_benchmark else _main(cell)
        for name, title in names.items():
            found.setdefault(questions(cell, name), []).append(title)
    if len(found) == 1 and each_benchmark:
        return next(iter(found))
    return "; ".join(f"{size} ({', '.join(dict.fromkeys(of))})" for size, of in found.items())


def _main(cell: Cell) -> dict[str, str]:
    name = main_benchmark(cell)
    return {} if name is None else {name: cell.results.benchmark_title(name)}


def intervals(axes: Axes, x: Sequence[float], scores: Sequence[Interval], **look: Any) -> None:
    """Points with their intervals; an interval that is not known is left out."""
    value = np.array([score.value for score in scores], dtype=np.float64)
    low = np.array([score.low for score in scores], dtype=np.float64)
    high = np.array([score.high for score in scores], dtype=np.float64)
    errors = np.clip(np.nan_to_num(np.array([value - low, high - value])), 0, None)
    settings = {"linestyle": "", "markersize": 3, "elinewidth": 0.6, **look}
    axes.errorbar(x, value, yerr=errors, **settings)
