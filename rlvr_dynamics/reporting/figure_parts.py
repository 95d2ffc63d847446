"""Parts shared by figures: heat map, points over null bands, median over tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.tables import absent
from rlvr_dynamics.results.formatting import module_rank, number, text
from rlvr_dynamics.results.frames import has, highest, known, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.system.palette import BLACK, BLUE, ORANGE, VERMILLION

R2_FLOOR = -1.0


def run_figure(
    name: str,
    title: str,
    look_at: str,
    needs: tuple[str, ...],
    draw: Callable[[Results], Figure | str | None],
    facts: Callable[[Results], str],
) -> Artefact:
    """Describe a figure of a run's report.

    Args:
        name: File name without extension.
        title: Heading on the page.
        look_at: What a reader should look at.
        needs: Tables (names of `schema.tables.TABLES`) that it draws.
        draw: Draws the figure; returns None if the tables hold nothing to draw, or words where it
            would say nothing.
        facts: Returns what n is, for the caption.
    """

    def make(results: Results) -> Drawing:
        drawn, sources = draw(results), ", ".join(TABLES[name].file for name in needs)
        if isinstance(drawn, str):
            return Drawing(None, missing=drawn)
        if drawn is not None:
            origin = f"seed {results.seed}; checkpoints in {text(results.dtype)}; from {sources}"
            return Drawing(drawn, f"{facts(results)}; {origin}")
        if any(results.tables[name] is not None for name in needs):
            missing = f"Not measured: {sources} of this run hold nothing to draw."
            return Drawing(None, missing=missing)
        return Drawing(None, missing=absent(name, title, *needs).missing)

    return Artefact(name, "", "", title, look_at, "", make)


def say_not_measured(axes: Axes) -> None:
    """Write `not measured` in a panel that has nothing to show."""
    axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=VERMILLION)


def heat_map(
    axes: Axes, table: pd.DataFrame, column: str, *, scale: float = 1, digits: int = 1, low: float
) -> Any:
    """Draw a heat map with modules across, layers down, and values printed in the cells.

    Args:
        axes: Where to draw.
        table: One row per tensor, with module and layer.
        column: The values, shown times `scale` with `digits` decimals.
        scale: 100 for per cent.
        digits: Decimals.
        low: Value at the dark end of the colours; the bright end is the highest value.

    Returns:
        The image, for a colour bar.
    """
    shares = known(table, "layer").pivot_table(index="layer", columns="module", values=column)
    shares = shares[sorted(shares.columns, key=module_rank)].sort_index()
    cells = scale * shares.to_numpy(float)
    top = float(np.nanmax(cells))
    image = axes.imshow(cells, aspect="auto", cmap="cividis", vmin=min(low, top), vmax=top)
    for row, line in np.argwhere(np.isfinite(cells)):
        value = cells[row, line]
        colour = "white" if value < low + 0.6 * (top - low) else "black"
        axes.text(
            line, row, number(value, digits), ha="center", va="center", fontsize=7, color=colour
        )
    axes.set_xticks(range(shares.shape[1]), shares.columns)
    axes.set_yticks(range(len(shares)), [str(int(layer)) for layer in shares.index])
    axes.set_ylabel("layer")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return image


def heat_map_inches(table: pd.DataFrame) -> float:
    """Return the height at which a heat map's numbers are legible, in inches."""
    return 0.21 * max(3, len(set(known(table, "layer")["layer"])))


