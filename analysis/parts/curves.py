"""Accuracy against the kept part of the update: the form of AlphaRL's figures 3a, 4, 6c, 7, 11."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.artefact import Drawing
from rlvr_dynamics.results.methods import method_name
from rlvr_dynamics.results.scores import methods_of, model_of
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.system.palette import GREY

from .accuracies import accuracy, relative_accuracy
from .panels import (
    MOST_PANELS,
    Panel,
    columns_of,
    intervals,
    panel_grid,
    panels_of,
    sizes,
)
from .run_groups import Looks, dodge, groups, left_out, names_of, runs_and_seeds

CROWDED = 8  # most runs in a panel


@dataclass(frozen=True)
class Place:
    """One position on the horizontal axis.

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
    """Return evenly spaced places, given label, method and whether they are joined."""
    return [Place(label, method, x, joined) for x, (label, method, joined) in enumerate(listed)]


@dataclass(frozen=True)
class CurveFigure:
    """A figure of this form; each figure supplies its places.

    Attributes:
        places: The places on the horizontal axis.
        xlabel: Label of the horizontal axis.
        each_benchmark: Draw one panel per benchmark instead of only the main one.
        relative: Draw accuracy over the final checkpoint's instead of accuracy.
        needed: Places of which a run needs at least one to be drawn; the joined ones if empty.
        last: Draws one more panel, such as printed values; or None.
        last_title: Title of that panel.
        decorate: Called with every panel of our runs.
        dodged: Width over which the runs at one place are spread.
    """

    places: Sequence[Place]
    xlabel: str
    each_benchmark: bool = False
    relative: bool = False
    needed: tuple[str, ...] = ()
    last: Callable[[Axes], None] | None = None
    last_title: str = ""
    decorate: Callable[[Axes], object] | None = None
    dodged: float = 0.6

    def draw(self, study: Study) -> Drawing:
        """Draw the figure, or say what is missing."""
        needed = self.needed or tuple(place.method for place in self.places if place.joined)
        cells = [cell for cell in study.cells if set(needed) & methods_of(cell.results)]
        if not cells:
            names = ", ".join(method_name(method) for method in needed[:3])
            return Drawing(None, missing=f"Not measured: no run has scores of {names}.")
        panels = panels_of(groups(cells), each_benchmark=self.each_benchmark)
        shown, more = panels[:MOST_PANELS], panels[MOST_PANELS:]
        figure = self._figure(shown, Looks(tuple(cells)))
        return Drawing(figure, self._facts(study, cells, more), names_of(study, cells))

    def _figure(self, panels: Sequence[Panel], looks: Looks) -> Figure:
        titles = [panel.title for panel in panels] + [self.last_title] * bool(self.last)
        count = columns_of(panels, 2) if self.each_benchmark else min(2, len(titles))
        ylabel = "accuracy / final checkpoint's" if self.relative else "accuracy"
        figure, axes = panel_grid(
            titles, count, self.xlabel, ylabel, sharey=not self.each_benchmark
        )
        for panel, one in zip(panels, axes, strict=False):
            self._panel(one, panel, looks)
        if self.last is not None:
            self.last(axes[-1])
        for one in axes:
            one.set_ylim(bottom=0, top=1.04 * max(one.get_ylim()[1], float(self.relative)))
            one.grid(axis="x", visible=False)
        self._ticks(axes)
        handles = looks.handles()
        figure.legend(handles=handles, loc="outside upper center", ncols=min(6, len(handles)))
        return figure

    def _panel(self, axes: Axes, panel: Panel, looks: Looks) -> None:
        value = relative_accuracy if self.relative else accuracy
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

    def _facts(self, study: Study, cells: list[Cell], more: Sequence[Panel]) -> str:
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
        without = [cell.name for cell in study.cells if cell not in cells]
        missing = left_out(lacking, len(cells))
        if without:
            missing += f" Not drawn, because nothing of this was scored: {', '.join(without)}."
        return f"{text}. {missing.strip()}".strip()
