"""Parts that RELEX's figures share: panels, the null walk of a run, marks of printed values."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from rlvr_dynamics.reporting.figure_style import BLACK, ORANGE, canvas
from rlvr_dynamics.statistics.intervals import Interval

Array = NDArray[np.float64]
NULL_LABEL = "null: random walk"
PRINTED_LABEL = "printed"
NULL_LOOK: dict[str, Any] = {"color": ORANGE, "linestyle": "--", "linewidth": 1.2}
PRINTED_LOOK: dict[str, Any] = {
    "color": BLACK,
    "marker": "o",
    "markerfacecolor": "white",
    "markersize": 6,
    "linestyle": "",
    "zorder": 5,
}
PANEL_INCHES = 1.85


def panel_grid(count: int, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """A figure with room for `count` panels and a legend; panels beyond that are hidden."""
    rows = -(-count // columns)
    figure, grid = canvas(0.6 + PANEL_INCHES * rows, rows, columns)
    panels = list(grid.flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels[:count]


def mean_lines(lines: Sequence[Array]) -> Array:
    """Mean of curves over their common beginning."""
    length = min(len(line) for line in lines)
    return np.mean([line[:length] for line in lines], axis=0)


def error_bars(points: Iterable[Interval]) -> tuple[Array, Array]:
    """Values, shape (n,), and distances to both ends, shape (2, n), for matplotlib."""
    found = np.array(list(points), dtype=np.float64).reshape(-1, 3)
    below, above = found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]
    return found[:, 0], np.clip(np.nan_to_num(np.stack([below, above])), 0, None)


def legend(figure: Figure, handles: Sequence[Line2D], columns: int = 4) -> None:
    """One legend below the figure: the runs, the null and the printed values."""
    more = [
        Line2D([], [], label=NULL_LABEL, **NULL_LOOK),
        Line2D([], [], label=PRINTED_LABEL, **{**PRINTED_LOOK, "markersize": 5}),
    ]
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=columns)


def span(values: Iterable[int]) -> str:
    """`35`, or `21–35`."""
    found = sorted(set(values))
    return "–".join(str(value) for value in dict.fromkeys([found[0], found[-1]])) if found else "0"
