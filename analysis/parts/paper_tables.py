"""Shared parts of the papers' tables: printed rows, averages, and our rows below them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.printed import AVERAGE, PROVENANCE
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import Formatter, general, integer, interval, number
from rlvr_dynamics.results.kinds import same_runs
from rlvr_dynamics.results.study import NO_CONTROL, Cell, Study
from rlvr_dynamics.statistics.intervals import Interval

# AlphaRL's six benchmarks as printed, and this package's names for them.
BENCHMARKS = {
    "aime24": "aime24",
    "aime25": "aime25",
    "math500": "math500",
    "minerva": "minerva",
    "gpqa": "gpqa_diamond",
    "gsm8k": "gsm8k",
}
TITLES = {
    "aime24": "AIME24",
    "aime25": "AIME25",
    "math500": "MATH",
    "minerva": "Minerva",
    "gpqa": "GPQA",
    "gsm8k": "GSM8K",
}
METHODS = {
    "early_checkpoint": "checkpoint",
    "alpharl": "AlphaRL",
    "rank1": "rank-1",
    "full_rl": "full RL",
}
OURS = "ours"
NOT_RUN = "ours: no such run"
RUN = ("model", "algorithm", "learning rate", "base seed", "seed")
SPAN = " [95 %]"  # suffix that turns a column's name into that of its interval
SPREAD = " quartiles"


def share_in_percent(value: float) -> str:
    """Format 0.05 as `5 %`."""
    return f"{general(100 * value)} %"


def speed_up(value: float) -> str:
    """Format 2.5 as `2.5 ×`."""
    return f"{general(value)} ×"


def in_percent(value: float) -> str:
    """Format a share in per cent with two decimals and no % sign, as the papers do."""
    return number(100 * float(value), 2)


def signed_points(value: float) -> str:
    """Format a difference in points with its sign."""
    return number(value, 2, signed=True)


RUN_FORMATS: dict[str, Formatter] = {
    "learning rate": general,
    "base seed": integer,
    "seed": integer,
    "share": share_in_percent,
    "speed-up": speed_up,
    "n": integer,
}


def run_columns(cell: Cell) -> dict[str, object]:
    """Return the first columns of a run's rows: model, algorithm, learning rate and seeds."""
    values = (cell.model, cell.algorithm, cell.learning_rate, cell.base_seed, cell.seed)
    return dict(zip(RUN, values, strict=True))


def with_span(
    name: str,
    value: Interval,
    show: Callable[[float, float], str | None] = interval,
    ending: str = SPAN,
) -> dict[str, object]:
    """Return the columns of an estimate and of its 95 % interval as text."""
    return {name: value.value, name + ending: show(value.low, value.high)}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name in the csv file.
        show: Formatter; defaults to that of `RUN_FORMATS`.
        heading: Its heading; defaults to its name.
        interval: Name of the column of its 95 % interval (or, with `SPREAD` at its end, of the
            quartiles over tensors), which follows it; empty for none.
    """

    name: str
    show: Formatter | None = None
    heading: str = ""
    interval: str = ""


def estimate(name: str, show: Formatter, heading: str = "") -> Column:
    """Return a column that is followed by its interval's column, as filled by `with_span`."""
    return Column(name, show, heading, name + SPAN)


def as_table(
    name: str,
    title: str,
    caption: str,
    rows: Iterable[Mapping[str, Any]],
    columns: Iterable[Column | str],
    missing: str = "",
) -> Table:
    """Build a table from rows and columns; without rows it says what is missing."""
    rows = list(rows)
    if not rows:
        return Table(name, title, "", None, missing=missing)
    order: list[str] = []
    formats, headings = dict(RUN_FORMATS), {}
    for each in columns:
        column = Column(each) if isinstance(each, str) else each
        order.append(column.name)
        if column.show is not None:
            formats[column.name] = column.show
        if column.heading:
            headings[column.name] = column.heading
        if column.interval:
            order.append(column.interval)
            headings[column.interval] = (
                SPREAD.strip() if column.interval.endswith(SPREAD) else "95 %"
            )
    return Table(name, title, caption, pd.DataFrame(rows, columns=order), formats, headings)


