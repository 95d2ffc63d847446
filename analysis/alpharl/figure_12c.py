"""AlphaRL, figure 12c: where in the answer the base would have written another token."""

import numpy as np
from matplotlib.axes import Axes

from analysis.alpharl.behaviour_drawing import null_line, panels, role_legend
from analysis.alpharl.behaviour_tables import (
    LOOKS,
    MISSING,
    behaviour,
    lacking,
    measured,
    questions_of,
)
from analysis.parts.run_groups import dodge, names_of, runs_and_seeds
from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import GREY
from rlvr_dynamics.results.frames import equal, values
from rlvr_dynamics.results.study import Cell, Study

ROLES = (TRAINED, RANK1, RANDOM)


def draw(study: Study) -> Drawing:
    """Share of the non-greedy tokens in each tenth of the answers."""
    cells = measured(study, "summary")
    if not cells:
        return Drawing(None, missing=MISSING)
    figure, found = panels(cells, "place in the answer, %", "non-greedy tokens, %")
    for axes, group in found:
        for number, cell in enumerate(group.cells):
            for place, role in enumerate(ROLES):
                shift = dodge(place * len(group.cells) + number, len(ROLES) * len(group.cells), 0.7)
                _histogram(axes, cell, role, shift)
        axes.set_xlim(0, 100)
        axes.set_ylim(-3, 103)
    role_legend(
        figure, ROLES, null_line("null: all tokens of the trained model"), words="answers of: {}"
    )
    facts = (
        f"{runs_and_seeds(cells)}; {questions_of(cells)}; whiskers: 95 % bootstrap over answers; "
        f"non-greedy tokens: {_counts(cells)}"
    )
    return Drawing(figure, f"{facts}.{lacking(study, cells)}", names_of(study, cells))


def _histogram(axes: Axes, cell: Cell, role: str, shift: float) -> None:
    table = behaviour(cell, "summary")
    if table is None:
        return
    rows = equal(table, metric="non_greedy_position", reader=BASE, writer=role)
    if not len(rows):
        return
    low, high = values(rows, "bin_low"), values(rows, "bin_high")
    middle = 100 * (low + (0.5 + shift) * (high - low))
    share = values(rows, "value")
    errors = np.array([share - values(rows, "low"), values(rows, "high") - share])
    colour, marker = LOOKS[role]
    axes.errorbar(
        middle,
        100 * share,
        yerr=100 * np.clip(np.nan_to_num(errors), 0, None),
        color=colour,
        marker=marker,
        markersize=2.5,
        linewidth=0.6,
        elinewidth=0.6,
    )
    if role == TRAINED:
        null = 100 * values(rows, "null")
        edges = 100 * np.append(low, high[-1])
        axes.stairs(null, edges, color=GREY, linestyle=":", baseline=None)


def _counts(cells: list[Cell]) -> str:
    """How many tokens stand behind the histograms, from the fewest to the most."""
    words = []
    for role in ROLES:
        found = []
        for cell in cells:
            table = behaviour(cell, "summary")
            if table is not None:
                rows = equal(table, metric="non_greedy_share", reader=BASE, writer=role)
                found += [int(count) for count in values(rows, "non_greedy_tokens")]
        if found:
            span = str(min(found)) + (f" to {max(found)}" if max(found) > min(found) else "")
            words.append(f"{role.replace('_', ' ')} {span}")
    return ", ".join(words)


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_12c",
        "alpharl",
        "Figure 12c",
        "Where the non-greedy tokens stand",
        "Every answer is cut in ten parts of equal length; the dotted steps are where tokens stand "
        "anyway. A peak at the left means that the base is led on another way at the beginning and "
        "goes on by itself. The random update is the control. No marks: no non-greedy tokens.",
        "rank_recovery",
        draw,
    )
]
