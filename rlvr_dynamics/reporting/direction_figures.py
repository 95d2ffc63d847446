"""Directions over training: how accuracy follows them, and how early they settle."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.figure_parts import (
    TensorFacts,
    heat_map,
    heat_map_inches,
    null_band,
    quartile_line,
    run_figure,
    say_not_measured,
    shared_legend,
)
from rlvr_dynamics.reporting.figure_style import WIDTH_INCHES, blank, canvas, step_axis
from rlvr_dynamics.results.frames import accuracy_source, equal, has, known, mean
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.system.palette import BLUE, GREEN, ORANGE, PURPLE, VERMILLION

PLS_THRESHOLD = 0.9


def draw_pls(results: Results) -> Figure | None:
    """Draw a heat map of the partial-least-squares R², and the tensors with both nulls."""
    table = results.tables["pls"]
    if not has(table, "r2", "layer") or table is None:
        return None
    height = heat_map_inches(table)
    figure = blank(height + 3.1)
    parts: Any = figure.subfigures(2, 1, squeeze=False, height_ratios=[height + 0.75, 2.35])
    top, bottom = parts[:, 0]
    axes = top.subplots()
    image = heat_map(axes, table, "r2", digits=2, low=0)
    axes.set_title("R² of accuracy on u₁, in sample", loc="left")
    top.colorbar(image, ax=axes, label="R²", fraction=0.2 / WIDTH_INCHES)
    panels = bottom.subplots(1, 3)
    null_band(panels[0], table, "r2", "r2_null", "R², null:\npermuted accuracies", PLS_THRESHOLD)
    null_band(panels[1], table, "r2", "r2_walk", "R², null:\nrandom-walk accuracies", PLS_THRESHOLD)
    null_band(panels[2], table, "loo_r2", "loo_r2_null", "R², leave-one-out\n", PLS_THRESHOLD)
    shared_legend(bottom, panels, 4)
    return figure


def draw_alignment(results: Results) -> Figure | None:
    """Draw how far the leading left vector of the update still turns."""
    table = results.tables["u1_alignment"]
    if not has(table, "cosine_last") or table is None:
        return None
    figure, grid = canvas(2.4)
    axes = grid[0, 0]
    step_axis(axes, results.windows)
    quartile_line(axes, table, "step", "cosine_last", BLUE, "with u₁ of the last step")
    quartile_line(axes, table, "step", "cosine_next", VERMILLION, "with u₁ of the next step")
    axes.set_ylim(top=1.03)
    axes.set_ylabel("cosine of u₁(t)")
    axes.legend(loc="lower right")
    return figure


def draw_drift(results: Results) -> Figure | None:
    """Draw the direction of the first steps (left) and the oracle reconstruction (right)."""
    drift, oracle = results.tables["drift"], results.tables["oracle"]
    if drift is None and oracle is None:
        return None
    figure, grid = canvas(2.7, 1, 2, sharey=True)
    left, right = grid[0]
    left.set_title("v₁ of the first steps with v₁ of all", loc="left")
    left.set_xlabel("share of the steps, %")
    left.set_ylabel("cosine")
    if drift is None:
        say_not_measured(left)
    else:
        drift = drift.assign(percent=100 * drift["share"])
        if has(drift, "null_low", "null_high", "null_mean"):
            null = known(drift, "null_mean").groupby("percent").median(numeric_only=True)
            left.fill_between(
                null.index,
                null["null_low"],
                null["null_high"],
                color=ORANGE,
                alpha=0.35,
                linewidth=0,
                label="random walk, 95 % band",
            )
            left.plot(null.index, null["null_mean"], color=ORANGE, label="random walk, mean")
        quartile_line(left, drift, "percent", "cosine", BLUE, "this run", "o")
    right.set_title("update with its reconstruction", loc="left")
    right.set_xlabel("training step")
    if oracle is None:
        say_not_measured(right)
    else:
        colours = [BLUE, VERMILLION, GREEN, PURPLE]
        for rank, colour in zip(sorted(set(oracle["rank"])), colours, strict=False):
            name = "1 direction" if rank == 1 else f"{rank} directions"
            quartile_line(right, equal(oracle, rank=rank), "step", "cosine", colour, name)
    left.set_ylim(top=1.03)
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right")
    return figure


def _pls_facts(results: Results) -> str:
    table = results.tables["pls"]
    facts = TensorFacts("pls", "draws")(results)
    if table is None:
        return facts
    r2, walk = mean(table, "r2"), mean(table, "r2_walk_mean")
    beside = "" if np.isnan(walk) else f"; mean R² {r2:.3f}, random-walk accuracies {walk:.3f}"
    return f"{facts}{beside}. {accuracy_source(table)}".rstrip(". ")


FIGURES = [
    run_figure(
        "pls_r2",
        "Does the leading left vector follow the accuracy?",
        "One component fitted to few checkpoints with many features reaches a high R² whatever it "
        "is fitted to. Only points above both orange bands, and a high leave-one-out value, say "
        "that u₁ moves with accuracy rather than merely with time.",
        ("pls",),
        draw_pls,
        _pls_facts,
    ),
    run_figure(
        "u1_alignment",
        "How far the update's leading direction turns",
        "Near 1, the direction was settled early and only its length grew. Line: median over "
        "matrices; band: quartiles; signs aligned from the last step backwards.",
        ("u1_alignment",),
        draw_alignment,
        TensorFacts("u1_alignment"),
    ),
    run_figure(
        "drift",
        "How early the trajectory's direction is known",
        "Left: a direction that has drifted out of reach cannot be extrapolated; inside the orange "
        "band it drifts as much as a random walk. Right: what one direction could reach if it were "
        "known in full, which uses the future. Lines: medians over tensors; bands: quartiles.",
        ("drift", "oracle"),
        draw_drift,
        TensorFacts("drift"),
    ),
]
