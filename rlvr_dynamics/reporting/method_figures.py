"""One row per method: accuracy at the final step, and forecast skill in the weights."""

import math
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.figure_parts import (
    TensorFacts,
    mark_break,
    run_figure,
    say_not_measured,
    shared_legend,
)
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.reporting.method_scores import SPLITS, answers_in_words, final_accuracy
from rlvr_dynamics.results.forecasts import COUNTED, HOLD_LAST, own_forecasts
from rlvr_dynamics.results.formatting import number, percent, share_of_training
from rlvr_dynamics.results.frames import equal, known, mean, numbers, select, values
from rlvr_dynamics.results.methods import method_rank
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.system.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

COLOURS = [VERMILLION, BLUE, GREEN, ORANGE, PURPLE]
MARKERS = ["o", "s", "^", "D", "v", "P", "<"]
ROW_INCHES = 0.24
WIDE = 4  # up to this many panels side by side have room for words


def draw_method_accuracy(results: Results) -> Figure | None:
    """Draw accuracies of all predictions of the final step, by split and observed window."""
    frame, final = final_accuracy(results), results.final_step
    if not len(frame) or final is None:
        return None
    shown = select(frame, ~frame["method"].isin(["base", "real"]))
    methods = sorted({str(method) for method in shown["method"]}, key=method_rank)
    if not methods:
        return None
    figure, grid = canvas(1.05 + ROW_INCHES * len(methods), 1, len(SPLITS), sharey=True)
    for axes, (split, title) in zip(grid[0], SPLITS.items(), strict=True):
        here = equal(frame, split=split)
        axes.set_title(title, loc="left")
        if not len(here):
            say_not_measured(axes)
            continue
        for method, style, label in (("base", ":", "base"), ("real", "-", f"real step {final}")):
            reference = equal(here, method=method)
            axes.axvline(
                mean(reference, "accuracy"),
                color=BLACK,
                linewidth=0.9,
                linestyle=style,
                label=label,
            )
        _rows_of_points(axes, here, methods, results)
        axes.set_xlabel("accuracy, 95 % interval")
    _name_rows(grid[0, 0], [results.method_name(method) for method in methods])
    shared_legend(figure, grid[0], 4)
    return figure


def _rows_of_points(axes: Axes, frame: pd.DataFrame, methods: list[str], results: Results) -> None:
    windows = [0, *results.windows]
    for place, observe in enumerate(windows):
        rows = equal(frame, observe=observe)
        rows = select(rows, rows["method"].isin(methods))
        if not len(rows):
            continue
        colour, marker = (GREY, "X") if observe == 0 else _look(place - 1)
        shift = _shift(place - 1, len(windows) - 1) if observe else 0.0
        accuracy = values(rows, "accuracy")
        errors = np.array([accuracy - values(rows, "low"), values(rows, "high") - accuracy])
        axes.errorbar(
            accuracy,
            [methods.index(str(method)) + shift for method in rows["method"]],
            xerr=np.clip(np.nan_to_num(errors), 0, None),
            color=colour,
            marker=marker,
            markersize=3.5,
            linestyle="",
            elinewidth=0.8,
            label=share_of_training(observe, results.final_step or 1) + " observed"
            if observe
            else "no window",
        )


def _look(place: int) -> tuple[str, str]:
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


def _shift(place: int, count: int) -> float:
    return (place - (count - 1) / 2) * min(0.25, 0.7 / max(1, count))


def _name_rows(axes: Axes, names: list[str]) -> None:
    # The layout cuts labels beyond this width; a row has two lines.
    labels, size = [_balanced(name, 20) for name in names], None
    if any(label.count("\n") > 1 for label in labels):
        labels, size = [_balanced(name, 26) for name in names], 6
    axes.set_yticks(range(len(names)), labels, fontsize=size)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _balanced(name: str, width: int) -> str:
    """Wrap a name into as few lines as the width allows, of about equal length."""
    lines = fill(name, width).count("\n") + 1
    tried = (fill(name, narrow, break_long_words=False) for narrow in range(8, width + 1))
    return next((text for text in tried if text.count("\n") < lines), fill(name, width))


