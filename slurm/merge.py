"""Merges scores, claims and the ledger of a study from all finished cells."""

import io
from pathlib import Path

import pandas as pd

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.published_files import changes
from rlvr_dynamics.run_directory.records import read_record
from rlvr_dynamics.system.atomic import atomic_folder, write_text
from rlvr_dynamics.system.foreign_text import as_csv
from rlvr_dynamics.system.sealed import read_parquet

from .cells import Cell
from .status import Table
from .submission import Submission

MERGED = "merged"
KEYS = ["model", "algorithm", "seed", "cell"]
# In a cell's scores, `model` is the scored checkpoint; here it is the model of the cell.
RENAMED = {"model": "checkpoint"}


def merge(made: Submission, table: Table, runs: Path) -> Path:
    """Atomically publish merged/ with scores, claims, ledger and cells, as parquet and csv.

    Args:
        made: What was submitted.
        table: State of every job; only cells with all jobs done are merged.
        runs: Folder of the runs.

    Returns:
        The folder. `scores` has the columns of a run's scores, with `model` renamed `checkpoint`;
        `claims` has those of a run's claims, every claim once per cell; both start with model,
        algorithm, seed and cell. `ledger` has every claim once, judged over these cells.

    Raises:
        UserError: A table of a finished cell is missing or cannot be read.
    """
    # Imported here, not at the top: status and retry do not need it.
    from rlvr_dynamics.claims.ledger import build_ledger
    from rlvr_dynamics.results.study import load_study

    scores, claims, reported = [], [], []
    for cell in made.cells:
        if any(state.word != "done" for state in table[cell.index].values()):
            continue
        folder = Path(cell.run_dir)
        if "score" in cell.stages:
            scores.append(_read(folder / "scores" / "scores.parquet", cell))
        if "report" in cell.stages:
            claims.append(_read(folder / "report" / "claims.csv", cell))
            reported.append(folder)
    cells = pd.DataFrame(
        [
            {
                **_keys(cell),
                "run_dir": cell.run_dir,
                "state": "done" if _all_done(table, cell) else "open",
                **{job: state.word for job, state in table[cell.index].items()},
            }
            for cell in made.cells
        ]
    )
    with atomic_folder(runs / MERGED) as folder:
        ledger = [build_ledger(load_study(reported))] if reported else []
        tables = {"scores": scores, "claims": claims, "ledger": ledger, "cells": [cells]}
        for name, parts in tables.items():
            joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=KEYS)
            joined.to_parquet(folder / f"{name}.parquet", index=False)
            write_text(folder / f"{name}.csv", as_csv(joined))
    return runs / MERGED


def _all_done(table: Table, cell: Cell) -> bool:
    return all(state.word == "done" for state in table[cell.index].values())


def _keys(cell: Cell) -> dict[str, object]:
    return {
        "model": cell.model,
        "algorithm": cell.algorithm,
        "seed": cell.seed,
        "cell": cell.name,
    }


def _read_csv(path: Path) -> pd.DataFrame:
    data = path.read_bytes()
    if not data.endswith(b"\n"):
        raise ValueError("its last line is not whole")
    return pd.read_csv(io.BytesIO(data))


def _read(path: Path, cell: Cell) -> pd.DataFrame:
    try:
        if path.name in changes(path.parent, read_record(path.parent)).damaged:
            raise ValueError("it is not what its stage wrote")
        table = read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the table of a finished cell cannot be read: {error}",
            where=str(path),
            way_out="run the cell's stage again; it is quick when nothing is missing",
        ) from error
    table = table.drop(columns=["seed"], errors="ignore").rename(columns=RENAMED)
    for place, (key, value) in enumerate(_keys(cell).items()):
        if key in table:
            table = table.drop(columns=[key])
        table.insert(place, key, value)
    return table
