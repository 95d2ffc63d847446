"""The regime map: how well the path of the weights is predicted, by how far they moved."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_parts import mark_break
from rlvr_dynamics.reporting.figure_style import canvas, plain_ticks
from rlvr_dynamics.results.forecasts import HOLD_LAST
from rlvr_dynamics.results.formatting import general, share_of_training
from rlvr_dynamics.results.frames import known, numbers, select, values
from rlvr_dynamics.results.methods import look, method_name
from rlvr_dynamics.results.study import Study, seeds_in_words
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.system.palette import BLACK, GREY, SKY

from ..parts.panels import intervals
from ..parts.run_groups import dodge, key
from .regime_tables import NEEDS, tables
from .regimes import forecasts, regimes, where_it_ends

# The methods in the figure; the tables have all.
METHODS = ("relex", "relex_raw", "weight_extrapolation", "momentum", "alpharl", HOLD_LAST)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WINDOW = 0.2  # share of the training; the figure shows each run's window nearest to it
APART = 0.3  # methods of one run are drawn side by side, over a factor of e^0.3
TWO_DECADES = 100.0  # a longer axis has room for powers of ten alone
Y_EDGE = 1.0  # the axis is linear between ±1 and logarithmic beyond


def window_rows(table: pd.DataFrame, share: float = WINDOW) -> pd.DataFrame:
    """Return the rows of `forecasts` for each run's window nearest to a share."""
    if not len(table):
        return table
    distance = (table["share"] - share).abs()
    nearest = distance.groupby(table["cell"]).transform("min")
    rows = select(table, (distance - nearest).abs() < 1e-9)
    # Of two equally near windows, take the shorter.
    return select(rows, rows["observe"] == rows.groupby("cell")["observe"].transform("min"))


def draw(study: Study) -> Drawing:
    """Draw skill, gain, concentration and linearity against the size of the update."""
    runs, table = regimes(study), window_rows(forecasts(study))
    if not len(runs) or not len(numbers(runs, "relative_update")):
        return Drawing(None, missing=NEEDS)
    runs = known(runs, "relative_update")
    shapes = _shapes(runs)
    figure, grid = canvas(5.6, 2, 2, sharex=True)
    _methods(grid[0, 0], table, "skill", shapes)
    grid[0, 0].set_title("Forecast of the weights", loc="left")
    grid[0, 0].set_ylabel("skill; 0: holding the last\nobserved checkpoint")
    _methods(grid[0, 1], table, "gain", shapes)
    grid[0, 1].axhline(1, color=GREY, linewidth=0.7, linestyle="--")
    grid[0, 1].set_title("Accuracy of the prediction", loc="left")
    grid[0, 1].set_ylabel("share of the gain; 1: the real end")
    shares = {"rank1_share": ("update: σ₁/‖ΔW‖", SKY), "variance_share": ("trajectory: EV₁", BLACK)}
    _statistics(grid[1, 0], runs, shares, shapes)
    # Leave room for the legend below 0, whatever the shares are.
    grid[1, 0].set_ylim(-0.27, 1.03)
    grid[1, 0].set_yticks(np.linspace(0, 1, 6))
    grid[1, 0].legend(loc="lower left", handletextpad=0.1)
    grid[1, 0].set_title("Share of one direction", loc="left")
    grid[1, 0].set_ylabel("share; bars: nulls")
    lines = {"r2": ("in sample", SKY), "heldout_r2": ("held out", BLACK)}
    _statistics(grid[1, 1], runs, lines, shapes)
    _cut(grid[1, 1], runs, list(lines))
    grid[1, 1].set_title("Line through component 1", loc="left")
    grid[1, 1].set_ylabel("R²; bars: nulls")
    for axes in grid[1]:
        axes.set_xlabel("‖ΔW‖/‖W‖ at the last step, median")
        axes.set_xscale("log")
    _ticks(grid[1, 0], runs)
    _legends(figure, grid, table, runs, shapes)
    return Drawing(figure, _facts(study, runs, table), tuple(runs["cell"]))


def _shapes(runs: pd.DataFrame) -> dict[str, str]:
    names = sorted({str(name) for name in runs["algorithm"]})
    return {name: MARKERS[place % len(MARKERS)] for place, name in enumerate(names)}


def _methods(axes: Axes, table: pd.DataFrame, column: str, shapes: dict[str, str]) -> None:
    axes.axhline(0, color=BLACK, linewidth=0.8)
    if not len(table):
        return
    for place, method in enumerate(METHODS):
        rows = known(select(table, table["method"] == method), column)
        if method == HOLD_LAST and column == "skill":
            continue  # 0 by definition: the line
        shift = math.exp(dodge(place, len(METHODS), APART))
        _points(axes, rows, column, look(method).colour, shapes, shift)
    shown = select(table, table["method"].isin(METHODS))
    _cut(axes, shown, [column])


