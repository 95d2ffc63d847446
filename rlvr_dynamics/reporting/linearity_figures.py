"""Coefficient lines, and every tensor's explained variance and R² with their nulls."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.figure_parts import TensorFacts, null_band, run_figure, shared_legend
from rlvr_dynamics.reporting.figure_style import canvas, plain_ticks, shade_windows
from rlvr_dynamics.results.formatting import (
    general,
    is_missing,
    number,
    share_of_training,
)
from rlvr_dynamics.results.frames import equal, last_step, median, on_clock, select, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.system.palette import BLACK, VERMILLION

REPRESENTATIVE = ("q_proj", "gate_proj", "gate_up_proj", "down_proj")  # GLM-4 fuses the gate
LINE_STYLES = ["-", (0, (5, 2)), (0, (1, 1)), (0, (3, 1, 1, 1))]


def representative_tensors(table: pd.DataFrame) -> list[str]:
    """Pick first, middle and last layer of three modules, and the embedding (as RELEX plots)."""
    tensors = table.drop_duplicates("tensor")
    layers = sorted(tensors["layer"].dropna().unique())
    chosen: list[str] = []
    if layers:
        for layer in dict.fromkeys([layers[0], layers[len(layers) // 2], layers[-1]]):
            for module in REPRESENTATIVE:
                here = tensors[(tensors["layer"] == layer) & (tensors["module"] == module)]
                chosen += sorted(here["tensor"])[:1]
    return chosen + sorted(tensors.loc[tensors["module"] == "embed_tokens", "tensor"])[:1]


def _on_step(results: Results) -> pd.DataFrame | None:
    table = results.tables["linearity"]
    return None if table is None else on_clock(table)


def draw_coefficients(results: Results) -> Figure | None:
    """Draw c1(t) of representative tensors with the line of each observed window."""
    table, linearity = results.tables["coefficients"], _on_step(results)
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
    """Format R² briefly for a title: no decimals if it is very low."""
    if is_missing(value) or abs(value) < 1:
        return number(value, 3)
    return number(value, 1) if abs(value) < 100 else general(value, 2)


def draw_null_bands(results: Results) -> Figure | None:
    """Draw each tensor's explained variance, R² and held-out R² over its random walk's band."""
    trajectory, linearity = results.tables["trajectory_svd"], _on_step(results)
    if trajectory is None and linearity is None:
        return None
    figure, grid = canvas(2.75, 1, 3)
    panels = grid[0]
    first = None if trajectory is None else equal(trajectory, index=1)
    null_band(
        panels[0], first, "explained_variance", "null", "explained variance\nof component 1", 0.814
    )
    null_band(panels[1], linearity, "r2", "r2_null", "R², in sample\n", 0.98)
    null_band(panels[2], linearity, "heldout_r2", "heldout_r2_null", "R², held-out half\n", 0.98)
    shared_legend(figure, panels, 4)
    return figure


FIGURES = [
    run_figure(
        "coefficients",
        "Coefficient of component 1 over training",
        "Does the line through the shaded steps meet the curve at the end? c₁ is taken along the "
        "leading direction of the whole trajectory. In sample, a random walk reaches a high R² "
        "too: compare with the null in each title, and with the held-out value.",
        ("coefficients", "linearity"),
        draw_coefficients,
        TensorFacts("coefficients"),
    ),
    run_figure(
        "null_bands",
        "Explained variance and R², and those of a random walk",
        "Points inside the orange band say nothing: a random walk with the same step norms does as "
        "well. Values below −1 are drawn at −1.",
        ("trajectory_svd", "linearity"),
        draw_null_bands,
        TensorFacts("linearity"),
    ),
]
