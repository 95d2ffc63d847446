"""Coefficient lines, explained variance and R² beside their null, forecast skill."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.figure_style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    FigurePlan,
    canvas,
    look,
    plain_ticks,
    shade_windows,
)
from rlvr_dynamics.reporting.formatting import (
    general,
    is_missing,
    method_name,
    number,
    share_of_training,
)
from rlvr_dynamics.reporting.frames import equal, highest, known, last_step, median, select, values
from rlvr_dynamics.reporting.results import Results

REPRESENTATIVE = ("q_proj", "gate_proj", "down_proj")
LINE_STYLES = ["-", (0, (5, 2)), (0, (1, 1)), (0, (3, 1, 1, 1))]
R2_FLOOR = -1.0


def representative_tensors(table: pd.DataFrame) -> list[str]:
    """First, middle and last layer of three modules, and the embedding (as in RELEX's plots)."""
    tensors = table.drop_duplicates("tensor")
    layers = sorted(tensors["layer"].dropna().unique())
    chosen: list[str] = []
    if layers:
        for layer in dict.fromkeys([layers[0], layers[len(layers) // 2], layers[-1]]):
            for module in REPRESENTATIVE:
                here = tensors[(tensors["layer"] == layer) & (tensors["module"] == module)]
                chosen += sorted(here["tensor"])[:1]
    return chosen + sorted(tensors.loc[tensors["module"] == "embed_tokens", "tensor"])[:1]


def draw_coefficients(results: Results) -> Figure | None:
    """c1(t) of representative tensors with the line of each observed window."""
    table, linearity = results.tables["coefficients"], results.tables["linearity"]
    if table is None:
        return None
    table = equal(table, index=1)
    tensors = representative_tensors(table)
    if not tensors:
        return None
    rows = -(-len(tensors) // 3)
    figure, grid = canvas(0.5 + 1.45 * rows, rows, 3, sharex=True)
    panels = list(grid.flat)
    windows = results.windows or [int(median(table, "step"))]
    final = results.final_step or last_step(table)
    for axes, tensor in zip(panels, tensors, strict=False):
        line = equal(table, tensor=tensor).sort_values(["step"])
        shade_windows(axes, windows)
        for observe, dash in zip(windows, LINE_STYLES, strict=False):
            label = f"line through the {share_of_training(observe, final)}"
            _fitted_line(axes, line, observe, dash, label)
        axes.plot(line["step"], line["coefficient"], color=BLACK, label="coefficient c₁")
        axes.yaxis.set_major_formatter(plain_ticks)
        axes.set_title(_panel_title(line, linearity, tensor), loc="left", x=-0.12, fontsize=7)
    for position, axes in enumerate(panels[: len(tensors)]):
        axes.tick_params(labelbottom=position + 3 >= len(tensors))
    for axes in panels[len(tensors) :]:
        axes.remove()
    figure.supxlabel("training step (shaded: the observed windows)", fontsize=7.5)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=3)
    return figure


def _fitted_line(axes: Axes, line: pd.DataFrame, observe: int, dash: Any, label: str) -> None:
    seen = select(line, line["step"] <= observe)
    if len(seen) < 2:
        return
    slope, intercept = np.polyfit(values(seen, "step"), values(seen, "coefficient"), 1)
    steps = np.array([0.0, float(last_step(line))])
    axes.plot(
        steps, slope * steps + intercept, color=VERMILLION, linewidth=1, linestyle=dash, label=label
    )


def _panel_title(line: pd.DataFrame, linearity: pd.DataFrame | None, tensor: str) -> str:
    first = line.iloc[0]
    layer = "" if math.isnan(first["layer"]) else f", layer {int(first['layer'])}"
    title = f"{first['module']}{layer}"
    row = equal(linearity, tensor=tensor) if linearity is not None else None
    if row is None or not len(row):
        return title
    r2, null, held_out, held_out_null = (
        _short(row.iloc[0].get(key))
        for key in ("r2", "r2_null_mean", "heldout_r2", "heldout_r2_null_mean")
    )
    return f"{title}: R²\nin sample {r2}, null {null}\nheld out {held_out}, null {held_out_null}"


def _short(value: Any) -> str:
    """Few characters, because it stands in a title: no decimals where R² is hopeless."""
    if is_missing(value) or abs(value) < 1:
        return number(value, 3)
    return number(value, 1) if abs(value) < 100 else general(value, 2)


def draw_null_bands(results: Results) -> Figure | None:
    """Explained variance, R² and held-out R² of every tensor beside its random walk's band."""
    trajectory, linearity = results.tables["trajectory_svd"], results.tables["linearity"]
    if trajectory is None and linearity is None:
        return None
    figure, grid = canvas(2.75, 1, 3)
    panels = grid[0]
    first = None if trajectory is None else equal(trajectory, index=1)
    _band(
        panels[0], first, "explained_variance", "null", "explained variance\nof component 1", 0.814
    )
    _band(panels[1], linearity, "r2", "r2_null", "R², in sample\n", 0.98)
    _band(panels[2], linearity, "heldout_r2", "heldout_r2_null", "R², held-out half\n", 0.98)
    labels: dict[str, Any] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        labels.update(zip(names, handles, strict=True))
    figure.legend(list(labels.values()), list(labels), loc="outside lower center", ncols=4)
    return figure


def _band(
    axes: Axes, table: pd.DataFrame | None, column: str, null: str, title: str, threshold: float
) -> None:
    axes.set_title(title, loc="left", fontsize=7.5)
    axes.set_xlabel("tensors, sorted")
    rows = None if table is None else known(table, column).sort_values([column, "tensor"])
    if rows is None or not len(rows):
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
        return
    position = np.arange(len(rows))
    bounds = [f"{null}_low", f"{null}_high", f"{null}_mean"]
    if set(bounds) <= set(rows.columns):
        low, high, mean = (values(rows, name).clip(min=R2_FLOOR) for name in bounds)
        width = min(5.0, max(0.6, 110 / len(rows)))
        axes.vlines(
            position, low, high, color=ORANGE, alpha=0.4, linewidth=width, label="null, 95 % band"
        )
        axes.plot(position, mean, "_", color=ORANGE, markersize=width + 1, label="null, mean")
    found = values(rows, column)
    axes.plot(position, found.clip(min=R2_FLOOR), ".", color=BLUE, markersize=3, label="this run")
    axes.axhline(
        threshold, color=BLACK, linewidth=0.7, linestyle=":", label="threshold of the claim"
    )
    below = int((found < R2_FLOOR).sum())
    if below:
        axes.set_title(
            f"{title}({below} below {number(R2_FLOOR, 0)}, drawn there)", loc="left", fontsize=7
        )
    axes.set_ylim(top=1.03)
    axes.set_xticks([])


def draw_skill(results: Results) -> Figure | None:
    """Skill over tensors by target, one panel per observed window, one colour per method."""
    table = results.tables["forecast"]
    if table is None:
        return None
    table = known(select(table, (table["method"] != "hold_last") & (table["observe"] > 0)), "skill")
    windows = sorted({int(observe) for observe in table["observe"]})
    if not windows:
        return None
    figure, grid = canvas(2.8, 1, len(windows), sharey=True)
    methods, final = sorted({str(method) for method in table["method"]}), results.final_step or 1
    for axes, observe in zip(grid[0], windows, strict=True):
        rows = equal(table, observe=observe)
        targets = sorted({int(step) for step in rows["step"]})
        for offset, method in enumerate(methods):
            _boxes(axes, equal(rows, method=method), targets, method, methods, offset)
        axes.axhline(0, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xticks(range(len(targets)), [str(int(step)) for step in targets])
        axes.set_xlim(-0.6, len(targets) - 0.4)
        axes.set_xlabel("predicted step")
        axes.set_title(
            f"observed: steps 1 to {int(observe)}\n({share_of_training(observe, final)})",
            loc="left",
            fontsize=7.5,
        )
    groups = table.groupby(["method", "observe", "step"])["skill"]
    _skill_axis(grid[0, 0], lowest=float(np.min(np.asarray(groups.quantile(0.05)))))
    grid[0, 0].set_ylabel("skill = 1 − SSE / SSE(hold)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _skill_axis(axes: Axes, lowest: float) -> None:
    """Linear down to -2; below that logarithmic, because a bad forecast has no lower end."""
    if lowest > -2:
        axes.set_ylim(min(-0.1, 1.1 * lowest), 1.05)
        return
    axes.set_yscale("symlog", linthresh=1, linscale=1.5)
    decades = [-(10.0**power) for power in range(math.ceil(math.log10(-lowest)), -1, -1)]
    ticks = [*decades, 0.0, 1.0]
    axes.set_yticks(ticks, [number(tick, 0) for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylim(decades[0], 1.15)


def _boxes(
    axes: Axes,
    rows: pd.DataFrame,
    targets: list[int],
    method: str,
    methods: list[str],
    offset: int,
) -> None:
    colour, marker = look(method, methods)
    shift = (offset - (len(methods) - 1) / 2) * min(0.3, 0.8 / len(methods))
    label: str | None = method_name(method)
    for position, step in enumerate(targets):
        skill = values(equal(rows, step=step), "skill")
        if not len(skill):
            continue
        low, quarter, middle, upper, high = np.quantile(skill, [0.05, 0.25, 0.5, 0.75, 0.95])
        x = position + shift
        axes.plot([x, x], [low, high], color=colour, linewidth=0.8)
        axes.plot(
            [x, x], [quarter, upper], color=colour, linewidth=3.5, solid_capstyle="butt", alpha=0.5
        )
        axes.plot([x], [middle], marker, color=colour, markersize=4.5, linestyle="", label=label)
        label = None


class _TensorFacts:
    """n of the figures over tensors, with the null's number of draws."""

    def __init__(self, table: str) -> None:
        self.table = table

    def __call__(self, results: Results) -> str:
        table = results.tables[self.table]
        if table is None:
            return "n not measured"
        facts = f"n = {len(set(table['tensor']))} tensors"
        if "T" in table:
            facts += f", {highest(table, 'T')} steps"
        if "draws" in table and len(known(table, "draws")):
            facts += f", {highest(table, 'draws')} random walks per null"
        return facts


PLANS = [
    FigurePlan(
        "coefficients",
        "Coefficient of component 1 over training",
        "Does the line through the shaded steps meet the curve at the end? c₁ is taken along the "
        "leading direction of the whole trajectory. In sample, a random walk reaches a high R² "
        "too: compare with the null in each title, and with the held-out value.",
        ("coefficients", "linearity"),
        draw_coefficients,
        _TensorFacts("coefficients"),
    ),
    FigurePlan(
        "null_bands",
        "Explained variance and R² beside a random walk",
        "Points inside the orange band say nothing: a random walk with the same step norms does as "
        "well. Values below −1 are drawn at −1.",
        ("trajectory_svd", "linearity"),
        draw_null_bands,
        _TensorFacts("linearity"),
    ),
    FigurePlan(
        "forecast_skill",
        "Forecast skill in the weights",
        "Above 0 the forecast is closer to the real weights than the last observed checkpoint; 1 "
        "is perfect. Marker: median over tensors; thick bar: quartiles; thin: 5 to 95 %.",
        ("forecast",),
        draw_skill,
        _TensorFacts("forecast"),
    ),
]