def _statistics(
    axes: Axes, runs: pd.DataFrame, columns: dict[str, tuple[str, str]], shapes: dict[str, str]
) -> None:
    for column, (label, colour) in columns.items():
        _points(axes, known(runs, column), column, colour, shapes)
        null = known(runs, f"{column}_null")
        axes.plot(
            values(null, "relative_update"),
            values(null, f"{column}_null"),
            "_",
            color=colour,
            markersize=9,
            markeredgewidth=1.6,
            alpha=0.7,
        )
        axes.plot([], [], "o", color=colour, label=label)
    axes.legend(loc="best", handletextpad=0.1)


def _points(
    axes: Axes,
    rows: pd.DataFrame,
    column: str,
    colour: str,
    shapes: dict[str, str],
    shift: float = 1.0,
) -> None:
    for row in rows.to_dict("records"):
        intervals(
            axes,
            [row["relative_update"] * shift],
            [Interval(row[column], row[f"{column}_low"], row[f"{column}_high"])],
            color=colour,
            marker=shapes[str(row["algorithm"])],
            markerfacecolor="white" if row["control"] else colour,
            markersize=4.2,
            elinewidth=0.7,
        )


def _cut(axes: Axes, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Make the axis logarithmic below −1 if needed: values can be orders of magnitude lower."""
    found = np.concatenate(
        [numbers(table, f"{name}{end}") for name in columns for end in ("", "_low", "_null")]
    )
    if len(found) and found.min() < -5:
        axes.set_yscale("symlog", linthresh=Y_EDGE, linscale=1.2)
        axes.yaxis.set_major_formatter(FuncFormatter(plain_ticks))
        axes.set_ylim(bottom=1.6 * float(found.min()))
        mark_break(axes, -Y_EDGE)


def _ticks(axes: Axes, runs: pd.DataFrame) -> None:
    found = numbers(runs, "relative_update")
    low, high = float(found.min()), float(found.max())
    axes.set_xlim(low / 1.4, high * 1.4)
    digits = (1, 2, 5) if high / low < TWO_DECADES else (1,)
    steps = [base * 10.0**power for power in range(-8, 3) for base in digits]
    ticks = [step for step in steps if low / 1.4 <= step <= high * 1.4]
    axes.set_xticks(ticks, [general(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


def _legends(
    figure: Any, grid: Any, table: pd.DataFrame, runs: pd.DataFrame, shapes: dict[str, str]
) -> None:
    there = {str(name) for name in table["method"]} if len(table) else set()
    handles = [
        key(method_name(method), color=look(method).colour, linewidth=2.4)
        for method in METHODS
        if method in there
    ]
    plain = {"linestyle": "", "color": GREY, "markersize": 4.5}
    handles += [key(name, marker=shapes[name], **plain) for name in shapes]
    controls = sorted({str(name) for name in runs["control"]} - {""})
    handles += [key(f"open: {it}", marker="o", markerfacecolor="white", **plain) for it in controls]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)


def _facts(study: Study, runs: pd.DataFrame, table: pd.DataFrame) -> str:
    trained = select(runs, runs["control"] == "")
    seeds = ", ".join(seeds_in_words(study.cells))
    rates = ", ".join(general(rate) for rate in sorted(set(numbers(runs, "learning_rate"))))
    parts = [
        f"n = {len(trained)} runs and {len(runs) - len(trained)} controls, one point each; "
        f"seeds {seeds}; learning rates {rates}; {', '.join(sorted(set(map(str, runs['dtype']))))}."
    ]
    if len(table):
        shares = [
            share_of_training(row["observe"], row["steps"])
            for row in table.drop_duplicates("cell").to_dict("records")
        ]
        parts.append(f"Observed: {', '.join(dict.fromkeys(shares))} of the steps.")
        parts += [
            f"{method_name(method)} {where_it_ends(table, method)}."
            for method in ("relex", "relex_raw")
        ]
    parts.append(
        "Methods of one run stand side by side, so that none hides another. Skill: median over "
        "the tensors that a method does not hold as last observed. Bars: quartiles "
        "over tensors, or (accuracy) 95 % paired over questions. Nulls: Gaussian matrices for σ₁, "
        "random walks of the same step norms for the rest. Sources: norms, update_svd, "
        "trajectory_svd, linearity, forecast, scores."
    )
    lost = sorted(set(trained["cell"][~trained["learned"].astype(bool)]))
    if lost:
        parts.append(f"No gain to keep, so no share of it: {', '.join(lost)}.")
    return " ".join(parts)


ARTEFACTS: list[Artefact] = [
    Artefact(
        "regime_map",
        "ours",
        "",
        "Regime map: where predictability ends",
        "Skill at or below 0: the forecast is no better than the last checkpoint that was seen. "
        "High R² and one dominant direction say nothing where their nulls are as high.",
        "regimes",
        draw,
    ),
    Artefact(
        "regimes",
        "ours",
        "",
        "Regime map in numbers",
        "The per-weight line and the held checkpoint next to RELEX, run by run.",
        "regimes",
        tables,
    ),
]
