"""Accuracy of RELEX's prediction relative to the real final checkpoint, by observed share."""

import math
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.formatting import integer
from rlvr_dynamics.results.methods import look
from rlvr_dynamics.results.scores import protocols, samples_of_all, score
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.system.palette import BLACK

from ..parts.panels import intervals
from ..parts.run_groups import Group, dodge, groups, runs_and_seeds
from .accuracy_table import Scored
from .figure_parts import PRINTED_LOOK, drawing, legend, panel_grid
from .printed import printed_rows, readable, with_gaps

NAME = "relex_curves"
TITLE = "RELEX by how much it observed"
LABELS = ("hold_last", "relex_raw", "relex")


class Point(NamedTuple):
    """A method's prediction of the final step from one window.

    Attributes:
        share: Observed share of the training.
        points: Its in-domain accuracy minus the real final checkpoint's, in points (per cent),
            with the paired 95 % interval over questions.
    """

    share: float
    points: Interval


def curve(cell: Cell, method: str) -> list[Point]:
    """Return a method at each window where it was scored, on the first in-domain benchmark."""
    results, final = cell.results, cell.results.final_step or 0
    found = [
        Point(window / final, scored.above(scored.other("real")))
        for benchmark in results.benchmarks("in_domain")[:1]
        for window in results.windows
        if window < final
        for scored in [Scored(cell, method, (benchmark,), protocols(results, benchmark)[0], window)]
    ]
    return [point for point in found if not math.isnan(point.points.value)]


def draw(study: Study) -> Drawing:
    """Draw a panel per regime: RELEX, the per-weight line, the last observed checkpoint."""
    cells = [cell for cell in study.cells if curve(cell, "relex")]
    if not cells:
        return Drawing(
            None,
            missing="Not measured: needs scores/scores.parquet with predictions of the final step "
            "(stages extrapolate and score).",
        )
    parts = groups(cells)
    figure, panels = panel_grid(len(parts))
    for axes, part in zip(panels, parts, strict=True):
        _panel(axes, part)
    for axes in panels[::2]:
        axes.set_ylabel("minus real final, points")
    handles = [
        Line2D([], [], markersize=4, label=readable(method), **_drawn(method)) for method in LABELS
    ]
    legend(figure, handles, null=False)
    return drawing(
        study,
        cells,
        figure,
        f"{_questions(cells)}; {runs_and_seeds(cells)}. One line a run; bars: 95 % interval of the "
        "difference, paired bootstrap over questions. Table scores. Printed: Qwen2.5-Math-1.5B and "
        "Qwen3-4B-Base at 15 %, Qwen3-8B-Base at 20 %, on MATH, without an interval.",
        predictions_of_the_final_step=cells,
    )


def _panel(axes: Axes, part: Group) -> None:
    for place, cell in enumerate(part.cells):
        shift = dodge(place, len(part.cells), 1.5)
        for method in LABELS:
            found = curve(cell, method)
            places = [100 * point.share + shift for point in found]
            thin = {"markersize": 2.5, "linewidth": 0.7, "elinewidth": 0.5}
            intervals(axes, places, [each.points for each in found], **thin, **_drawn(method))
    main = [row for row in printed_rows("main") if row["benchmark"] == "math"]
    for row in with_gaps(main, beside="real"):
        if row["label"] == "relex":
            axes.plot([100 * row["share"]], [row["gap"]], **PRINTED_LOOK)
    axes.axhline(0, color=BLACK, linewidth=0.6, linestyle=":")
    axes.set_xlim(left=0)
    axes.set_title(part.title, loc="left")
    axes.set_xlabel("observed share of the training, %")


def _drawn(method: str) -> dict[str, Any]:
    drawn = look(method)
    return {"color": drawn.colour, "marker": drawn.marker, "linestyle": drawn.line}


def _questions(cells: list[Cell]) -> str:
    """Say n of each drawn benchmark."""
    found = []
    for cell in cells:
        benchmark = cell.results.benchmarks("in_domain")[0]
        protocol = protocols(cell.results, benchmark)[0]
        row = score(cell.results, "base", benchmark, protocol)
        title = cell.results.benchmark_title(benchmark)
        samples = samples_of_all(cell.results, benchmark, protocol)
        found.append(
            f"n = {integer(row.questions)} questions × {samples} {protocol} answers ({title})"
        )
    return "; ".join(dict.fromkeys(found))


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "main table, drawn",
        TITLE,
        "The grey line is what stopping early costs; RELEX is worth its distance above it. On the "
        "dotted line it equals the full training. Above it, it is better than what it predicts.",
        "acceleration",
        draw,
    )
]