def with_ours(
    study: Study,
    rows: Iterable[dict[str, Any]],
    ours: Callable[[Cell, dict[str, Any]], Iterable[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Return printed rows, each with ours below; a model without a run ends with one dash.

    Args:
        study: The runs.
        rows: Printed rows with their `model` and `algorithm`, in order.
        ours: Makes our row, from a run of the same model and algorithm and the printed row.
    """
    found: list[dict[str, Any]] = []
    blocks: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        blocks.setdefault((str(row["model"]), str(row["algorithm"])), []).append(row)
    for (model, algorithm), block in blocks.items():
        cells = same_runs(study, model, algorithm)
        for row in block:
            found.append(row)
            found += [own for cell in cells for own in ours(cell, row)]
        if not cells:
            found.append({"model": model, "algorithm": algorithm, "source": NOT_RUN})
    return found


def wide(printed: pd.DataFrame) -> pd.DataFrame:
    """Pivot printed accuracies to one row per model, algorithm, method and share of the training.

    Args:
        printed: Rows of `claims.printed.printed`, `accuracy_pct` on the six benchmarks.

    Returns:
        Columns model, algorithm, method (key of `METHODS`), share, source, the six of `TITLES`
        (shares), `average as printed`, `average` (recomputed from the six, NaN where one is
        missing; shares) and `difference` (printed minus recomputed, in points). In the order in
        which the rows are printed.
    """
    keys = ["base_model", "algorithm", "method", "train_fraction"]
    rows = []
    for (model, algorithm, method, share), group in printed.groupby(keys, sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        values = dict(zip(group["benchmark"], group["value"] / 100, strict=True))
        six = [values.get(name, np.nan) for name in TITLES]
        average = float(np.mean(six))
        as_printed = values.get(AVERAGE, np.nan)
        rows.append(
            {
                "model": model,
                "algorithm": algorithm,
                "method": method,
                "share": share,
                "source": ", ".join(sorted({str(name) for name in group["provenance"]})),
                **dict(zip(TITLES.values(), six, strict=True)),
                "average as printed": as_printed,
                "average": average,
                "difference": 100 * (as_printed - average),
            }
        )
    return pd.DataFrame(rows)


def by_share(rows: pd.DataFrame) -> pd.DataFrame:
    """Sort rows of `wide` by model in the given order, then share, plain checkpoint first."""
    models, methods = list(dict.fromkeys(rows["model"])), list(METHODS)
    places = rows.assign(
        _model=[models.index(name) for name in rows["model"]],
        _method=[methods.index(name) for name in rows["method"]],
    )
    ordered = places.sort_values(["_model", "share", "_method"], kind="stable")
    return ordered.drop(columns=["_model", "_method"]).reset_index(drop=True)


def provenance_note(rows: pd.DataFrame) -> str:
    """Explain the words in the column `source` of printed rows."""
    found = [name for name in PROVENANCE if name in set(rows["source"])]
    return "".join(f" Source {name}: {PROVENANCE[name]}." for name in found)


def for_controls(
    study: Study,
    build: Callable[[Sequence[Cell], str], Sequence[Table]],
    name: str,
) -> list[Table]:
    """Build tables of the trained runs and, under separate names, of the controls, if any.

    Args:
        study: The runs.
        build: Makes the tables from runs and the tables' common prefix.
        name: Prefix of the names of the runs' tables.
    """
    tables = list(build(study.trained, name))
    controls = [cell for cell in study.cells if cell.control != NO_CONTROL]
    if controls:
        kinds = ", ".join(dict.fromkeys(cell.control.replace("_", " ") for cell in controls))
        tables += [
            replace(table, title=f"{table.title}: controls ({kinds})")
            for table in build(controls, f"{name}_controls")
        ]
    return tables
