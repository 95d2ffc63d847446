"""Trained models and their rank-1 updates, on every benchmark."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.results.scores import methods_of, model_of
from rlvr_dynamics.results.study import Cell, Study, benchmarks
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.system.palette import BLACK, GREY

from ..parts.accuracies import accuracy
from ..parts.panels import intervals, sizes
from ..parts.run_groups import (
    ALGORITHM_COLOURS,
    Group,
    groups,
    key,
    left_out,
    names_of,
    runs_and_seeds,
)
from .paper import figure

BAR = 0.8  # share of the width of one benchmark
MOST_GROUPS = 10
BARS = ("real", "rank1_recovery")


def draw(study: Study) -> Drawing:
    """Draw bars (mean over seeds) and points with intervals (every run)."""
    cells = [cell for cell in study.cells if "rank1_recovery" in methods_of(cell.results)]
    if not cells:
        return Drawing(None, missing="Not measured: no run has scores of the rank-1 update.")
    found = groups(cells)
    lacking = {
        "rank-1 update": [cell.name for cell in study.cells if cell not in cells],
        "random update": [
            cell.name for cell in cells if model_of(cell.results, "random_update") is None
        ],
    }
    facts = (
        f"n = {sizes(cells, each_benchmark=True)} per model; bars: mean over seeds; points: every "
        f"run with its 95 % interval over questions; {runs_and_seeds(cells)}; from "
        f"scores/scores.parquet. {left_out(lacking, len(study.cells))}"
    )
    if len(found) > MOST_GROUPS:
        facts += f" {len(found) - MOST_GROUPS} further panels are left out."
    return Drawing(_figure(found[:MOST_GROUPS]), facts.strip(), names_of(study, cells))


def _figure(found: Sequence[Group]) -> Figure:
    drawn, grid = canvas(0.75 + 1.55 * len(found), len(found), 1, sharey=True)
    for axes, group in zip(grid[:, 0], found, strict=True):
        _panel(axes, group)
    for axes in grid[:, 0]:
        axes.set_ylim(bottom=0)
    names = sorted({cell.algorithm for group in found for cell in group.cells})
    handles: list[Patch | Line2D] = [
        Patch(color=ALGORITHM_COLOURS.get(name, GREY), label=name) for name in names
    ]
    handles += [
        Patch(facecolor="white", edgecolor=BLACK, label="full (left bar)"),
        Patch(facecolor="white", edgecolor=BLACK, hatch="/////", label="rank 1 (right bar)"),
    ]
    handles += [
        key("base", color=BLACK, linewidth=0.9),
        key("random, same norm", color=GREY, marker="x", linestyle="", markersize=4),
    ]
    drawn.legend(handles=handles, loc="outside upper center", ncols=4)
    return drawn


def _panel(axes: Axes, group: Group) -> None:
    axes.set_title(group.title, loc="left")
    axes.set_ylabel("accuracy")
    named = benchmarks(group.cells)
    algorithms = list(dict.fromkeys(cell.algorithm for cell in group.cells))
    width = BAR / (2 * len(algorithms))
    for x, benchmark in enumerate(named):
        for place, algorithm in enumerate(algorithms):
            cells = [cell for cell in group.cells if cell.algorithm == algorithm]
            left = x - BAR / 2 + 2 * width * place
            for bar, method in enumerate(BARS):
                centre = left + width * (bar + 0.5)
                _bar(axes, centre, width, cells, method, benchmark)
            for score in _scores(cells, "base", benchmark):
                axes.hlines(score.value, left, left + 2 * width, color=BLACK, linewidth=0.9)
            for score in _scores(cells, "random_update", benchmark):
                axes.plot([left + width], [score.value], "x", color=GREY, markersize=3)
    axes.set_xticks(range(len(named)), list(named.values()), fontsize=6.5)
    axes.grid(axis="x", visible=False)


def _bar(
    axes: Axes, centre: float, width: float, cells: Sequence[Cell], method: str, benchmark: str
) -> None:
    scores = _scores(cells, method, benchmark)
    if not scores:
        return
    colour = ALGORITHM_COLOURS.get(cells[0].algorithm, GREY)
    full = method == "real"
    axes.bar(
        centre,
        sum(score.value for score in scores) / len(scores),
        0.92 * width,
        facecolor=colour if full else "white",
        edgecolor=colour,
        hatch="" if full else "/////",
        linewidth=0.6,
        alpha=0.6 if full else 1.0,
    )
    for place, score in enumerate(scores):
        x = centre + (place - (len(scores) - 1) / 2) * width / (len(scores) + 0.5)
        intervals(axes, [x], [score], color=BLACK, marker=".", markersize=2)


def _scores(cells: Sequence[Cell], method: str, benchmark: str) -> list[Interval]:
    found = [accuracy(cell, model_of(cell.results, method), benchmark) for cell in cells]
    return [score for score in found if score is not None]


ARTEFACTS: list[Artefact] = [
    figure(
        "1",
        "Trained models and their rank-1 updates",
        "Filled: the trained model; hatched: the base plus the rank-1 part of every matrix's "
        "update, rescaled. Read both from the base (line), not from zero; the cross is a random "
        "update of the same norm.",
        "rank_recovery",
        draw,
    )
]