def draw_skill(results: Results) -> Figure | None:
    """Draw skill over tensors: one row per method, one panel per window, one colour per target."""
    table = results.tables["forecast"]
    if table is None:
        return None
    table = own_forecasts(select(table, (table["method"] != HOLD_LAST) & (table["observe"] > 0)))
    table = known(table, "skill")
    windows = sorted({int(observe) for observe in table["observe"]})
    if not windows:
        return None
    methods = sorted({str(method) for method in table["method"]}, key=method_rank)
    targets = sorted({int(step) for step in table["step"]})
    height = 1.15 + max(ROW_INCHES, 0.11 * len(targets)) * len(methods)
    figure, grid = canvas(height, 1, len(windows), sharex=True, sharey=True)
    final = results.final_step or 1
    for axes, observe in zip(grid[0], windows, strict=True):
        for place, step in enumerate(targets):
            _bars(axes, equal(table, observe=observe, step=step), methods, place, len(targets))
        axes.axvline(0, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlabel("skill")
        narrow = f"1 to {observe}\n{percent(observe / final, 0)}"
        wide = f"steps 1 to {observe}\n({share_of_training(observe, final)})"
        axes.set_title(wide if len(windows) <= WIDE else narrow, loc="left", fontsize=7.5)
    groups = table.groupby(["method", "observe", "step"])["skill"]
    lowest = float(np.min(np.asarray(groups.quantile(0.05))))
    _skill_axis(grid[0, 0], lowest, decades_named=4 if len(windows) <= WIDE else 1)
    _name_rows(grid[0, 0], [results.method_name(method) for method in methods])
    shared_legend(figure, grid[0], 4)
    return figure


def _bars(axes: Axes, rows: pd.DataFrame, methods: list[str], place: int, count: int) -> None:
    colour, marker = _look(place)
    label: str | None = None if not len(rows) else f"predicted step {int(rows['step'].iloc[0])}"
    for position, method in enumerate(methods):
        skill = numbers(equal(rows, method=method), "skill")
        if not len(skill):
            continue
        low, quarter, middle, upper, high = np.quantile(skill, [0.05, 0.25, 0.5, 0.75, 0.95])
        y = position + _shift(place, count)
        axes.plot([low, high], [y, y], color=colour, linewidth=0.8)
        axes.plot(
            [quarter, upper], [y, y], color=colour, linewidth=3, solid_capstyle="butt", alpha=0.5
        )
        axes.plot([middle], [y], marker, color=colour, markersize=3.5, linestyle="", label=label)
        label = None


def _skill_axis(axes: Axes, lowest: float, decades_named: int) -> None:
    """Scale linearly down to -2, then logarithmically: a bad forecast has no lower bound."""
    if lowest > -2:
        axes.set_xlim(min(-0.1, 1.1 * lowest), 1.05)
        return
    axes.set_xscale("symlog", linthresh=1, linscale=1.5)
    powers = range(math.ceil(math.log10(-lowest)), -1, -1)
    decades = [-(10.0**power) for power in powers]
    every = -(-len(decades) // decades_named)  # labels of long scales would overlap
    ticks = [*decades[::every], 0.0, 1.0]
    axes.set_xticks(ticks, [_decade(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(decades[0], 1.25)
    mark_break(axes, -1.0, "x")


def _decade(tick: float) -> str:
    return number(tick, 0) if abs(tick) < 1e4 else f"−1e{round(math.log10(-tick))}"


def _accuracy_facts(results: Results) -> str:
    frame = final_accuracy(results)
    parts = [
        f"{int(equal(frame, split=split)['questions'].iloc[0])} questions {name}"
        for split, name in SPLITS.items()
        if len(equal(frame, split=split))
    ]
    return f"n = {', '.join(parts)}, {answers_in_words(frame)}, mean over benchmarks"


FIGURES = [
    run_figure(
        "method_accuracy",
        "Every method at the final step",
        "A prediction is worth something where it lies right of the last checkpoint that it "
        "observed (first row, same colour), and reaches the solid line, the real final checkpoint. "
        "The best of many rows flatters its method; the table of the best corrects for that.",
        ("scores",),
        draw_method_accuracy,
        _accuracy_facts,
    ),
    run_figure(
        "forecast_skill",
        "Forecast skill in the weights",
        "Skill is 1 − SSE / SSE(hold the last observed checkpoint): right of 0 the forecast is "
        "closer to the real weights, 1 is perfect. Left of ≈ the scale is logarithmic. "
        "A panel per observed steps, with their share of "
        "the training. Marker: median over tensors; thick bar: "
        f"quartiles; thin: 5 to 95 %. {COUNTED}",
        ("forecast",),
        draw_skill,
        TensorFacts("forecast"),
    ),
]
