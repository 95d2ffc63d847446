"""Whose direction an update has: cosines between the updates of runs from one base."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import canvas
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.directions import directions
from rlvr_dynamics.results.formatting import integer, interval, number
from rlvr_dynamics.results.frames import equal, median, median_and_quartiles, numbers, values
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.schema.tables.directions import WINDOWS

from ..parts.paper_tables import Column, as_table
from ..parts.run_groups import row_name, runs_and_seeds

NEEDS = (
    "Not measured: needs `python -m experiments.directions RUN_DIR...` with two runs of one base."
)
LEAST = 0.1
"""A cosine is divided by the ceiling only from this reliability on: below, by mostly noise."""
OUTSIDE = 1.96  # standard deviations: 5 % of independent directions lie beyond


def pairs(study: Study) -> pd.DataFrame:
    """Return one row per pair of runs from one base; empty if none was compared.

    Returns:
        base_seed, a and b (short names), tensors; `update` and `drift`: median cosine over tensors,
        with quartiles in `_low` and `_high`; noise (median over tensors of the standard deviation
        of an independent direction's cosine), beyond (tensors whose update's cosine is farther from
        0 than 1.96 of these); ceiling (median over tensors of the geometric mean of both runs'
        reliability of the drift), corrected (median over tensors of the drift's cosine over that
        ceiling), of (tensors with a reliability of at least `LEAST` in both runs); cells.
    """
    found = directions(study)
    if found is None:
        return pd.DataFrame()
    cells = {cell.name: cell for cell in study.cells}
    order = {name: place for place, name in enumerate(cells)}
    rows = [
        (sorted({*rows["run_a"], *rows["run_b"]}, key=order.__getitem__), rows)
        for _, rows in found.groupby(["run_a", "run_b"], sort=False)
    ]
    rows.sort(key=lambda pair: [order[name] for name in pair[0]])
    return pd.DataFrame([_pair(cells[a], cells[b], table) for (a, b), table in rows])


def _pair(a: Cell, b: Cell, table: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {"base_seed": a.base_seed, "a": row_name(a), "b": row_name(b)}
    row["tensors"] = len(table)
    for window in WINDOWS:
        value, low, high = median_and_quartiles(table, f"{window}_cosine")
        row |= {window: value, f"{window}_low": low, f"{window}_high": high}
    noise = values(table, "noise_sd")
    row["noise"] = float(np.median(noise))
    row["beyond"] = int((np.abs(values(table, "update_cosine")) > OUTSIDE * noise).sum())
    of_a, of_b = (values(table, f"drift_reliability_{run}") for run in "ab")
    ceiling = np.sqrt(of_a * of_b)
    steady = (of_a >= LEAST) & (of_b >= LEAST)
    known = pd.DataFrame({"ceiling": ceiling})
    corrected = pd.DataFrame({"value": values(table, "drift_cosine")[steady] / ceiling[steady]})
    row |= {"ceiling": median(known, "ceiling"), "corrected": median(corrected, "value")}
    return row | {"of": int(steady.sum()), "cells": f"{a.name}, {b.name}"}


def tables(study: Study) -> list[Table]:
    """Build the table of pairs."""
    rows = []
    for row in pairs(study).to_dict("records"):
        spans = {
            f"{window}_quartiles": interval(row[f"{window}_low"], row[f"{window}_high"], 3)
            for window in WINDOWS
        }
        counts = {name: f"{row[name]} of {row['tensors']}" for name in ("beyond", "of")}
        rows.append({**row, **spans, **counts})
    shown = [Column("base_seed", integer, "base seed"), Column("a", None, "run")]
    shown += [Column("b", None, "and run")]
    quartiles = {window: Column(f"{window}_quartiles", None, "quartiles") for window in WINDOWS}
    shown += [Column("update", number, "cosine of updates"), quartiles["update"]]
    shown += [Column("beyond", None, "beyond noise in"), Column("noise", number, "noise ±")]
    shown += [Column("drift", number, "cosine of drifts"), quartiles["drift"]]
    shown += [Column("ceiling", number), Column("corrected", number), Column("of", None, "in")]
    return [
        as_table(
            "directions",
            "Whose direction: updates of runs from one base",
            "Medians over tensors, with quartiles, a spread and no interval. Update: last step "
            "minus base. Drift: last step minus the middle one, the sum of the increments after "
            "the start. Noise: standard deviation of the cosine of independent directions, 1/√d; "
            "beyond: tensors farther from 0 than 1.96 of it. Ceiling: the drift's cosine that two "
            "runs with the same signal and noise of their own would have, the geometric mean of "
            "their reliabilities (the share of the squared length that is not the optimizer's "
            "noise). Corrected: cosine of drifts over the "
            f"ceiling, where both reliabilities are at least {LEAST:g}; the others are left out. "
            "It may exceed 1 by chance.",
            rows,
            [*shown, "cells"],
            NEEDS,
        )
    ]


def draw(study: Study) -> Drawing:
    """Draw a square of cosines for every base."""
    found = pairs(study)
    if not len(found):
        return Drawing(None, missing=NEEDS)
    named = {name for row in found["cells"] for name in row.split(", ")}
    cells = [cell for cell in study.cells if cell.name in named]
    cells.sort(key=lambda cell: (cell.model, str(cell.base_seed)))
    bases = [list(members) for _, members in groupby(cells, key=lambda cell: cell.base)]
    heights = [0.9 + 0.24 * len(members) for members in bases]
    figure, grid = canvas(sum(heights) + 0.3, len(bases), 1, height_ratios=heights)
    shade = Normalize(-1, 1)
    for axes, members in zip(grid.flat, bases, strict=True):
        _square(axes, members, found, shade)
    figure.colorbar(
        ScalarMappable(shade, "RdBu_r"), ax=list(grid.flat), label="cosine", fraction=0.04
    )
    facts = (
        f"{runs_and_seeds(cells)}; {int(numbers(found, 'tensors').max())} tensors; medians over "
        "tensors; below the diagonal: last step minus base; above: last step minus the middle one. "
        f"Independent directions: 0 ± {number(median(found, 'noise'), 4)}. From directions.parquet."
    )
    return Drawing(figure, facts, tuple(cell.name for cell in cells))


def _square(axes: Axes, members: Sequence[Cell], found: pd.DataFrame, shade: Normalize) -> None:
    count = len(members)
    shown = np.full((count, count), np.nan)
    for low in range(count):
        for high in range(low + 1, count):
            rows = equal(found, cells=f"{members[low].name}, {members[high].name}")
            if len(rows):
                shown[high, low], shown[low, high] = median(rows, "update"), median(rows, "drift")
    axes.imshow(shown, cmap="RdBu_r", norm=shade, aspect="auto")
    names = [row_name(cell) for cell in members]
    axes.set_yticks(range(count), names, fontsize=6)
    axes.set_xticks(range(count), names, fontsize=6, rotation=30, ha="right")
    seed = members[0].base_seed
    base = members[0].model if seed is None else f"{members[0].model}, base seed {seed}"
    axes.set_title(base, loc="left", fontsize=7)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for row, line in enumerate(shown):
        for place, value in enumerate(line):
            if row != place:
                colour = "white" if abs(value) > 0.7 else "black"
                axes.text(
                    place, row, number(value, 2), ha="center", va="center", fontsize=6, color=colour
                )


ARTEFACTS: list[Artefact] = [
    Artefact(
        "directions",
        "ours",
        "",
        "Whose direction: cosines between runs from one base",
        "Whether runs with other seeds, algorithms or learning rates move the same way, and "
        "whether a run on meaningless rewards does. Noise alone gives 0; the table has the ceiling "
        "that the runs' own noise leaves.",
        "seeds",
        draw,
    ),
    Artefact(
        "directions_table",
        "ours",
        "",
        "Whose direction, in numbers",
        "Every pair of runs beside the ceiling that their own noise leaves.",
        "seeds",
        tables,
    ),
]
