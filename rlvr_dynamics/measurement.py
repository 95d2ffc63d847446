"""From a trajectory on disk to tidy tables: spectra, coefficients, linearity, norms.

Each tensor is a task of its own (`measure_tensor`), read once; tasks run on a few threads.

Legend: T observed steps, d elements of one tensor, m x n a weight matrix, k rank.
"""

import math
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rlvr_dynamics.atomic import atomic_path, write_parquet
from rlvr_dynamics.checkpoints.differences import DEFAULT_BUDGET_BYTES, Differences
from rlvr_dynamics.checkpoints.names import layer_of, module_of
from rlvr_dynamics.checkpoints.shards import Shard, create_shard
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.writer import put_elements
from rlvr_dynamics.dynamics import (
    TrajectorySVD,
    accumulate_gram,
    linearity,
    random_walk_null,
    row_combination,
    svd_of_gram,
    update_singular_values,
)
from rlvr_dynamics.dynamics.trajectory_svd import COLUMNS
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation.forecast import forecast_errors
from rlvr_dynamics.progress import bar

__all__ = ["MeasureSettings", "forecast_errors", "measure", "measure_tensor"]

TABLES = ("update_svd", "trajectory_svd", "coefficients", "linearity", "norms")
DIRECTIONS = Path("directions") / "trajectory_v1.safetensors"
COEFFICIENT_INDICES = 3
Table = dict[str, Any]


@dataclass(frozen=True)
class MeasureSettings:
    """What is measured and with how much of the machine.

    Attributes:
        top_k: Singular values kept per tensor.
        update_steps: Steps whose updates are decomposed, or "all".
        draws: Random walks per tensor behind every null.
        seed: Seed of the nulls; each tensor draws its own from it.
        threads: Tensors measured at a time.
        budget_bytes: Memory for the stacks of updates of all threads together.
    """

    top_k: int = 8
    update_steps: tuple[int, ...] | str = "all"
    draws: int = 200
    seed: int = 0
    threads: int = 2
    budget_bytes: int = DEFAULT_BUDGET_BYTES


@contextmanager
def _one_torch_thread_each() -> Iterator[None]:
    """Parallel over tensors, so serial inside them: small matrices gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(
    trajectory: Trajectory, settings: MeasureSettings, folder: Path, progress: bool = True
) -> None:
    """Measure every tensor and write the tables and the leading directions.

    Writes `update_svd`, `trajectory_svd`, `coefficients`, `linearity` and `norms` as parquet, and
    `directions/trajectory_v1.safetensors` with v1 of every tensor in its shape, float32.

    Args:
        trajectory: What to measure.
        settings: How.
        folder: Where the tables go; each file appears whole or not at all.
        progress: Show bars.

    Raises:
        UserError: A shard differs from its manifest, a weight is NaN or infinite (names tensor and
            step), or a step to decompose does not exist.
    """
    positions = _update_positions(trajectory, settings)
    trajectory.verify(threads=settings.threads, show_progress=progress)
    largest_first = sorted(trajectory.names, key=lambda name: (-trajectory.numel(name), name))
    found: dict[str, dict[str, Table]] = {}
    with atomic_path(folder / DIRECTIONS) as path, _one_torch_thread_each():
        shard = create_shard(path, {name: trajectory.shape(name) for name in trajectory.names})
        with ThreadPoolExecutor(max_workers=settings.threads) as pool:
            tasks = pool.map(
                lambda name: measure_tensor(trajectory, name, settings, positions, shard),
                largest_first,
            )
            if progress:
                tasks = bar(tasks, total=len(largest_first), desc="measure", unit="tensor")
            try:
                for name, tables in zip(largest_first, tasks, strict=True):
                    found[name] = tables
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    for table in TABLES:
        pieces = [pd.DataFrame(found[name][table]) for name in trajectory.names]
        write_parquet(folder / f"{table}.parquet", pd.concat(pieces, ignore_index=True))


def _update_positions(trajectory: Trajectory, settings: MeasureSettings) -> list[int]:
    if settings.update_steps == "all":
        return list(range(len(trajectory.steps)))
    positions = []
    for step in settings.update_steps:
        if step not in trajectory.steps:
            raise UserError(
                f"no checkpoint of step {step}, whose update should be decomposed",
                way_out='choose among the saved steps, or "all"',
            )
        positions.append(trajectory.steps.index(int(step)))
    return sorted(set(positions))


def measure_tensor(
    trajectory: Trajectory,
    name: str,
    settings: MeasureSettings,
    positions: Sequence[int],
    directions: Shard | None = None,
) -> dict[str, Table]:
    """Measure one tensor.

    Args:
        trajectory: Where to read.
        name: The tensor.
        settings: How to measure.
        positions: Positions of the steps whose update is decomposed, if it is a block matrix.
        directions: File that receives v1, or None.

    Returns:
        One table (column name to values) for each of `TABLES`.

    Raises:
        UserError: A weight is NaN or infinite.
    """
    differences = Differences(trajectory, name, settings.budget_bytes // settings.threads)
    steps = np.array(trajectory.steps)
    gram, step_norms, base_norm = _first_pass(differences)
    svd = svd_of_gram(gram, settings.top_k, steps)
    if directions is not None:
        _write_direction(differences, svd, directions)
    labels = {"tensor": name, "module": module_of(name), "layer": layer_of(name)}
    update_norms = gram.diagonal().sqrt().numpy()
    tables = {
        "norms": {
            "step": steps,
            **labels,
            "update_norm": update_norms,
            "step_norm": step_norms,
            "base_norm": base_norm,
            "relative_update": update_norms / base_norm if base_norm > 0.0 else math.nan,
        },
        "coefficients": _coefficient_table(steps, svd, labels),
        "update_svd": _update_table(differences, settings.top_k, positions, labels),
    }
    tables.update(_null_tables(trajectory, name, svd, step_norms, settings, labels))
    return tables


def _first_pass(differences: Differences) -> tuple[torch.Tensor, np.ndarray, float]:
    """Return the Gram matrix (T, T), the norms of the T increments, and the base's norm."""
    count = differences.T
    gram = torch.zeros(count, count, dtype=torch.float64)
    squares = torch.zeros(count, dtype=torch.float64)
    base_square = 0.0
    for start, stop, updates in differences.chunks():
        accumulate_gram(gram, updates)
        base = differences.trajectory.elements(0, differences.name, start, stop)
        for low in range(0, stop - start, COLUMNS):
            base_square += float(base[low : low + COLUMNS].double().square().sum())
            # From the increments themselves: out of the Gram matrix they would cancel.
            part = updates[:, low : low + COLUMNS]
            squares[0] += _row_squares(part[:1])[0]
            squares[1:] += _row_squares(part[1:] - part[:-1])
    return gram, squares.sqrt().numpy(), math.sqrt(base_square)


