"""Fixed answers under every checkpoint: lines of log-probabilities, and distance from the base."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_parts import mark_break
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.reporting.function_table import MISSING, NULL_NAMES, WHOSE
from rlvr_dynamics.results.formatting import integer, percent
from rlvr_dynamics.results.frames import equal, has, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.tables import FUNCTION_NULLS
from rlvr_dynamics.system.palette import BLACK, BLUE, GREY, ORANGE, VERMILLION

NULL_LOOKS = {"walk": (GREY, "s"), "optimizer": (ORANGE, "D")}
LOOKS = {"base": (BLUE, "o"), "trained": (VERMILLION, "^")}
WIDTH = 0.22


def draw_function_space(lines: pd.DataFrame, function: pd.DataFrame) -> Figure:
    """Draw R² of token log-probabilities beside its nulls, and KL and entropy over training."""
    figure, grid = canvas(4.3, 2, 2)
    _lines(grid[0, 0], lines, "r2", "median R², in sample")
    _lines(grid[0, 1], lines, "heldout_r2", "median R², held-out half")
    _means(grid[1, 0], function, "kl_to_base", "KL(checkpoint ‖ base), nats per token")
    _means(grid[1, 1], function, "entropy", "entropy, nats per token")
    grid[0, 0].axhline(0.7, color=BLACK, linewidth=0.7, linestyle=":", label="threshold 0.7")
    handles, names = grid[0, 0].get_legend_handles_labels()
    more, further = grid[1, 0].get_legend_handles_labels()
    figure.legend([*handles, *more], [*names, *further], loc="outside lower center", ncols=3)
    return figure


def _lines(axes: Axes, lines: pd.DataFrame, score: str, title: str) -> None:
    """Draw the base's answers: all tokens and those that the selection keeps, run and nulls."""
    rows = equal(lines, writer="base", clock="step").sort_values("selected")
    places = np.arange(len(rows), dtype=np.float64)
    series = [("the run", "", BLUE, "o")]
    series += [
        (NULL_NAMES[name], null.prefix, *NULL_LOOKS[name]) for name, null in FUNCTION_NULLS.items()
    ]
    for shift, (label, prefix, colour, marker) in enumerate(series):
        column = f"{prefix}{score}"
        if not has(rows, column):
            continue
        x, y = places + WIDTH * (shift - 1), values(rows, column)
        if has(rows, f"{column}_low", f"{column}_high"):
            low, high = values(rows, f"{column}_low"), values(rows, f"{column}_high")
            axes.vlines(x, low, high, color=colour, linewidth=1.0)
        axes.plot(x, y.clip(min=-1.0), marker, color=colour, label=label)
        for place, value in zip(x, y, strict=True):
            if value < -1.0:
                axes.annotate(
                    f"{value:.1f}".replace("-", "−"),
                    (place, -1.0),
                    (0, 5),
                    textcoords="offset points",
                    ha="center",
                    fontsize=6.5,
                )
    if score == "heldout_r2":
        mark_break(axes, -1.0)
    labels = [
        f"moved by > 0.2\n({percent(row['kept_share'])} of tokens)"
        if row["selected"]
        else f"all tokens\n({integer(row['tokens'])})"
        for row in rows.to_dict("records")
    ]
    axes.set_xticks(places, labels)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.set_ylim(-1.1 if score == "heldout_r2" else 0.0, 1.05)
    axes.set_title(title, loc="left")


def _means(axes: Axes, function: pd.DataFrame, column: str, title: str) -> None:
    for writer, (colour, marker) in LOOKS.items():
        rows = equal(function, writer=writer).sort_values("step")
        step = values(rows, "step")
        low, high = values(rows, f"{column}_low"), values(rows, f"{column}_high")
        axes.fill_between(step, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            step,
            values(rows, column),
            color=colour,
            marker=marker,
            markersize=3,
            label=f"on the {WHOSE[writer]}",
        )
    axes.set_title(title, loc="left")
    axes.set_xlabel("training step")
    axes.set_ylim(bottom=0.0)


def _make(results: Results) -> Drawing:
    lines, function = results.behaviour("token_lines"), results.behaviour("function")
    if lines is None or function is None:
        return Drawing(None, missing=MISSING)
    first = function.iloc[0]
    return Drawing(
        draw_function_space(lines, function),
        f"n = {integer(first['answers'])} answers of each model to {first['benchmark']}, "
        f"{integer(lines['points'].iloc[0])} checkpoints with the base; bars: 95 %, of the run "
        "over answers, of a null over walks; values below −1 drawn there; seed "
        f"{integer(first['seed'])}; models in {first['dtype']}; from behaviour/",
    )


FIGURES = [
    Artefact(
        "function_space",
        "",
        "",
        "Fixed answers under every checkpoint",
        "Top: is the log-probability of a token a line in the training step, more than noise is "
        "that was selected in the same way? Bottom: how far the checkpoints' distributions are "
        "from the base's, and how spread out they are.",
        "",
        _make,
    )
]