def null_band(
    axes: Axes,
    table: pd.DataFrame | None,
    column: str,
    null: str,
    title: str,
    threshold: float | None = None,
) -> None:
    """Draw every tensor's value, sorted, over the 95 % band of its own null.

    Args:
        axes: Where to draw.
        table: One row per tensor, or None.
        column: The values; those below `R2_FLOOR` are drawn at it and counted in the title.
        null: Prefix of the null's columns `_low`, `_mean`, `_high`; no band if they are absent.
        title: Title of the panel; two lines leave room for the note.
        threshold: Height of a dotted line, or None.
    """
    axes.set_title(title, loc="left", fontsize=7.5)
    axes.set_xlabel("tensors, sorted")
    axes.set_xticks([])
    if table is None or not has(table, column):
        say_not_measured(axes)
        return
    rows = known(table, column).sort_values([column, "tensor"])
    position = np.arange(len(rows))
    bounds = [f"{null}_low", f"{null}_high", f"{null}_mean"]
    if has(rows, *bounds):
        low, high, mean = (values(rows, name).clip(min=R2_FLOOR) for name in bounds)
        width = min(5.0, max(0.6, 110 / len(rows)))
        axes.vlines(
            position, low, high, color=ORANGE, alpha=0.4, linewidth=width, label="null, 95 % band"
        )
        axes.plot(position, mean, "_", color=ORANGE, markersize=width + 1, label="null, mean")
    found = values(rows, column)
    axes.plot(position, found.clip(min=R2_FLOOR), ".", color=BLUE, markersize=3, label="this run")
    if threshold is not None:
        axes.axhline(
            threshold, color=BLACK, linewidth=0.7, linestyle=":", label="threshold of the claim"
        )
    below = int((found < R2_FLOOR).sum())
    if below:
        mark_break(axes, R2_FLOOR)
        note = f"({below} below {number(R2_FLOOR, 0)}, drawn there)"
        axes.set_title(f"{title.rstrip()}\n{note}", loc="left", fontsize=7)
    axes.set_ylim(top=1.03)


def mark_break(axes: Axes, at: float, along: str = "y") -> None:
    """Mark where an axis ends though values go on, or where its scale becomes logarithmic.

    Args:
        axes: Where to draw.
        at: Place on the axis.
        along: The axis, `x` or `y`.
    """
    place, transform = (0, at), axes.get_yaxis_transform()
    if along == "x":
        place, transform = (at, 0), axes.get_xaxis_transform()
    axes.text(
        *place,
        "≈",
        transform=transform,
        rotation=90 if along == "x" else 0,
        ha="center",
        va="center",
        fontsize=11,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0},  # interrupts the axis
    )


def quartile_line(
    axes: Axes, table: pd.DataFrame, x: str, y: str, colour: str, label: str, marker: str = ""
) -> None:
    """Draw the median over tensors at every `x`, with a band from lower to upper quartile."""
    if not has(table, y):
        return
    groups = known(table, y).groupby(x)[y]
    quartiles = pd.DataFrame({share: groups.quantile(share) for share in (0.25, 0.5, 0.75)})
    axes.fill_between(
        quartiles.index, quartiles[0.25], quartiles[0.75], color=colour, alpha=0.18, linewidth=0
    )
    axes.plot(
        quartiles.index, quartiles[0.5], color=colour, label=label, marker=marker, markersize=3
    )


def shared_legend(figure: Any, panels: Any, columns: int) -> None:
    """Draw one legend below the figure, with every label once."""
    labels: dict[str, Any] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        labels.update(zip(names, handles, strict=True))
    if labels:
        figure.legend(
            list(labels.values()), list(labels), loc="outside lower center", ncols=columns
        )


@dataclass(frozen=True)
class TensorFacts:
    """The n of figures over tensors, with the number of null draws.

    Attributes:
        table: The drawn table.
        null: What the null's draws are.
    """

    table: str
    null: str = "random walks"

    def __call__(self, results: Results) -> str:
        """Return the facts as text, for a caption."""
        table = results.tables[self.table]
        if table is None:
            return "n not measured"
        facts = f"n = {len(set(table['tensor']))} tensors"
        if "T" in table:
            facts += f", {highest(table, 'T')} steps"
        if has(table, "draws"):
            facts += f", {highest(table, 'draws')} {self.null} per null"
        return facts
