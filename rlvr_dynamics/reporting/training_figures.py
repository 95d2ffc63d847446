"""Reward and accuracy over the training steps, with predicted and real checkpoints."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.figure_parts import (
    TensorFacts,
    quartile_line,
    run_figure,
    say_not_measured,
)
from rlvr_dynamics.reporting.figure_style import (
    canvas,
    fill,
    prediction_label,
    shade_windows,
    step_axis,
)
from rlvr_dynamics.results.formatting import percent, text
from rlvr_dynamics.results.frames import equal, has, highest, known, mean, select, span, values
from rlvr_dynamics.results.methods import is_principal, look, method_rank
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import PROTOCOLS
from rlvr_dynamics.system.palette import BLACK, BLUE, GREY, VERMILLION

MOST_CURVES = 8
LONGEST_OF_THREE = 28  # longest label, in characters, that leaves room for three columns
FLAT = 0.99  # shares of changed weights above this at every step draw a flat line
MOST_SPREAD = 0.18  # share of the training over which curves at one step are spread
RIGHT = "rollouts/acc_exact"
REWARD_COLUMNS = ("critic/score/mean", "critic/rewards/mean", "reward/mean", "reward")


def chosen_scores(results: Results, split: str) -> pd.DataFrame | None:
    """Return one split's scores under one protocol: sampled answers if any, otherwise greedy."""
    scores = results.tables["scores"]
    if scores is None:
        return None
    scores = equal(scores, split=split)
    for protocol in PROTOCOLS:
        chosen = equal(scores, protocol=protocol)
        if len(chosen):
            return chosen
    return scores if len(scores) else None


def draw_learning(results: Results) -> Figure | None:
    """Draw reward (top) and in-domain accuracy (bottom) over steps."""
    metrics, scores = results.tables["metrics"], chosen_scores(results, "in_domain")
    if metrics is None and scores is None:
        return None
    figure, grid = canvas(4.9, 2, 1, sharex=True, height_ratios=[1, 1.7])
    top, bottom = grid[:, 0]
    for axes in (top, bottom):
        shade_windows(axes, results.windows)
    _draw_reward(top, metrics)
    if scores is None:
        say_not_measured(bottom)
    else:
        benchmark = results.benchmarks("in_domain")[0]
        draw_accuracy(bottom, equal(scores, benchmark=benchmark), results, legend=True)
        title = results.benchmark_title(benchmark)
        bottom.set_title(f"accuracy, {title} ({scores['protocol'].iloc[0]})", loc="left")
    if scores is not None:
        bottom.set_ylim(0, _top(scores))
    bottom.set_xlabel("training step (shaded: what the predictions observed)")
    return figure


def _draw_reward(axes: Axes, metrics: pd.DataFrame | None) -> None:
    axes.set_title("training reward (mean of the batch)", loc="left")
    column = next(
        (name for name in REWARD_COLUMNS if metrics is not None and name in metrics), None
    )
    if metrics is None or column is None:
        say_not_measured(axes)
        return
    rows = known(metrics, column).sort_values(["step"])
    axes.plot(rows["step"], rows[column], color=GREY, linewidth=0.7, label="each step")
    width = max(1, len(rows) // 15)
    if width > 1:
        smooth = rows[column].rolling(width, center=True, min_periods=1).mean()
        axes.plot(rows["step"], smooth, color=BLACK, label=f"mean of {width} steps")
    right = metrics.reindex(columns=["step", RIGHT]).dropna().sort_values("step")
    if len(right):
        axes.plot(right["step"], right[RIGHT], color=BLUE, label="share right, all rollouts")
    axes.set_ylabel("reward")
    axes.legend(loc="lower right")


def draw_accuracy(
    axes: Axes, scores: pd.DataFrame, results: Results, *, legend: bool, spread: float = 0.02
) -> None:
    """Draw base, the ladder of real checkpoints and all predictions, with 95 % intervals."""
    final = results.final_step or 1
    base = equal(scores, method="base")
    if len(base):
        axes.axhline(
            mean(base, "accuracy"),
            color=GREY,
            linestyle=(0, (4, 3)),
            linewidth=0.9,
            label="base",
        )
    is_real = scores["method"].isin(["base", "real"])
    real = select(scores, is_real).sort_values(["step"])
    if len(real):
        _points(axes, real, 0.0, BLACK, "o", "full", "real checkpoints", linestyle="-")
    predicted = select(scores, ~is_real).fillna({"observe": 0})
    groups = _shown_groups(predicted)
    spread = min(spread, MOST_SPREAD / max(1, len(groups)))
    for position, (method, observe) in enumerate(groups):
        drawn = look(method, predicted["method"])
        # Several predictions target the same step: draw them side by side to show every interval.
        place = position - len(groups) // 2
        offset = (place if place < 0 else place + 1) * final * spread
        _points(
            axes,
            equal(predicted, method=method, observe=observe).sort_values(["step"]),
            offset,
            drawn.colour,
            drawn.marker,
            fill(observe, results.windows) if observe > 0 else "full",
            prediction_label(results, method, observe, final),
        )
    axes.set_ylabel("accuracy")
    if legend:
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=3 if max(map(len, labels), default=0) <= LONGEST_OF_THREE else 2,
            columnspacing=1.2,
            handletextpad=0.5,
        )


