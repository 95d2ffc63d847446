"""From a trajectory on disk to tidy tables: spectra, coefficients, linearity, ranks, norms."""

import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from rlvr_dynamics.checkpoints.names import module_of
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.measurement.engine import collect_all, measured_names
from rlvr_dynamics.measurement.settings import (
    AccuracySeries,
    MeasureSettings,
    update_steps_of,
)
from rlvr_dynamics.measurement.statistics import file_of, load
from rlvr_dynamics.measurement.trajectory_tables import (
    Table,
    explained_variance_summary,
    exponent_table,
    trajectory_tables,
)
from rlvr_dynamics.measurement.update_tables import update_tables
from rlvr_dynamics.measurement.weight_lines import Courses, courses_of, weight_lines
from rlvr_dynamics.schema.tables import MEASURED, TableFile
from rlvr_dynamics.system.atomic import write_parquet
from rlvr_dynamics.system.progress import bar
from rlvr_dynamics.system.threads import one_thread_each


def measure(
    trajectory: Trajectory,
    settings: MeasureSettings,
    folder: Path,
    *,
    accuracy: AccuracySeries | None = None,
    progress: bool = True,
) -> None:
    """Measure every tensor and write the tables and the leading directions.

    Writes the tables `MEASURED` as parquet; `statistics/`, the statistics of each tensor, from
    which an interrupted or extended measurement resumes; and `directions/`, v1 of each tensor in
    its shape, float32.

    Args:
        trajectory: What to measure.
        settings: How to measure it.
        folder: Where to write the tables; each file is published atomically.
        accuracy: Accuracy of the checkpoints; without it the table `pls` is empty.
        progress: Whether to show progress bars.

    Raises:
        UserError: A shard differs from its manifest, a weight is NaN or infinite (names tensor and
            step), or a step to decompose does not exist.
    """
    update_steps_of(settings, trajectory.steps)
    trajectory.prove_on_reading(threads=settings.threads, show_progress=progress)
    collect_all(trajectory, settings, folder, progress)
    names = measured_names(trajectory)

    structure = trajectory.structure

    def tables_of(name: str) -> tuple[np.ndarray, list[dict[str, Table]], dict[str, Courses]]:
        found = load(file_of(folder / "statistics", name))
        if found is None:
            raise FileNotFoundError(file_of(folder / "statistics", name))
        statistics, dtype = found[0], trajectory.dtype_of(name)
        labels = {"tensor": name, "module": module_of(name), "layer": structure.layer(name)}
        tables = [trajectory_tables(labels, trajectory.numel(name), dtype, statistics, settings)]
        if structure.matrices_of(name):
            tables.append(exponent_table(labels, statistics))
        for matrix, updates in zip(structure.matrices_of(name), statistics.updates, strict=True):
            tables.append(update_tables(labels, matrix, dtype, updates, settings, accuracy))
        courses = courses_of(name, trajectory.numel(name), statistics, settings)
        return statistics.gram, tables, courses

    with one_thread_each(), ThreadPoolExecutor(max_workers=settings.threads) as pool:
        done = pool.map(tables_of, names)
        if progress:
            done = bar(done, total=len(names), desc="nulls", unit="tensor")
        found = dict(zip(names, done, strict=True))
    written = {
        name: _joined(
            (piece.get(name, {}) for _, pieces, _ in found.values() for piece in pieces), table
        )
        for name, table in MEASURED.items()
    }
    written["explained_variance"] = explained_variance_summary(
        {name: gram for name, (gram, _, _) in found.items()},
        {name: trajectory.numel(name) for name in names},
        written["trajectory_svd"],
    )
    written["weight_lines"] = weight_lines(
        [courses for _, _, courses in found.values()],
        len(trajectory.steps) + 1,
        trajectory.dtype,
        settings,
    )
    written["checkpoints"] = _checkpoints(trajectory)
    for name, table in written.items():
        write_parquet(folder / f"{name}.parquet", table)
    _remove_other_tensors(folder, names)


def _joined(pieces: Iterable[Table], table: TableFile) -> pd.DataFrame:
    """Join the pieces of a table; an empty table still has its columns."""
    frames = [pd.DataFrame(piece) for piece in pieces if piece]
    if not frames:
        return pd.DataFrame(columns=table.names)
    return pd.concat(frames, ignore_index=True).reindex(columns=table.names)


def _checkpoints(trajectory: Trajectory) -> pd.DataFrame:
    """Return the identity of every checkpoint and which earlier one it repeats."""
    repeats = {later: earlier for earlier, later in trajectory.repeats}
    steps = (0, *trajectory.steps)
    return pd.DataFrame(
        {
            "step": steps,
            "identity": [trajectory.identities[step] for step in steps],
            "dtype": trajectory.dtype,
            "stored_dtype": trajectory.stored_dtype,
            "repeats": [float(repeats.get(step, float("nan"))) for step in steps],
            "bytes": [trajectory.layout(step).data_bytes for step in steps],
        }
    )


def _remove_other_tensors(folder: Path, names: list[str]) -> None:
    """Remove files of tensors that belong to an earlier model in this folder."""
    for below in ("statistics", "directions"):
        if not (folder / below).is_dir():
            continue
        keep = {file_of(folder / below, name).name for name in names}
        for path in (folder / below).iterdir():
            if path.name not in keep:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
