"""AlphaRL, figure 14: the base, led by the first tokens of the trained model's answer."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.alpharl.behaviour_drawing import panels, role_legend
from analysis.alpharl.behaviour_tables import LOOKS, MISSING, behaviour, lacking, measured
from analysis.parts.run_groups import dodge, names_of, runs_and_seeds
from rlvr_dynamics.behaviour.job import RANDOM, RANK1, TRAINED
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import BLACK, ORANGE
from rlvr_dynamics.results.frames import equal, values
from rlvr_dynamics.results.study import Cell, Study

ROLES = (TRAINED, RANK1, RANDOM)


def draw(study: Study) -> Drawing:
    """Accuracy of the base against the number of tokens it is given."""
    cells = measured(study, "prefix")
    if not cells:
        return Drawing(None, missing=MISSING)
    lengths = sorted({int(k) for cell in cells for k in values(_prefix(cell), "guide_tokens")})
    figure, found = panels(cells, "tokens given", "accuracy, %")
    for axes, group in found:
        for number, cell in enumerate(group.cells):
            for place, role in enumerate(ROLES):
                shift = dodge(place * len(group.cells) + number, len(ROLES) * len(group.cells), 0.4)
                _curve(axes, cell, role, lengths, shift)
        axes.set_xticks(range(len(lengths)), [str(length) for length in lengths])
        axes.set_ylim(-3, 103)
    role_legend(
        figure,
        ROLES,
        Line2D([], [], color=BLACK, linestyle=":", label="trained model itself"),
        Line2D([], [], color=ORANGE, linestyle="--", label="trained model's prefix alone"),
        words="base led by: {}",
    )
    tables = [_prefix(cell) for cell in cells]
    asked = sorted(
        {
            (int(n), str(b))
            for t in tables
            for n, b in zip(t["questions"], t["benchmark"], strict=True)
        }
    )
    facts = (
        f"{runs_and_seeds(cells)}; "
        + "; ".join(f"n = {n} questions, {name}" for n, name in asked)
        + "; greedy; whiskers: 95 % Wilson"
    )
    return Drawing(figure, f"{facts}.{lacking(study, cells)}", names_of(study, cells))


def _prefix(cell: Cell):
    table = behaviour(cell, "prefix")
    assert table is not None  # noqa: S101 - `measured` chose it
    return table


def _curve(axes: Axes, cell: Cell, role: str, lengths: list[int], shift: float) -> None:
    rows = equal(_prefix(cell), guide=role).sort_values("guide_tokens")
    if not len(rows):
        return
    x = np.array([lengths.index(int(k)) for k in values(rows, "guide_tokens")])
    accuracy = values(rows, "accuracy")
    errors = [accuracy - values(rows, "accuracy_low"), values(rows, "accuracy_high") - accuracy]
    colour, marker = LOOKS[role]
    axes.errorbar(
        x + shift,
        100 * accuracy,
        yerr=100 * np.clip(np.array(errors), 0, None),
        color=colour,
        marker=marker,
        markersize=2.8,
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
    Artefact(
        "alpharl_figure_14",
        "alpharl",
        "Figure 14",
        "How few tokens of the trained model's answer lead the base",
        "The paper reports that 20 tokens suffice. Where the base led by k tokens reaches the "
        "dotted line, the rest is in the base already. The dashed line is what the k tokens alone "
        "score: where it rises, they hold the answer and the base adds nothing. 0 tokens: the base "
        "itself. The random update is the control.",
        "rank_recovery",
        draw,
    )
]
