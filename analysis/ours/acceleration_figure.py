"""The figure of the acceleration bench: accuracy against rollouts and against wall time."""

from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.results.arms import GATED, PASSES, PLAIN, RANDOM, RESTART, ROLLED_BACK
from rlvr_dynamics.results.formatting import general, integer
from rlvr_dynamics.results.study import Study
from rlvr_dynamics.system.palette import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
)

from ..parts.run_groups import key
from .accelerations import NEEDS, Bench, Group, benches, names

PANELS = {"rollouts": "rollouts, those of gates included", "seconds": "seconds of steps and jumps"}
CONTROLS = (PASSES, RANDOM, RESTART, ROLLED_BACK)
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, "#8C5109", "#4D4D4D")
# As many as the bench has rates of plain steps: four, and two that a jump's factor makes of them.
LINES = ("-", "--", ":", "-.", (0, (7, 2)), (0, (1, 4)))


def _looks(bench: Bench) -> dict[str, dict[str, object]]:
    """Plain steps are black, controls grey, gated runs red; other arms have a colour each."""
    looks: dict[str, dict[str, object]] = {}
    lines = {PLAIN: cycle(LINES), "control": cycle(LINES), GATED: cycle(LINES)}
    others = cycle((colour, line) for line in LINES for colour in COLOURS)
    for group in bench.groups:
        kind = "control" if group.arm.kind in CONTROLS else group.arm.kind
        if kind in lines:
            colour = {PLAIN: BLACK, "control": GREY, GATED: VERMILLION}[kind]
            looks[group.label] = {"color": colour, "linestyle": next(lines[kind])}
        else:
            colour, line = next(others)
            looks[group.label] = {"color": colour, "linestyle": line}
    return looks


def draw(study: Study) -> Drawing:
    """Draw a row of two panels for every base."""
    found = benches(study)
    if not found:
        return Drawing(None, missing=NEEDS)
    looks = [_looks(bench) for bench in found]
    legend = sum(len(each) for each in looks)
    figure, grid = canvas(0.4 + 2.6 * len(found) + 0.08 * legend, len(found), 2, sharey=True)
    for row, bench, look in zip(grid, found, looks, strict=True):
        for axes, (axis, label) in zip(row, PANELS.items(), strict=True):
            for group in bench.groups:
                _line(axes, group, axis, look[group.label])
            axes.set_xlabel(label)
            axes.set_xlim(left=0)
        row[0].set_ylabel("accuracy on test problems")
    handles = [key(name, **look) for each in looks for name, look in each.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=6)
    return Drawing(figure, _facts(found), names(group for each in found for group in each.groups))


def _line(axes: Axes, group: Group, axis: str, look: dict[str, object]) -> None:
    """Draw the mean over the runs of an arm, checkpoint by checkpoint."""
    shared = min(len(curve.steps) for curve in group.curves)
    costs = np.mean([curve.costs[axis][:shared] for curve in group.curves], axis=0)
    heights = np.mean([curve.accuracies[:shared] for curve in group.curves], axis=0)
    axes.plot(costs, heights, linewidth=1.0, **look)  # pyright: ignore[reportArgumentType]


def _facts(found: list[Bench]) -> str:
    runs = sum(len(group.cells) for bench in found for group in bench.groups)
    seeds = {cell.seed for bench in found for group in bench.groups for cell in group.cells}
    tuned = ", ".join(general(bench.tuned.rate) for bench in found if bench.tuned) or "unknown"
    return (
        f"n = {runs} runs, {integer(found[0].questions)} questions; seeds "
        f"{', '.join(map(str, sorted(seeds)))}; means over seeds. Raw accuracies of the scored "
        f"checkpoints. The rate that is best on validation problems: {tuned}. Sources: metrics, "
        "scores, train/acceleration."
    )


ARTEFACTS: list[Artefact] = [
    Artefact(
        "acceleration",
        "ours",
        "",
        "Accuracy against what it cost",
        "Black: plain steps at several rates. An arm that only repairs a small step lies below the "
        "black line of the tuned rate.",
        "acceleration",
        draw,
    )
]
