"""Reads one tensor and publishes its statistics, in one process or from parts of others.

Legend: T observed steps, m x n a weight matrix, k rank, P steps with leading singular triples.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rlvr_dynamics.checkpoints.differences import Differences, Room
from rlvr_dynamics.checkpoints.shards import create_shard
from rlvr_dynamics.checkpoints.structure import Matrix
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.writer import put_elements
from rlvr_dynamics.dynamics import (
    principal_cosines,
    row_combination,
    svd_of_gram,
    update_spectrum,
    update_svd,
)
from rlvr_dynamics.measurement.first_pass import Part, added, first_pass, row_squares, spans_of
from rlvr_dynamics.measurement.settings import MeasureSettings, evenly_spread, update_steps_of
from rlvr_dynamics.measurement.statistics import (
    METHODS,
    TensorStatistics,
    UpdateStatistics,
    file_of,
    is_collected,
    key_of,
    load,
    save,
)
from rlvr_dynamics.system.atomic import atomic_path
from rlvr_dynamics.system.sealed import UNSEALED, seal

_ROWS = ("sigma", "frobenius", "residual", "method", "u1")


def collect_to_file(
    trajectory: Trajectory,
    name: str,
    settings: MeasureSettings,
    folder: Path,
    on_read: Callable[[int], None] | None = None,
    room: Room | None = None,
    parts: Sequence[Part | None] = (),
) -> None:
    """Read one tensor and publish its statistics, and its direction if requested.

    Nothing is read if a file with the same key exists. Gram matrix rows and singular triples are
    reused from a file of a shorter run of the same trajectory.

    Args:
        trajectory: Base and steps.
        name: The tensor.
        settings: What is measured.
        folder: Where to.
        on_read: Called with the number of bytes after every read.
        room: Memory to reuse.
        parts: Of every span of `spans_of`, what `collect_part` returned elsewhere. The tensor is
            then read once more to verify it: a hash is of all its bytes in order.

    Raises:
        UserError: A weight is NaN or infinite.
    """
    path, direction = file_of(folder / "statistics", name), file_of(folder / "directions", name)
    key = key_of(trajectory, name, settings)
    if is_collected(trajectory, name, settings, folder):
        return
    old = _shorter(path, key)
    direction.unlink(missing_ok=True)  # for other steps, or no longer requested
    differences = Differences(
        trajectory,
        name,
        settings.budget_bytes // settings.threads,
        device=device_of(settings),
        on_read=on_read,
        room=room,
    )
    statistics = old
    if statistics is None or len(statistics.steps) < differences.T:
        spans = spans_of(differences.d)
        made = [each for each in parts if each is not None] or [
            first_pass(differences.within(span) if len(spans) > 1 else differences, old)
            for span in spans
        ]
        statistics = added(made, old)
        for _ in differences.rows() if parts else ():
            pass
    statistics = replace(statistics, updates=())
    if settings.directions:
        _write_direction(differences, statistics.gram, direction)
    matrices = trajectory.structure.matrices_of(name)
    if matrices:
        known = old.updates if old is not None and len(old.updates) == len(matrices) else ()
        updates = tuple(
            _updates(
                differences,
                matrix,
                settings,
                known[number] if known else None,
                statistics.base_norm if len(matrices) == 1 else None,
            )
            for number, matrix in enumerate(matrices)
        )
        statistics = replace(statistics, updates=updates)
    trajectory.settle(name)
    save(path, statistics, key)


def collect_part(
    trajectory: Trajectory,
    name: str,
    settings: MeasureSettings,
    folder: Path,
    span: tuple[int, int],
) -> Part | None:
    """Return the sums over a span of a tensor; None if they are on record.

    The values are not verified: a hash is of the whole tensor.

    Raises:
        UserError: A weight is NaN or infinite.
    """
    old = _shorter(file_of(folder / "statistics", name), key_of(trajectory, name, settings))
    if is_collected(trajectory, name, settings, folder) or (
        old is not None and len(old.steps) == len(trajectory.steps)
    ):
        return None
    share = settings.budget_bytes // settings.threads
    differences = Differences(trajectory, name, share, device=device_of(settings), span=span)
    return first_pass(differences, old)


def device_of(settings: MeasureSettings) -> str:
    """Return the device on which updates are computed."""
    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _shorter(path: Path, key: dict[str, str]) -> TensorStatistics | None:
    """Return the statistics in a file if they are of the first steps of the same trajectory."""
    found = load(path)
    return found[0] if found is not None and _is_shorter(found[1], key) else None


def _is_shorter(old: dict[str, str], new: dict[str, str]) -> bool:
    """Whether the old file has the same tensor and a prefix of the new trajectory's steps."""
    if any(old.get(field) != new[field] for field in ("version", "tensor", "dtype", "base")):
        return False
    known, wanted = json.loads(old["steps"]), json.loads(new["steps"])
    top_k = [json.loads(each["settings"])["top_k"] for each in (old, new)]
    return known == wanted[: len(known)] and top_k[0] == top_k[1]


