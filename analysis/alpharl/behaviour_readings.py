"""How often the base would choose another token, and its perplexity on the answers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.study import Study

from ..parts.panels import intervals
from ..parts.run_groups import groups, key, names_of, runs_and_seeds
from .behaviour_tables import (
    LOOKS,
    MISSING,
    behaviour,
    estimates,
    lacking,
    measured,
    questions_of,
)
from .paper import figure

ROW_INCHES = 0.13
Reading = tuple[str, str, str]
"""Reader, writer, and the pair's name in the legend."""
NON_GREEDY: tuple[Reading, ...] = (
    (BASE, TRAINED, "trained model's answers, read by the base"),
    (RANK1, TRAINED, "the same, read by the rank-1 update"),
    (BASE, RANK1, "rank-1 update's, read by the base"),
    (BASE, RANDOM, "control: random update's, read by the base"),
    (BASE, BASE, "control: the base's own answers"),
)
PERPLEXITY: tuple[Reading, ...] = (
    (BASE, TRAINED, "trained model's answers"),
    (BASE, RANK1, "rank-1 update's answers"),
    (BASE, RANDOM, "control: random update's answers"),
    (BASE, BASE, "control: the base's own answers"),
)


def draw_rows(
    study: Study,
    metric: str,
    readings: Sequence[Reading],
    xlabel: str,
    *,
    scale: float = 1,
    floor: float,
) -> Drawing:
    """Draw one row of estimates per group of runs, with a mark per reading and seed.

    Args:
        study: The runs.
        metric: Metric of the summary.
        readings: Readings to draw, each in its own look; later readings of the same writer have
            open markers.
        xlabel: Label of the axis.
        scale: Factor applied to the values.
        floor: Start of the axis, before scaling.
    """
    cells = measured(study, "summary")
    if not cells:
        return Drawing(None, missing=MISSING)
    rows = groups(cells, by_algorithm=True)
    spans = [ROW_INCHES * (1 + len(readings) * len(group.cells)) for group in rows]
    drawn, grid = canvas(0.75 + sum(spans))
    axes, edge, ticks = grid[0, 0], 0.0, []
    for group, span in zip(rows, spans, strict=True):
        ticks.append(edge + span / 2)
        for place, reading in enumerate(readings):
            look = _look(reading, readings)
            for number, cell in enumerate(group.cells):
                found = equal(
                    behaviour(cell, "summary"), metric=metric, reader=reading[0], writer=reading[1]
                )
                mid = edge + ROW_INCHES * (1 + place * len(group.cells) + number)
                if len(found):
                    scores = estimates(found, ("value", "low", "high"), scale)
                    intervals(
                        axes, [mid], scores, along="x", elinewidth=0.8, markersize=3.5, **look
                    )
        edge += span
        axes.axhline(edge, color="#DDDDDD", linewidth=0.6)
    axes.set_yticks(ticks, [group.title.replace(", lr", ",\nlr") for group in rows])
    axes.set_ylim(edge, 0)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(left=scale * floor)
    axes.set_xlabel(xlabel)
    handles = [key(reading[2], linestyle="", **_look(reading, readings)) for reading in readings]
    drawn.legend(handles=handles, loc="outside lower center", ncols=2)
    facts = f"{runs_and_seeds(cells)}; {questions_of(cells)}; whiskers: 95 % bootstrap over answers"
    return Drawing(drawn, f"{facts}.{lacking(study, cells)}", names_of(study, cells))


def _look(reading: Reading, readings: Sequence[Reading]) -> dict[str, Any]:
    """Return colour, marker and fill: by writer, open for its second reader."""
    first = next(other for other in readings if other[1] == reading[1])
    colour, marker = LOOKS[reading[1] if reading == first else reading[0]]
    return {
        "color": colour,
        "marker": marker,
        "fillstyle": "full" if reading == first else "none",
    }


ARTEFACTS: list[Artefact] = [
    figure(
        "12a",
        "Greedy and non-greedy tokens of the trained model under the base",
        "The smaller the share, the closer the trained model stays to what the base would have "
        "said itself. The random update shows what a change of the same size without direction "
        "does; the base's own answers give 0 by construction, up to rounding. If the rank-1 update "
        "is the trained model, its reading of the trained model's answers is near 0 too.",
        "rank_recovery",
        partial(
            draw_rows,
            metric="non_greedy_share",
            readings=NON_GREEDY,
            xlabel="tokens that the reader would not have written, % of the answers' tokens",
            scale=100,
            floor=-0.002,
        ),
    ),
    figure(
        "12b",
        "Perplexity of the answers under the base",
        "Only the answer counts, not the question; all answers are greedy. Compare with the base's "
        "own answers: left of them, the trained model writes what the base finds more likely than "
        "its own text.",
        "rank_recovery",
        partial(
            draw_rows,
            metric="perplexity",
            readings=PERPLEXITY,
            xlabel="perplexity of a token of the answers under the base "
            "(1: certain of every token)",
            floor=1.0,
        ),
    ),
]
