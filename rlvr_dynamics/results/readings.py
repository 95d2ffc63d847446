"""Runs that read the same checkpoints: a training, and its readings in other dtypes."""

from collections.abc import Sequence

from rlvr_dynamics.results.study import Cell


def readings(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Group runs by the weights of their last checkpoint; the run that trained them comes first.

    A reading may leave out steps. A run that has not measured its checkpoints is alone.
    """
    groups: dict[object, list[Cell]] = {}
    for cell in cells:
        table = cell.results.tables["checkpoints"]
        known = None if table is None or not len(table) else table
        last = None if known is None else known.loc[known["step"].idxmax(), "identity"]
        groups.setdefault(last or cell.name, []).append(cell)
    return [sorted(group, key=_reads_others) for group in groups.values()]


def without_repeats(cells: Sequence[Cell]) -> list[Cell]:
    """Leave out further readings of a training: it counts once, where trainings are pooled."""
    again = {cell.name for group in readings(cells) for cell in group[1:] if _reads_others(cell)}
    return [cell for cell in cells if cell.name not in again]


def _reads_others(cell: Cell) -> bool:
    return cell.results.config.source.base is not None
