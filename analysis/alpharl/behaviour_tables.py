"""The tables of a run's stage `behaviour`, read once."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED
from rlvr_dynamics.behaviour.measure import table_path
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import values
from rlvr_dynamics.results.methods import look, method_name
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.schema.tables import BEHAVIOUR
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.system.palette import BLACK, SKY
from rlvr_dynamics.system.sealed import read_parquet

MISSING = "Not measured: it needs the run's command with stages=[behaviour,report]."
LOOKS = {
    TRAINED: (BLACK, "o"),
    **{label: (look(label).colour, look(label).marker) for label in (RANK1, RANDOM)},
    BASE: (SKY, "s"),
}
NAMES = {
    TRAINED: "trained model",
    RANK1: method_name(RANK1),
    RANDOM: method_name(RANDOM),
    BASE: "base",
}


@once_per_run
def behaviour(cell: Cell, name: str) -> pd.DataFrame:
    """Return one of a run's tables; it has no rows if it was not written.

    Raises:
        UserError: The table lacks columns.
    """
    path, columns = _path(cell, name), BEHAVIOUR[name].names
    table = read_parquet(path) if path.is_file() else pd.DataFrame(columns=columns)
    absent = [column for column in columns if column not in table]
    if absent:
        raise UserError(
            f"the table lacks {', '.join(absent)}",
            where=str(path),
            way_out="remove the file and use the run's command with stages=[behaviour,report]",
        )
    return table


def measured(study: Study, name: str) -> list[Cell]:
    """Return the runs that have a table, in the order of the study."""
    return [cell for cell in study.cells if _path(cell, name).is_file()]


def _path(cell: Cell, name: str) -> Path:
    return table_path(cell.results.run_dir / FOLDERS["behaviour"], name)


def lacking(study: Study, cells: Sequence[Cell]) -> str:
    """Return a sentence on which runs are not drawn; empty if all are."""
    names = [cell.name for cell in study.cells if cell not in cells]
    if not names:
        return ""
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f" Not measured for {shown}."


def questions_of(cells: Sequence[Cell]) -> str:
    """Say how many answers are behind a run's numbers, on which benchmark, in which precision."""
    found = set()
    for cell in cells:
        table = behaviour(cell, "summary")
        found |= set(zip(table["answers"], table["benchmark"], table["dtype"], strict=True))
    return "; ".join(f"n = {n} answers, {name}, {dtype}" for n, name, dtype in sorted(found))


def estimates(rows: pd.DataFrame, names: Sequence[str], scale: float = 1) -> list[Interval]:
    """Return values with their intervals, from the columns value, low and high."""
    columns = zip(*(scale * values(rows, name) for name in names), strict=True)
    return [Interval(*row) for row in columns]
