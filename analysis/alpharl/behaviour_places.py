"""Where in the answers the base differs, and how few of their tokens guide it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.frames import equal, values
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.system.palette import BLACK, GREY, ORANGE

from ..parts.panels import intervals, panel_grid
from ..parts.run_groups import Group, dodge, groups, key, names_of, runs_and_seeds
from .behaviour_tables import (
    LOOKS,
    MISSING,
    NAMES,
    behaviour,
    estimates,
    lacking,
    measured,
    questions_of,
)
from .paper import figure

ROLES = (TRAINED, RANK1, RANDOM)


def _panels(
    cells: Sequence[Cell], xlabel: str, ylabel: str
) -> tuple[Figure, list[tuple[Axes, Group]]]:
    found = groups(cells, by_algorithm=True)
    titles = [group.title for group in found]
    drawn, axes = panel_grid(titles, min(3, len(found)), xlabel, ylabel)
    for one in axes:
        one.set_ylim(-3, 103)
    return drawn, list(zip(axes, found, strict=True))


def _spread(group: Group, width: float) -> list[tuple[Cell, str, float]]:
    """Yield every run and role of a panel, with its horizontal shift."""
    count = len(ROLES) * len(group.cells)
    return [
        (cell, role, dodge(place * len(group.cells) + number, count, width))
        for number, cell in enumerate(group.cells)
        for place, role in enumerate(ROLES)
    ]


def _legend(drawn: Figure, words: str, *more: Line2D) -> None:
    handles = [
        key(words.format(NAMES[role]), color=LOOKS[role][0], marker=LOOKS[role][1], markersize=3.5)
        for role in ROLES
    ]
    drawn.legend(handles=[*handles, *more], loc="outside upper center", ncols=2)


def draw_places(study: Study) -> Drawing:
    """Draw the share of the non-greedy tokens in each tenth of the answers."""
    cells = measured(study, "summary")
    if not cells:
        return Drawing(None, missing=MISSING)
    drawn, found = _panels(cells, "place in the answer, %", "non-greedy tokens, %")
    for axes, group in found:
        for cell, role, shift in _spread(group, 0.7):
            _histogram(axes, cell, role, shift)
        axes.set_xlim(0, 100)
    null = key("null: all tokens of the trained model", color=GREY, linestyle=":")
    _legend(drawn, "answers of: {}", null)
    facts = (
        f"{runs_and_seeds(cells)}; {questions_of(cells)}; whiskers: 95 % bootstrap over answers; "
        f"non-greedy tokens: {_counts(cells)}"
    )
    return Drawing(drawn, f"{facts}.{lacking(study, cells)}", names_of(study, cells))


def _histogram(axes: Axes, cell: Cell, role: str, shift: float) -> None:
    summary = behaviour(cell, "summary")
    rows = equal(summary, metric="non_greedy_position", reader=BASE, writer=role)
    if not len(rows):
        return
    low, high = values(rows, "bin_low"), values(rows, "bin_high")
    middle = 100 * (low + (0.5 + shift) * (high - low))
    colour, marker = LOOKS[role]
    intervals(
        axes,
        list(middle),
        estimates(rows, ("value", "low", "high"), 100),
        color=colour,
        marker=marker,
        markersize=2.5,
        linestyle="-",
        linewidth=0.6,
    )
    if role == TRAINED:
        null = 100 * values(rows, "null")
        edges = 100 * np.append(low, high[-1])
        axes.stairs(null, edges, color=GREY, linestyle=":", baseline=None)


def _counts(cells: Sequence[Cell]) -> str:
    """Say how many tokens are behind the histograms, from fewest to most."""
    words = []
    for role in ROLES:
        found: list[int] = []
        for cell in cells:
            summary = behaviour(cell, "summary")
            rows = equal(summary, metric="non_greedy_share", reader=BASE, writer=role)
            found += [int(count) for count in values(rows, "non_greedy_tokens")]
        if found:
            span = str(min(found)) + (f" to {max(found)}" if max(found) > min(found) else "")
            words.append(f"{role.replace('_', ' ')} {span}")
    return ", ".join(words)


def draw_guided(study: Study) -> Drawing:
    """Draw the base's accuracy against the number of tokens it is given."""
    cells = measured(study, "prefix")
    if not cells:
        return Drawing(None, missing=MISSING)
    tables = [behaviour(cell, "prefix") for cell in cells]
    lengths = sorted({int(k) for table in tables for k in values(table, "guide_tokens")})
    drawn, found = _panels(cells, "tokens given", "accuracy, %")
    for axes, group in found:
        for cell, role, shift in _spread(group, 0.4):
            _curve(axes, cell, role, lengths, shift)
        axes.set_xticks(range(len(lengths)), [str(length) for length in lengths])
    _legend(
        drawn,
        "base led by: {}",
        key("trained model itself", color=BLACK, linestyle=":"),
        key("trained model's prefix alone", color=ORANGE, linestyle="--"),
    )
    asked = {
        (int(n), str(name))
        for table in tables
        for n, name in zip(table["questions"], table["benchmark"], strict=True)
    }
    facts = (
        f"{runs_and_seeds(cells)}; "
        + "; ".join(f"n = {n} questions, {name}" for n, name in sorted(asked))
        + "; greedy; whiskers: 95 % Wilson"
    )
    return Drawing(drawn, f"{facts}.{lacking(study, cells)}", names_of(study, cells))


def _curve(axes: Axes, cell: Cell, role: str, lengths: list[int], shift: float) -> None:
    rows = equal(behaviour(cell, "prefix"), guide=role).sort_values("guide_tokens")
    if not len(rows):
        return
    x = np.array([lengths.index(int(k)) for k in values(rows, "guide_tokens")])
    colour, marker = LOOKS[role]
    intervals(
        axes,
        list(x + shift),
        estimates(rows, ("accuracy", "accuracy_low", "accuracy_high"), 100),
        color=colour,
        marker=marker,
        markersize=2.8,
        linestyle="-",
        linewidth=0.8,
        elinewidth=0.7,
    )
    if role == TRAINED:
        axes.axhline(
            100 * values(rows, "guide_accuracy")[0], color=BLACK, linestyle=":", linewidth=0.8
        )
        axes.plot(
            x, 100 * values(rows, "prefix_accuracy"), color=ORANGE, linestyle="--", linewidth=0.9
        )


ARTEFACTS: list[Artefact] = [
    figure(
        "12c",
        "Where the non-greedy tokens stand",
        "Every answer is cut in ten parts of equal length; the dotted steps are where tokens stand "
        "anyway. A peak at the left means that the base is led elsewhere at the beginning and "
        "goes on by itself. The random update is the control. No marks: no non-greedy tokens.",
        "rank_recovery",
        draw_places,
    ),
    figure(
        "14",
        "How few tokens of the trained model's answer lead the base",
        "The paper reports that 20 tokens suffice. Where the base led by k tokens reaches the "
        "dotted line, the rest is in the base already. The dashed line is what the k tokens alone "
        "score: where it rises, they hold the answer and the base adds nothing. 0 tokens: the base "
        "itself. The random update is the control.",
        "rank_recovery",
        draw_guided,
    ),
]
