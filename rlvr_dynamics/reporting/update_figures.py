"""Figures of the updates of a step: clipped tokens, and what the stored weights did."""

import numpy as np
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.figure_parts import run_figure
from rlvr_dynamics.reporting.figure_style import canvas, step_axis
from rlvr_dynamics.reporting.update_tables import SHOWN_UPDATES, assumed, observable
from rlvr_dynamics.results.formatting import general
from rlvr_dynamics.results.frames import has, known, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.updates import moved
from rlvr_dynamics.schema.clips import DUAL_CLIPPED, POLICY_CLIPPED, VALUE_CLIPPED
from rlvr_dynamics.system.palette import BLACK, BLUE, ORANGE, VERMILLION

LABELS = {
    POLICY_CLIPPED: ("ratio", BLUE),
    DUAL_CLIPPED: ("dual clip", ORANGE),
    VALUE_CLIPPED: ("value", VERMILLION),
}


def draw_clipped(results: Results) -> Figure | None:
    """Draw the clip fractions that verl reports over the training steps."""
    metrics = results.tables["metrics"]
    shown = [name for name in LABELS if metrics is not None and has(metrics, name)]
    if metrics is None or not shown:
        return None
    figure, grid = canvas(2.2)
    axes = grid[0, 0]
    step_axis(axes, results.windows)
    for name in shown:
        label, colour = LABELS[name]
        rows = known(metrics, name).sort_values(["step"])
        axes.plot(rows["step"], 100 * values(rows, name), color=colour, label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("clipped tokens (%)")
    axes.legend()
    return figure


def draw_moved(results: Results) -> Figure | None:
    """Draw what the stored weights did over what 1, 4 and 16 updates a step would have done."""
    found = moved(results)
    if found is None:
        return None
    figure, grid = canvas(2.6)
    axes = grid[0, 0]
    step_axis(axes, results.windows)
    # Means from the first step on: weights that keep one direction all cross at the same steps.
    scale = (100 if found.by_share else 1) / np.arange(1, len(found.steps) + 1)
    for updates, colour in zip(SHOWN_UPDATES, (BLUE, ORANGE, VERMILLION), strict=True):
        place = found.updates.index(updates)
        low = scale * found.noise[place].cumsum()
        high = scale * found.coherent[place].cumsum()
        label = f"{updates} update{'s' if updates > 1 else ''} a step"
        axes.fill_between(found.steps, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(found.steps, low, color=colour, linewidth=0.9, label=label)
    axes.plot(found.steps, scale * found.observed.cumsum(), color=BLACK, label="stored weights")
    axes.set_ylabel("changed values (%)" if found.by_share else "distance (learning rates)")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: general(value))
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _clip_facts(results: Results) -> str:
    metrics, updates = results.tables["metrics"], results.config.trainer.updates_per_rollout
    steps = f"n = {0 if metrics is None else len(metrics)} steps"
    if results.config.source.is_given or updates is None:
        return steps
    if updates == 1:
        return f"{steps} of one update of the policy, so 0 is expected for its ratios"
    return f"{steps} of {updates} updates of the policy"


def _moved_facts(results: Results) -> str:
    found = moved(results)
    if found is None:
        return "n not measured"
    text = f"{observable(found)}. {assumed(found)}".removesuffix(".")
    return f"{text}; n = {len(found.steps)} steps of {found.weights:,} weights"


FIGURES: list[Artefact] = [
    run_figure(
        "clip_fraction",
        "Clipped tokens",
        "Did the clips act? Before the second update of a step they cannot.",
        ("metrics",),
        draw_clipped,
        _clip_facts,
    ),
    run_figure(
        "updates_a_step",
        "Updates a step, from the stored weights",
        "Which band holds the black line? A band reaches from gradients that are noise (its line) "
        "to gradients that keep their direction. Means from the first step on.",
        ("norms", "exponents"),
        draw_moved,
        _moved_facts,
    ),
]
