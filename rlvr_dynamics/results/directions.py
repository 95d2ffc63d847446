"""The cosines between the updates of a study's runs, where they were computed."""

import pandas as pd

from rlvr_dynamics.results.frames import equal, select
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.schema.tables.directions import DIRECTIONS
from rlvr_dynamics.system.sealed import read_parquet


def directions(study: Study) -> pd.DataFrame | None:
    """Return the rows of `DIRECTIONS` whose two runs are in the study, as they are now.

    The files lie beside the run directories. Rows of a run that was trained again since are left
    out.

    Returns:
        None if there are no such rows.
    """
    cells = {cell.name: cell for cell in study.cells}
    folders = dict.fromkeys(cell.results.run_dir.resolve().parent for cell in study.cells)
    files = [path for path in (folder / DIRECTIONS.file for folder in folders) if path.exists()]
    tables = [read_parquet(path) for path in files]
    if not tables:
        return None
    table = pd.concat(tables, ignore_index=True)
    kept = [
        all(_is_of(cells.get(row[f"run_{run}"]), row[f"identity_{run}"]) for run in "ab")
        for row in table.to_dict("records")
    ]
    return select(table, kept).reset_index(drop=True) if any(kept) else None


def _is_of(cell: Cell | None, identity: str) -> bool:
    """Whether a row is of the weights that a run has now; without a list of them it is taken so."""
    if cell is None:
        return False
    steps = cell.results.tables["checkpoints"]
    if steps is None or "identity" not in steps:
        return True
    return identity in set(equal(steps, step=cell.results.final_step)["identity"])
