"""RELEX by how much it observed: accuracy of its prediction beside the real final checkpoint."""

import math
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.parts.run_groups import Group, dodge, groups, left_out, names_of, runs_and_seeds
from analysis.relex.figures import PRINTED_LABEL, PRINTED_LOOK, error_bars, panel_grid
from analysis.relex.models import points
from analysis.relex.printed import printed_rows, readable, with_gaps
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import BLACK
from rlvr_dynamics.results.formatting import integer
from rlvr_dynamics.results.methods import look
from rlvr_dynamics.results.scores import model_of, protocols, score
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.statistics.intervals import Interval

NAME = "relex_curves"
TITLE = "RELEX by how much it observed"
LABELS = ("hold_last", "relex_raw", "relex")


@dataclass(frozen=True)
class Point:
    """A method's prediction of the final step from one window.

    Attributes:
        share: Observed share of the training.
        points: Its in-domain accuracy minus the real final checkpoint's, in points (per cent),
            with the paired 95 % interval over questions.
    """

    share: float
    points: Interval


def curve(cell: Cell, method: str) -> list[Point]:
    """A method at every window of a run where it was scored, on the first in-domain benchmark."""
    results, final = cell.results, cell.results.final_step
    benchmarks = results.benchmarks("in_domain")[:1]
    if not benchmarks or final is None:
        return []
    protocol = protocols(results, benchmarks[0])[0]
    real = model_of(results, "real")
    found = [
        Point(
            window / final,
            points(results, model_of(results, method, window), real, benchmarks, protocol),
        )
        for window in results.windows
        if window < final
    ]
    return [point for point in found if not math.isnan(point.points.value)]


def draw(study: Study) -> Drawing:
    """One panel per regime: RELEX, the line of every weight, the last observed checkpoint."""
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
    printed = Line2D([], [], label=PRINTED_LABEL, **{**PRINTED_LOOK, "markersize": 5})
    figure.legend(handles=[*handles, printed], loc="outside lower center", ncols=4)
    lacking = [cell.name for cell in study.cells if cell not in cells]
    return Drawing(
        figure,
        f"{_questions(cells)}; {runs_and_seeds(cells)}. One line a run; bars: 95 % interval of the "
        "difference, paired bootstrap over questions. Table scores. Printed: Qwen2.5-Math-1.5B and "
        "Qwen3-4B-Base at 15 %, Qwen3-8B-Base at 20 %, on MATH, without an interval. "
        f"{left_out({'predictions of the final step': lacking}, len(study.cells))}".rstrip(),
        names_of(study, cells),
    )


def _panel(axes: Axes, part: Group) -> None:
    for place, cell in enumerate(part.cells):
        for method in LABELS:
            found = curve(cell, method)
            middle, errors = error_bars(point.points for point in found)
            axes.errorbar(
                [100 * point.share + dodge(place, len(part.cells), 1.5) for point in found],
                middle,
                yerr=errors,
                markersize=2.5,
                linewidth=0.7,
                elinewidth=0.5,
                **_drawn(method),
            )
    for share, gap in _printed():
        axes.plot([100 * share], [gap], **PRINTED_LOOK)
    axes.axhline(0, color=BLACK, linewidth=0.6, linestyle=":")
    axes.set_xlim(left=0)
    axes.set_title(part.title, loc="left")
    axes.set_xlabel("observed share of the training, %")


def _drawn(method: str) -> dict[str, Any]:
    drawn = look(method)
    return {"color": drawn.colour, "marker": drawn.marker, "linestyle": drawn.line}


def _printed() -> list[tuple[float, float]]:
    rows = [row for row in printed_rows("main") if row["benchmark"] == "math"]
    return [
        (row["share"], row["gap"])
        for row in with_gaps(rows, beside="real")
        if row["label"] == "relex"
    ]


def _questions(cells: list[Cell]) -> str:
    """n of each benchmark that is drawn."""
    found = []
    for cell in cells:
        benchmark = cell.results.benchmarks("in_domain")[0]
        protocol = protocols(cell.results, benchmark)[0]
        row = score(cell.results, "base", benchmark, protocol)
        title = cell.results.benchmark_title(benchmark)
        found.append(
            f"n = {integer(row.questions)} questions × {integer(row.samples)} {protocol} "
            f"answers ({title})"
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
