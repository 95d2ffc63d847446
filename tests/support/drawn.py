"""The numbers that a figure draws, read back from its axes; for tests only."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from numpy.typing import NDArray

Array = NDArray[np.float64]


def line(axes: Axes, label: str) -> tuple[Array, Array]:
    """Return the data of the only line with a label."""
    (found,) = [each for each in axes.get_lines() if each.get_label() == label]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def lines(axes: Axes, **look: Any) -> list[Array]:
    """Return points, shape (n, 2), of every line with the given properties, such as `color`."""
    found = []
    for each in axes.get_lines():
        if all(getattr(each, f"get_{name}")() == value for name, value in look.items()):
            found.append(np.asarray(each.get_xydata(), float))
    return found


def estimates(axes: Axes, along: str = "y") -> dict[str, Array]:
    """Return points with intervals by label: columns x, y, low, high; intervals along `along`.

    Containers without a label are keyed by `_` and a number.
    """
    found = {}
    for place, bars in enumerate(axes.containers):
        x, y = (np.asarray(data, float) for data in bars.lines[0].get_data())
        (spans,) = bars.lines[2]
        ends = np.array([segment[:, 1 if along == "y" else 0] for segment in spans.get_segments()])
        label = str(bars.get_label())
        name = f"_{place}" if label.startswith("_") or label in found else label
        found[name] = np.column_stack([x, y, ends.min(axis=1), ends.max(axis=1)])
    return found


def bands(axes: Axes) -> list[dict[float, tuple[float, float]]]:
    """Return lower and upper edge of every shaded band, by x."""
    found = []
    for each in axes.collections:
        if isinstance(each, PolyCollection):
            points = each.get_paths()[0].vertices
            edges: dict[float, list[float]] = {}
            for x, y in points:
                edges.setdefault(round(float(x), 9), []).append(float(y))
            found.append({x: (min(ys), max(ys)) for x, ys in edges.items()})
    return found


def spans(axes: Axes) -> list[Array]:
    """Return the ends, shape (n, 2, 2), of the separate lines of every line collection."""
    return [
        np.array(each.get_segments())
        for each in axes.collections
        if isinstance(each, LineCollection)
    ]


def quartiles(table: Any, by: str, column: str) -> Any:
    """Return quartiles and median of a column (lower, median, upper), grouped by another."""
    groups = table.dropna(subset=[column]).groupby(by)[column]
    return groups.apply(lambda each: np.quantile(each, [0.25, 0.5, 0.75]))