def _row_squares(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).square()


def _write_direction(differences: Differences, svd: TrajectorySVD, directions: Shard) -> None:
    entry = directions.entries[differences.name]
    descriptor = os.open(directions.path, os.O_WRONLY)
    try:
        for start, _, updates in differences.chunks():
            for low in range(0, updates.shape[1], COLUMNS):
                part = updates[:, low : low + COLUMNS]
                direction = row_combination(svd.rows_to_directions[:1], part)[0]
                put_elements(descriptor, entry, start + low, direction.float())
    finally:
        os.close(descriptor)


def _coefficient_table(steps: np.ndarray, svd: TrajectorySVD, labels: Table) -> Table:
    coefficients = svd.coefficients[:, :COEFFICIENT_INDICES]
    count = coefficients.shape[1]
    return {
        **labels,
        "step": np.repeat(steps, count),
        "index": np.tile(np.arange(1, count + 1), len(steps)),
        "coefficient": coefficients.reshape(-1),
    }


def _update_table(
    differences: Differences, top_k: int, positions: Sequence[int], labels: Table
) -> Table:
    trajectory, name = differences.trajectory, differences.name
    if name not in trajectory.block_matrices:
        positions = []
    m, n = trajectory.shape(name) if len(trajectory.shape(name)) == 2 else (0, 0)
    k = min(top_k, m, n)
    sigma, frobenius = np.zeros((len(positions), k)), np.zeros(len(positions))
    size = max(1, (8 << 20) // max(1, 8 * m * n))
    for low in range(0, len(positions), size):
        batch = positions[low : low + size]
        deltas = torch.stack([differences.row(position).view(m, n) for position in batch])
        values, norms = update_singular_values(deltas, k)
        sigma[low : low + size], frobenius[low : low + size] = values.numpy(), norms.numpy()
    norm = np.repeat(frobenius, k)
    with np.errstate(invalid="ignore"):
        share = sigma.reshape(-1) / norm
    return {
        "step": np.repeat(np.array(trajectory.steps)[list(positions)], k),
        **labels,
        "m": m,
        "n": n,
        "index": np.tile(np.arange(1, k + 1), len(positions)),
        "sigma": sigma.reshape(-1),
        "frobenius": norm,
        "norm_share": share,
        "energy_share": share**2,
        "dtype": trajectory.dtype_of(name),
    }


def _null_tables(
    trajectory: Trajectory,
    name: str,
    svd: TrajectorySVD,
    step_norms: np.ndarray,
    settings: MeasureSettings,
    labels: Table,
) -> dict[str, Table]:
    steps, d = np.array(trajectory.steps), trajectory.numel(name)
    seeds = [settings.seed, zlib.crc32(name.encode())]
    null = random_walk_null(steps, step_norms, d, settings.draws, seeds)
    drawn = {"draws": settings.draws, "seed": settings.seed}
    line = linearity(steps, svd.coefficients[:, 0])
    count = len(svd.singular_values)
    explained = _summary(null.explained_variance)
    return {
        "trajectory_svd": {
            **labels,
            "d": d,
            "T": len(steps),
            "index": np.arange(1, count + 1),
            "sigma": svd.singular_values,
            "explained_variance": svd.explained_variance,
            **{
                f"null_{key}": np.where(np.arange(count) == 0, value, np.nan)
                for key, value in explained.items()
            },
            **drawn,
            "dtype": trajectory.dtype_of(name),
        },
        "linearity": {
            **labels,
            "T": len(steps),
            "slope": [float(line.slope)],
            "intercept": float(line.intercept),
            "r2": float(line.r2),
            **{f"r2_null_{key}": value for key, value in _summary(null.r2).items()},
            "heldout_r2": float(line.heldout_r2),
            **{f"heldout_r2_null_{key}": value for key, value in _summary(null.heldout_r2).items()},
            **drawn,
        },
    }


def _summary(sample: np.ndarray) -> dict[str, float]:
    """Return mean and the 2.5 % and 97.5 % quantiles, NaN where the sample is undefined."""
    usable = sample[np.isfinite(sample)]
    if len(usable) == 0:
        return {"mean": math.nan, "low": math.nan, "high": math.nan}
    low, high = np.quantile(usable, [0.025, 0.975])
    return {"mean": float(usable.mean()), "low": float(low), "high": float(high)}