def _write_direction(differences: Differences, gram: np.ndarray, path: Path) -> None:
    """Publish v1 of the trajectory in the tensor's shape, float32, under the tensor's name."""
    steps = np.array(differences.trajectory.steps)
    weights = svd_of_gram(torch.from_numpy(gram), 1, steps).rows_to_directions
    shapes = {"trajectory_v1": differences.trajectory.shape(differences.name)}
    words = {"seal": UNSEALED}
    with atomic_path(path) as temporary:
        entry = (shard := create_shard(temporary, shapes, words=words)).entries
        with shard.path.open("r+b") as file:
            for piece in differences.active_pieces():
                direction = torch.zeros(piece.stop - piece.start)
                moved = row_combination(weights, piece.updates)[0].float().cpu()
                direction[slice(None) if piece.columns is None else piece.columns] = moved
                put_elements(file.fileno(), entry["trajectory_v1"], piece.start, direction)
        seal(temporary)


def _updates(
    differences: Differences,
    matrix: Matrix,
    settings: MeasureSettings,
    old: UpdateStatistics | None,
    base_norm: np.ndarray | None,
) -> UpdateStatistics:
    """Decompose the updates of one matrix; compute its base norm if not given."""
    trajectory, name = differences.trajectory, differences.name
    m, n, part = matrix.m, matrix.n, (matrix.start, matrix.stop)
    k = min(settings.top_k, m, n)
    wanted = update_steps_of(settings, trajectory.steps)
    spectra = evenly_spread(trajectory.steps, settings.spectrum_steps)
    place = {int(step): row for row, step in enumerate(old.steps)} if old is not None else {}
    rows, spectrum, cosines = [], [], []
    base, start = None, None
    for step in sorted({*wanted, *spectra}):
        known = place.get(step)
        if known is not None and old is not None and step not in spectra:
            rows.append([getattr(old, field)[known] for field in _ROWS])
            continue
        delta = differences.part(trajectory.steps.index(step), *part).view(m, n)
        found = update_svd(delta, k, start=start)
        start = found.v
        if step in wanted:
            rows.append(
                [
                    found.singular_values.numpy(),
                    found.frobenius,
                    found.residual,
                    METHODS.index(found.method),
                    found.u[:, 0].float().numpy(),
                ]
            )
        if step in spectra:
            if base is None:
                weights = trajectory.elements(0, name, *part).view(m, n)
                base = update_svd(weights.float().to(delta.device), k)
            spectrum.append(update_spectrum(delta).cpu().numpy())
            pairs = ((found.u, base.u), (found.v, base.v))
            moved = found.frobenius > 0.0
            cosines.append(
                [float(principal_cosines(*pair)[0]) if moved else math.nan for pair in pairs]
            )
    columns = {field: np.array([row[place] for row in rows]) for place, field in enumerate(_ROWS)}
    return UpdateStatistics(
        steps=np.array(wanted),
        **columns,
        spectrum_steps=np.array(spectra),
        spectrum=np.array(spectrum),
        base_cosines=np.array(cosines),
        base_norm=_norm(trajectory.elements(0, name, *part)) if base_norm is None else base_norm,
    )


def _norm(values: torch.Tensor) -> np.ndarray:
    return np.array(math.sqrt(float(row_squares(values.float()[None]))))
