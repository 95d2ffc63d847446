"""The predictions of one tensor by several methods, from one reading of its window.

A method that needs the Gram matrix knows its row weights only after all steps were read. What
changed is kept for the predictions where the memory allows it, and is read once more where not.

Legend: T steps that are read, c elements of a piece, n columns of it that some step changed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from rlvr_dynamics.checkpoints.differences import Differences, Room, finite_elements
from rlvr_dynamics.checkpoints.layout import ITEM_BYTES
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.writer import CheckpointWriter
from rlvr_dynamics.dynamics import (
    Changes,
    Rows,
    UpdateBlocks,
    combine_stored,
    gram_of_stored,
    prediction_dtype,
)
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation.forecast_sums import ForecastSums
from rlvr_dynamics.extrapolation.job import Job
from rlvr_dynamics.extrapolation.rule import KnownUpdates, LowRank, TensorChanges, Window

_PIECE = 1 << 16
"""Elements copied or changed at a time."""

_UPDATE_BYTES = 12

Advance = Callable[[int], None]
KnownGram = Callable[[str, Sequence[int]], np.ndarray | None]
"""Function of (tensor, steps) that returns M Mᵀ of these steps, float64, if it is on record."""


@dataclass
class Planned:
    """The predictions of a job.

    Attributes:
        job: What is predicted.
        source: Its text and key, from before anything was read.
        folders: Where to, by target.
        made: Identity of those that are there, by target.
        writers: One for each of the others, while they are written.
    """

    job: Job
    source: str
    folders: dict[int, Path]
    made: dict[int, str]
    writers: dict[int, CheckpointWriter] = field(default_factory=dict)

    @property
    def waiting(self) -> np.ndarray:
        """The targets that are still to be made, ascending."""
        return np.array([target for target in self.folders if target not in self.made])


@dataclass(frozen=True)
class Pass:
    """What all tensors of one pass share.

    Attributes:
        trajectory: Base and all steps.
        planned: The jobs, each with targets to be made.
        compared: Whether predictions of saved steps are compared with them.
        known_gram: Where Gram matrices are on record, if anywhere.
        known_updates: Where singular triples of the updates are.
    """

    trajectory: Trajectory
    planned: Sequence[Planned]
    compared: bool = False
    known_gram: KnownGram | None = None
    known_updates: KnownUpdates | None = None

    def truths(self, planned: Planned) -> list[int]:
        """Return the targets of a job whose predictions are compared in this pass."""
        if not self.compared or planned.job.method.tensor_changes is not None:
            return []
        return [step for step in planned.waiting.tolist() if step in self.trajectory.steps]


@dataclass
class _Output:
    """One prediction: row `row` of the moving ones, or the bits of a stored row."""

    writer: CheckpointWriter
    row: int | None
    held: int | None
    observe: int
    target: int
    sums: ForecastSums | None


class OneTensor:
    """The predictions of one tensor.

    Attributes:
        remarks: What the methods recorded, by the job's position in the pass.
        errors: Errors of the forecasts, by the job's position in the pass and target.
    """

    def __init__(self, shared: Pass, name: str, budget_bytes: int) -> None:
        """Find out what must be read; row weights without a Gram matrix need only some steps."""
        self.shared, self.name, self.budget_bytes = shared, name, budget_bytes
        self.remarks: dict[int, list[str]] = {at: [] for at, _ in enumerate(shared.planned)}
        self.errors: dict[tuple[int, int], ForecastSums] = {}
        self._weights: dict[int, np.ndarray] = {}
        jobs = dict(enumerate(each.job for each in shared.planned))
        rows = [at for at, job in jobs.items() if job.method.tensor_changes is None]
        self._pending = [at for at in rows if jobs[at].method.needs_gram(jobs[at].settings)]
        for at in set(rows) - set(self._pending):
            self._weigh(at, None, ())
        self.steps = self._steps()
        d, dtype = shared.trajectory.numel(name), shared.trajectory.dtype_of(name)
        whole = {step for at in jobs.keys() - set(rows) for step in jobs[at].window.steps}
        read = {*self.steps, *whole}
        stored = d * ITEM_BYTES[dtype] * (len(read) + 1)
        self.bytes_to_read = (2 if self._pending else 1) * stored
        # A method that uses matrices needs full updates: stored, in float32, and workspace.
        matrices = shared.trajectory.structure.matrices_of(name)
        largest = max((each.m * each.n for each in matrices), default=d)
        updates = _UPDATE_BYTES * largest if whole else 0
        self.bytes_held = max(updates, min(budget_bytes, self.bytes_to_read))
        self.bytes_held += shared.trajectory.reading_bytes(read)

    def run(self, advance: Advance, room: Room) -> "OneTensor":
        """Write this tensor of every target."""
        left = self.bytes_to_read

        def count(size: int) -> None:
            nonlocal left
            left -= size
            advance(size)

        if self._pending or self._weights:
            self._recall()
            window = self.shared.trajectory.only(self.steps)
            self._write_combinations(
                Differences(window, self.name, self.budget_bytes, on_read=count, room=room)
            )
        for at, planned in enumerate(self.shared.planned):
            if planned.job.method.tensor_changes is not None:
                self._write_changes(planned, planned.job.method.tensor_changes, self.remarks[at])
        advance(left)
        return self

    def _steps(self) -> tuple[int, ...]:
        """Return the steps to read: those with a weight, of whole windows, and to compare with."""
        found: set[int] = set()
        for at in (*self._pending, *self._weights):
            planned = self.shared.planned[at]
            steps = np.array(planned.job.window.steps)
            if at in self._weights:
                steps = steps[np.any(self._weights[at] != 0.0, axis=0)]
            truths = self.shared.truths(planned)
            found.update(steps.tolist(), truths, [planned.job.observe] if truths else [])
        return tuple(sorted(found - {0}))

    def _observed(self) -> list[int]:
        """Return the steps of which M Mᵀ is needed, ascending."""
        windows = [self.shared.planned[at].job.window.steps for at in self._pending]
        return sorted({step for window in windows for step in window})

    def _recall(self) -> None:
        """Find the row weights from a Gram matrix on record, if there is one."""
        if not self._pending or self.shared.known_gram is None:
            return
        steps = self._observed()
        gram = self.shared.known_gram(self.name, steps)
        if gram is not None:
            for at in self._pending:
                self._weigh(at, gram, steps)
            self._pending = []
            self.steps = self._steps()

    def _weigh(self, at: int, gram: np.ndarray | None, steps: Sequence[int]) -> None:
        """Ask a method for its row weights, given M Mᵀ of some steps that hold its window's."""
        job = self.shared.planned[at].job
        if job.method.row_weights is None:
            raise ValueError(f"{job.method.name} has neither row weights nor tensor changes")
        if gram is not None:
            own = np.searchsorted(steps, job.window.steps)
            gram = np.ascontiguousarray(gram[np.ix_(own, own)])
        window = Window(
            np.array(job.window.steps),
            gram,
            tensor=self.name,
            times=job.times,
            remarks=self.remarks[at],
        )
        targets = self.shared.planned[at].waiting
        self._weights[at] = job.method.row_weights(window, targets, job.settings, job.reconstruct)

    def _write_combinations(self, differences: Differences) -> None:
        """Write W_0 + A M; where a row of A selects one step or the base, copy it bit for bit."""
        pieces: Iterable[tuple[int, Changes]] | None = None
        if self._pending:
            steps = self._observed()
            gram, pieces = gram_and_changes(differences, self.budget_bytes, steps)
            for at in self._pending:
                self._weigh(at, gram, steps)
        outputs, moving = self._outputs()
        blocks = UpdateBlocks(differences.T, prediction_dtype(differences.dtype, differences.d))
        try:
            for start, changes in differences.changes() if pieces is None else pieces:
                self._write_piece(start, changes, outputs, moving, blocks)
        except UserError:
            differences.name_non_finite()
            raise
        if not all(output.sums is None or output.sums.finite for output in outputs):
            differences.name_non_finite()

    def _outputs(self) -> tuple[list[_Output], np.ndarray]:
        """Return the predictions and the row weights of those that move, over the steps read."""
        outputs: list[_Output] = []
        moving: list[np.ndarray] = []
        for at, weights in sorted(self._weights.items()):
            planned = self.shared.planned[at]
            steps, truths = planned.job.window.steps, self.shared.truths(planned)
            for row, target in zip(weights, planned.waiting.tolist(), strict=True):
                step, sums = held_step(row, steps), None
                if target in truths:
                    sums = self.errors[at, target] = ForecastSums()
                held = None if step is None else self._place(step)
                place = len(moving) if step is None else None
                if step is None:
                    wide, used = np.zeros(len(self.steps)), np.flatnonzero(row)
                    wide[np.searchsorted(self.steps, np.array(steps)[used])] = row[used]
                    moving.append(wide)
                writer, observe = planned.writers[target], planned.job.observe
                outputs.append(_Output(writer, place, held, observe, target, sums))
        return outputs, np.array(moving)

    def _place(self, step: int) -> int:
        """Return the row of a step, or of the base, among those that are read."""
        return 0 if step == 0 else 1 + self.steps.index(step)

    def _write_piece(
        self,
        start: int,
        changes: Changes,
        outputs: Sequence[_Output],
        moving: np.ndarray,
        blocks: UpdateBlocks,
    ) -> None:
        wide: dict[int, Tensor] = {}

        def real(step: int) -> Tensor:
            if step not in wide:
                wide[step] = changes.rows[self._place(step)].double()
            return wide[step]

        found = combine_stored(moving, changes.rows, blocks) if len(moving) else None
        for output in outputs:
            if output.held is not None or found is None:
                values = changes.rows[output.held or 0]
            else:
                values = found[output.row].to(changes.base.dtype)
            output.writer.write_elements(self.name, start, changes.spread(values))
            if output.sums is not None:
                held, true = real(output.observe), real(output.target)
                output.sums.add(real(0), held, true, values.double())

    def _write_changes(
        self, planned: Planned, tensor_changes: TensorChanges, remarks: list[str]
    ) -> None:
        job, name, targets = planned.job, self.name, planned.waiting
        known = self.shared.known_updates
        changes = tensor_changes(
            job.window, name, targets, job.settings, job.accuracy, remarks, known
        )
        for target, change in zip(targets.tolist(), changes, strict=True):
            writer, place = planned.writers[target], 0
            for part in change.parts:
                self._copy(change.origin, writer, place, part.start)
                self._write_part(change.origin, part, writer)
                place = part.stop
            self._copy(change.origin, writer, place)

    def _write_part(self, origin: int, part: LowRank, writer: CheckpointWriter) -> None:
        m, n = len(part.left), len(part.right)
        rows = max(1, _PIECE // n)
        for low in range(0, m, rows):
            high = min(m, low + rows)
            place = part.start + low * n
            end = part.start + high * n
            stored = finite_elements(self.shared.trajectory, origin, self.name, place, end)
            addition = (part.left[low:high] @ part.right.mT).reshape(-1)
            writer.write_elements(self.name, place, addition.add_(stored))

    def _copy(
        self, step: int, writer: CheckpointWriter, start: int = 0, stop: int | None = None
    ) -> None:
        """Copy elements `start` to `stop` of a saved step, or the base, bit for bit."""
        trajectory = self.shared.trajectory
        d = trajectory.numel(self.name) if stop is None else stop
        for low in range(start, d, _PIECE):
            high = min(d, low + _PIECE)
            writer.write_elements(
                self.name, low, finite_elements(trajectory, step, self.name, low, high)
            )


def gram_of(differences: Differences) -> np.ndarray:
    """Return M Mᵀ of a tensor, or of the part of it that is read, shape (T, T), float64.

    Raises:
        UserError: A weight is NaN or infinite; names the tensor and the step.
    """
    return gram_and_changes(differences, 0, differences.trajectory.steps)[0]


def gram_and_changes(
    differences: Differences, budget_bytes: int, steps: Sequence[int]
) -> tuple[np.ndarray, list[tuple[int, Changes]] | None]:
    """Return M Mᵀ of some steps of a tensor, and all that changed in it if that fits.

    Args:
        differences: The tensor, or a part of it.
        budget_bytes: Memory for the changes.
        steps: Steps of the Gram matrix, ascending.

    Returns:
        M Mᵀ, shape (T, T), float64, and the pieces of `Differences.changes`; None if they need more
        memory, or change as a whole and are as quickly read again.

    Raises:
        UserError: A weight is NaN or infinite; names the tensor and the step.
    """
    kept: list[tuple[int, Changes]] = []
    room, every = budget_bytes, differences.trajectory.steps
    chosen = [0, *(1 + every.index(step) for step in steps)]

    def pieces() -> Iterator[Rows]:
        nonlocal room
        for start, changes in differences.changes():
            room = -1 if changes.columns is None else room - changes.nbytes
            if room >= 0:
                kept.append((start, replace(changes, base=changes.base.clone())))
            else:
                kept.clear()
            yield [changes.rows[row] for row in chosen]

    gram = gram_of_stored(pieces(), len(steps)).numpy()
    if not np.isfinite(gram.diagonal()).all():
        differences.name_non_finite()
    return gram, kept if room >= 0 else None


def held_step(row: np.ndarray, steps: Sequence[int]) -> int | None:
    """Return the single step that a row of weights selects, 0 for the base, or None."""
    nonzero: Sequence[int] = np.flatnonzero(row).tolist()
    if not nonzero:
        return 0
    if len(nonzero) == 1 and row[nonzero[0]] == 1.0:
        return steps[nonzero[0]]
    return None