def _shown_groups(predicted: pd.DataFrame) -> list[tuple[str, float]]:
    """Return method and window of every curve; if there are many, only the papers' own methods."""
    groups = {(str(row["method"]), float(row["observe"])) for row in predicted.to_dict("records")}
    if len(groups) > MOST_CURVES:
        groups = {group for group in groups if is_principal(group[0])} or groups
    return sorted(groups, key=lambda group: (method_rank(group[0]), group[1]))


def _points(
    axes: Axes,
    rows: pd.DataFrame,
    offset: float,
    colour: str,
    marker: str,
    fillstyle: str,
    label: str,
    linestyle: str = "",
) -> None:
    accuracy = values(rows, "accuracy")
    errors = None
    if {"ci_low", "ci_high"} <= set(rows.columns):
        ends = [
            accuracy - values(rows, "ci_low"),
            values(rows, "ci_high") - accuracy,
        ]
        errors = np.clip(np.nan_to_num(np.array(ends)), 0, None)
    axes.errorbar(
        values(rows, "step") + offset,
        accuracy,
        yerr=errors,
        color=colour,
        marker=marker,
        linestyle=linestyle,
        fillstyle=fillstyle,
        markerfacecoloralt="white",
        elinewidth=0.8,
        capsize=1.5,
        label=label,
    )


def _top(scores: pd.DataFrame) -> float:
    """Return the upper end of the accuracy axis: above every interval, never above 1."""
    column = "ci_high" if "ci_high" in scores else "accuracy"
    return min(1.0, 1.08 * float(np.nanmax(values(scores, column))) + 0.02)


def draw_out_of_domain(results: Results) -> Figure | None:
    """Draw the accuracy panel for each out-of-domain benchmark."""
    scores, names = chosen_scores(results, "out_of_domain"), results.benchmarks("out_of_domain")
    if scores is None or not names:
        return None
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure, grid = canvas(0.9 + 1.75 * lines, lines, columns, sharex=True, sharey=True)
    panels = list(grid.flat)
    for position, (axes, name) in enumerate(zip(panels, names, strict=False)):
        shade_windows(axes, results.windows)
        draw_accuracy(
            axes, equal(scores, benchmark=name), results, legend=position == 0, spread=0.035
        )
        title = textwrap.fill(results.benchmark_title(name), 72 // columns, break_on_hyphens=False)
        axes.set_title(title, loc="left", fontsize=7.5)
        axes.set_ylabel("accuracy" if position % columns == 0 else "")
        if position + columns >= len(names):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("training step")
    panels[0].set_ylim(0, _top(scores))
    for axes in panels[len(names) :]:
        axes.remove()
    return figure


def draw_changed(results: Results) -> Figure | str | None:
    """Draw the share of elements that differ from the base, and from the step before.

    Where all of them change at every step, as in a wide dtype, it says so instead.
    """
    norms = results.tables["norms"]
    if norms is None or not has(norms, "changed_share"):
        return None
    shares = [name for name in ("changed_share", "step_changed_share") if has(norms, name)]
    lowest = min(
        float(np.min(np.asarray(known(norms, name).groupby("step")[name].quantile(0.25))))
        for name in shares
    )
    if lowest > FLAT:
        return (
            f"Not drawn: stored as {text(results.dtype)}, nearly all weights change at every step "
            f"(at least {percent(lowest)} of three quarters of the tensors)."
        )
    figure, grid = canvas(2.4)
    axes = grid[0, 0]
    step_axis(axes, results.windows)
    quartile_line(axes, norms, "step", "changed_share", BLUE, "from the base")
    quartile_line(axes, norms, "step", "step_changed_share", VERMILLION, "from the step before")
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("share of changed elements")
    axes.legend()
    return figure


class _Facts:
    """The n of the accuracy figures: questions and samples of each benchmark."""

    def __init__(self, split: str) -> None:
        self.split = split

    def __call__(self, results: Results) -> str:
        scores = chosen_scores(results, self.split)
        if scores is None or "questions" not in scores:
            return "n not measured"
        parts = []
        for name in results.benchmarks(self.split):
            rows = equal(scores, benchmark=name)
            if len(rows):
                samples = span(rows, "samples") if "samples" in rows else 1
                parts.append(f"{highest(rows, 'questions')} questions × {samples}")
        listed = parts[0] if len(set(parts)) == 1 else ", ".join(parts)
        protocol = scores["protocol"].iloc[0]
        facts = f"n = {listed} {protocol} answers per checkpoint; bars: 95 % intervals"
        predicted = select(scores, ~scores["method"].isin(["base", "real"])).fillna({"observe": 0})
        shown = {method for method, _ in _shown_groups(predicted)}
        left_out = len(set(predicted["method"]) - shown)
        return f"{facts}; {left_out} further methods in the next figures" if left_out else facts


FIGURES = [
    run_figure(
        "reward_and_accuracy",
        "Reward and in-domain accuracy over training",
        "Compare a predicted checkpoint with the real one at the same step, and with the last real "
        "checkpoint inside the shaded window that it saw. Predictions for one step stand side by "
        "side.",
        ("metrics", "scores"),
        draw_learning,
        _Facts("in_domain"),
    ),
    run_figure(
        "out_of_domain",
        "Out-of-domain accuracy",
        "Does a prediction carry over to problems that RL never trained on?",
        ("scores",),
        draw_out_of_domain,
        _Facts("out_of_domain"),
    ),
    run_figure(
        "changed_share",
        "Sparsity of the update",
        "How many weights does RL touch? A coarse number format hides small changes, so compare "
        "only runs in the same one. Line: median over tensors; band: quartiles.",
        ("norms",),
        draw_changed,
        TensorFacts("norms"),
    ),
]
