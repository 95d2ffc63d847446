"""Reads one tensor and publishes its statistics, in one process or from parts of others.

Legend: T observed steps, m x n a weight matrix, k rank, P steps with leading singular triples.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlvr_dynamics.checkpoints.differences import Differences, Room
from rlvr_dynamics.checkpoints.shards import create_shard
from rlvr_dynamics.checkpoints.structure import Matrix
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.writer import put_elements
from rlvr_dynamics.dynamics import (
    UpdateSVD,
    principal_cosines,
    row_combination,
    svd_of_gram,
    update_spectrum,
    update_svd,
)
from rlvr_dynamics.measurement.first_pass import Part, added, first_pass, row_squares, spans_of
from rlvr_dynamics.measurement.kept_updates import KeptUpdates
from rlvr_dynamics.measurement.memory import kept_bytes, share_of
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
        share_of(settings),
        device=device_of(settings),
        on_read=on_read,
        room=room,
    )
    matrices = trajectory.structure.matrices_of(name)
    known = old.updates if old is not None and len(old.updates) == len(matrices) else ()
    steps = _steps_to_decompose(settings, trajectory.steps, known) if matrices else ()
    others = [each for each in trajectory.steps if settings.directions and each not in steps]
    kept = KeptUpdates(
        differences,
        steps,
        kept_bytes(trajectory, name, settings),
        others,
        whole=len(matrices) == 1,
    )
    statistics = old
    if statistics is None or len(statistics.steps) < differences.T:
        spans = spans_of(differences.d)
        made = [each for each in parts if each is not None] or [
            first_pass(differences.within(span) if len(spans) > 1 else differences, old, kept)
            for span in spans
        ]
        statistics = added(made, old)
        for _ in differences.rows() if parts else ():
            pass
    statistics = replace(statistics, updates=())
    if settings.directions:
        _write_direction(differences, kept, statistics.gram, direction)
    if matrices:
        norm = statistics.base_norm if len(matrices) == 1 else None
        updates = _updates(kept, trajectory.steps, matrices, settings, steps, known, norm)
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
    differences = Differences(
        trajectory, name, share_of(settings), device=device_of(settings), span=span
    )
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


def _write_direction(
    differences: Differences, kept: KeptUpdates, gram: np.ndarray, path: Path
) -> None:
    """Publish v1 of the trajectory in the tensor's shape, float32, under the tensor's name."""
    steps = np.array(differences.trajectory.steps)
    weights = svd_of_gram(torch.from_numpy(gram), 1, steps).rows_to_directions
    shapes = {"trajectory_v1": differences.trajectory.shape(differences.name)}
    words = {"seal": UNSEALED}
    with atomic_path(path) as temporary:
        entry = (shard := create_shard(temporary, shapes, words=words)).entries
        with shard.path.open("r+b") as file:
            for piece in kept.pieces() or differences.active_pieces():
                direction = torch.zeros(piece.stop - piece.start)
                moved = row_combination(weights, piece.updates)[0].float().cpu()
                direction[slice(None) if piece.columns is None else piece.columns] = moved
                put_elements(file.fileno(), entry["trajectory_v1"], piece.start, direction)
        seal(temporary)


def _steps_to_decompose(
    settings: MeasureSettings, steps: tuple[int, ...], known: Sequence[UpdateStatistics]
) -> tuple[int, ...]:
    """Return the steps whose triples are not on record, and those whose spectra are asked for."""
    recorded = set(known[0].steps.tolist()) if known else set()
    spectra = evenly_spread(steps, settings.spectrum_steps)
    return tuple(sorted({*update_steps_of(settings, steps)} - recorded | {*spectra}))


def _updates(
    kept: KeptUpdates,
    every: tuple[int, ...],
    matrices: Sequence[Matrix],
    settings: MeasureSettings,
    steps: Sequence[int],
    known: Sequence[UpdateStatistics],
    base_norm: np.ndarray | None,
) -> tuple[UpdateStatistics, ...]:
    """Decompose the updates of a tensor's matrices, all matrices of a step before the next step.

    Args:
        kept: The updates.
        every: All steps.
        matrices: The matrices.
        settings: What is measured.
        steps: The steps to decompose.
        known: What is on record of each matrix, if anything.
        base_norm: ‖W_0‖_F if it is known, of a single matrix.
    """
    wanted = update_steps_of(settings, every)
    spectra = evenly_spread(every, settings.spectrum_steps)
    found = [
        _Decomposed(matrix, settings.top_k, kept, known[place] if known else None)
        for place, matrix in enumerate(matrices)
    ]
    for step in steps:
        for each in found:
            each.take(step, spectrum=step in spectra)
    return tuple(each.statistics(wanted, spectra, base_norm) for each in found)


class _Decomposed:
    """The decomposed updates of one matrix, step after step.

    Args:
        matrix: Where it lies in its tensor.
        top_k: Number of singular triples.
        kept: The tensor's updates.
        old: What is on record.
    """

    def __init__(
        self, matrix: Matrix, top_k: int, kept: KeptUpdates, old: UpdateStatistics | None
    ) -> None:
        self._matrix, self._k, self._kept = matrix, min(top_k, matrix.m, matrix.n), kept
        self._rows: dict[int, list[Any]] = {}
        for place, step in enumerate([] if old is None else old.steps.tolist()):
            self._rows[step] = [getattr(old, field)[place] for field in _ROWS]
        self._start: torch.Tensor | None = None
        self._base: UpdateSVD | None = None
        self._spectrum: list[np.ndarray] = []
        self._cosines: list[list[float]] = []

    def take(self, step: int, *, spectrum: bool) -> None:
        """Decompose the update of the next step."""
        m, n, part = self._matrix.m, self._matrix.n, (self._matrix.start, self._matrix.stop)
        delta = self._kept.update(step, *part).view(m, n)
        found = update_svd(delta, self._k, start=self._start)
        self._start = found.v
        self._rows[step] = [
            found.singular_values.numpy(),
            found.frobenius,
            found.residual,
            METHODS.index(found.method),
            found.u[:, 0].float().numpy(),
        ]
        if not spectrum:
            return
        if self._base is None:
            self._base = update_svd(self._kept.base(*part).view(m, n), self._k)
        self._spectrum.append(update_spectrum(delta).cpu().numpy())
        pairs = ((found.u, self._base.u), (found.v, self._base.v))
        moved = found.frobenius > 0.0
        self._cosines.append(
            [float(principal_cosines(*pair)[0]) if moved else math.nan for pair in pairs]
        )

    def statistics(
        self, wanted: Sequence[int], spectra: Sequence[int], base_norm: np.ndarray | None
    ) -> UpdateStatistics:
        """Return what was found at the wanted steps."""
        rows = [self._rows[step] for step in wanted]
        columns = {field: np.array([row[at] for row in rows]) for at, field in enumerate(_ROWS)}
        if base_norm is None:
            base = self._kept.base(self._matrix.start, self._matrix.stop)
            base_norm = np.array(math.sqrt(float(row_squares(base[None]))))
        return UpdateStatistics(
            steps=np.array(wanted),
            **columns,
            spectrum_steps=np.array(spectra),
            spectrum=np.array(self._spectrum),
            base_cosines=np.array(self._cosines).reshape(-1, 2),
            base_norm=base_norm,
        )
