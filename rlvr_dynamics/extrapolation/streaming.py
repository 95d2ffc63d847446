"""Predict many checkpoints in one pass over a window's files, a few tensors at a time.

Each tensor is a separate task on a small thread pool. Checkpoint writers are safe to share: they
write at given positions of open files, their bookkeeping is per tensor, and no tensor is in two
tasks.

Legend: T observed steps, d elements of one tensor.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlvr_dynamics.checkpoints.companions import companions_digest
from rlvr_dynamics.checkpoints.differences import Differences, Room, finite_elements, rooms_for
from rlvr_dynamics.checkpoints.layout import ITEM_BYTES
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.writer import CheckpointWriter
from rlvr_dynamics.dynamics import (
    Changes,
    Rows,
    UpdateBlocks,
    combine_changes,
    prediction_dtype,
    prediction_gram,
)
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation.rule import LowRank, Rule, TensorChanges, Window
from rlvr_dynamics.extrapolation.stored import (
    Prediction,
    made_before,
    prediction_folder,
    remarks_of,
    source_text,
)
from rlvr_dynamics.system.progress import bar
from rlvr_dynamics.system.threads import Memory, one_thread_each

_PIECE = 1 << 16
"""Elements copied or changed at a time."""

_UPDATE_BYTES = 12

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Job:
    """What to predict and from which steps.

    Attributes:
        method: The rule of the method.
        window: The trajectory restricted to the steps that the method may use.
        observe: Last observed step; 0 for a reconstruction, which observes what it rebuilds.
        targets: Step numbers, ascending.
        settings: All parameters of the method.
        reconstruct: Whether targets inside the window keep their observed coefficients.
        accuracy: Accuracy by step number, empty if the method does not need it.
        label: Name to store under.
        times: Optimizer time by step number, empty if the method is on another clock.
    """

    method: Rule
    window: Trajectory
    observe: int
    targets: list[int]
    settings: Mapping[str, Any]
    reconstruct: bool
    accuracy: Mapping[int, float]
    label: str
    times: Mapping[int, float] = field(default_factory=dict)

    @property
    def moved(self) -> int:
        """Number of parameters predicted: of the layers' matrices, if the method uses matrices."""
        if self.method.tensor_changes is None:
            names = (name for name in self.window.names if not self.method.holds(name))
            return sum(self.window.numel(name) for name in names)
        return sum(each.m * each.n for each in self.window.matrices)

    @property
    def source(self) -> str:
        """The text and key that identify a finished prediction."""
        chosen = [each.label for each in self.window.matrices if self.method.tensor_changes]
        return source_text(
            self.label,
            self.method.name,
            self.settings,
            f"steps up to {self.window.steps[-1]}",
            weights=self.window.mark,
            matrices=chosen,
            companions=companions_digest(self.window.folder(0)),
            reconstruct=self.reconstruct,
            accuracy=sorted(self.accuracy.items()),
            **({"times": sorted(self.times.items())} if self.times else {}),
        )


def stream_predictions(
    job: Job, out_root: Path, *, budget_bytes: int, threads: int, show_progress: bool
) -> list[Prediction]:
    """Write the predicted checkpoint of every target; none is published unless all succeed.

    Args:
        job: What to predict.
        out_root: The predictions folder.
        budget_bytes: Memory for the stacks of updates of all threads together.
        threads: Tensors processed at a time.
        show_progress: Whether to show a bar of the bytes read.
    """
    folders = {
        target: prediction_folder(out_root, job.label, job.observe, target)
        for target in job.targets
    }
    source = job.source
    made = {target: made_before(folder, source) for target, folder in folders.items()}
    waiting = [target for target, identity in made.items() if identity is None]
    if waiting:
        job.window.prove_on_reading(threads=threads)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(
                    CheckpointWriter(
                        job.window.folder(0),
                        folders[target],
                        step=target,
                        source=source,
                        dtypes=job.window.dtypes,
                        layout=job.window.template,
                    )
                )
                for target in waiting
            ]
            remarks = _write_all(
                job, np.array(waiting), writers, budget_bytes, threads, show_progress
            )
            job.window.settle()
            for writer in writers:
                writer.source = "; ".join([source, *remarks])
        for target, writer in zip(waiting, writers, strict=True):
            made[target] = writer.manifest["identity"]
    foresees = job.method.uses_future(job.settings)
    return [
        Prediction(
            method=job.label,
            observe=job.observe,
            step=target,
            folder=folders[target],
            identity=str(identity),
            uses_future=foresees or target <= job.window.steps[-1],
            moved=job.moved,
            parameters=job.window.parameters,
            remarks=remarks_of(folders[target]),
        )
        for target, identity in made.items()
    ]


def _write_all(
    job: Job,
    targets: np.ndarray,
    writers: Sequence[CheckpointWriter],
    budget_bytes: int,
    threads: int,
    show_progress: bool,
) -> list[str]:
    """Predict every tensor, largest first, and return the method's remarks."""
    window, budget = job.window, budget_bytes // threads
    names = sorted(window.names, key=lambda name: (-window.numel(name), name))
    tasks = [_Task(job, name, targets, writers, budget) for name in names]
    memory, rooms = Memory(budget_bytes), rooms_for(threads)
    total = sum(task.bytes_to_read for task in tasks)
    lock = threading.Lock()
    with (
        one_thread_each(),
        bar(
            total=total, desc=job.label, unit="B", unit_scale=True, disable=not show_progress
        ) as shown,
        ThreadPoolExecutor(max_workers=threads) as pool,
    ):

        def advance(count: int) -> None:
            with lock:
                shown.update(count)

        def run(task: _Task) -> list[str]:
            room = rooms.get()
            try:
                with memory.hold(task.bytes_held):
                    return task.run(advance, room)
            finally:
                rooms.put(room)

        try:
            found = list(pool.map(run, tasks))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    counts = Counter(remark for remarks in found for remark in sorted(set(remarks)))
    return [f"{remark} ({count} of {len(names)} tensors)" for remark, count in counts.items()]


class _Task:
    """The predictions of one tensor.

    Row weights that do not need the Gram matrix are known before reading, and then only the steps
    with a non-zero weight are read.
    """

    def __init__(
        self,
        job: Job,
        name: str,
        targets: np.ndarray,
        writers: Sequence[CheckpointWriter],
        budget_bytes: int,
    ) -> None:
        self.job, self.name, self.targets, self.writers = job, name, targets, writers
        self.budget_bytes = budget_bytes
        self.remarks: list[str] = []
        self.window, self.weights = job.window, None
        passes = 1
        if job.method.needs_gram(job.settings):
            passes = 2
        elif job.method.row_weights is not None:
            weights = self._row_weights(None)
            used = np.any(weights != 0.0, axis=0)
            self.weights = weights[:, used]
            self.window = job.window.only(np.array(job.window.steps)[used].tolist())
        stored = job.window.numel(name) * ITEM_BYTES[job.window.dtype_of(name)]
        self.bytes_to_read = passes * stored * (len(self.window.steps) + 1)
        # A method that uses matrices needs full updates: stored, in float32, and workspace.
        matrices = job.window.structure.matrices_of(name)
        largest = max((each.m * each.n for each in matrices), default=job.window.numel(name))
        whole = _UPDATE_BYTES * largest if job.method.tensor_changes else 0
        self.bytes_held = whole or min(budget_bytes, self.bytes_to_read)

    def run(self, advance: Advance, room: Room) -> list[str]:
        """Write this tensor of every target and return the method's remarks."""
        left = self.bytes_to_read

        def count(size: int) -> None:
            nonlocal left
            left -= size
            advance(size)

        if self.job.method.tensor_changes is not None:
            self._write_changes(self.job.method.tensor_changes)
        else:
            self._write_combinations(self._differences(count, room))
        advance(left)
        return self.remarks

    def _write_combinations(self, differences: Differences) -> None:
        """Write W_0 + A M; where a row of A selects one step or the base, copy it bit for bit."""
        weights, pieces = self.weights, None
        if weights is None:
            gram, pieces = gram_and_changes(differences, self.budget_bytes)
            weights = self._row_weights(gram)
        held = [held_step(row, self.window.steps) for row in weights]
        for step, writer in zip(held, self.writers, strict=True):
            if step is not None:
                self._copy(step, writer)
        moving = [at for at, step in enumerate(held) if step is None]
        if not moving:
            return
        blocks = UpdateBlocks(differences.T, prediction_dtype(differences.dtype, differences.d))
        for start, changes in differences.changes() if pieces is None else pieces:
            predicted = combine_changes(weights[moving], changes, blocks)
            try:
                for at, values in zip(moving, predicted, strict=True):
                    self.writers[at].write_elements(self.name, start, values)
            except UserError:
                differences.name_non_finite()
                raise

    def _differences(self, advance: Advance | None, room: Room | None = None) -> Differences:
        return Differences(self.window, self.name, self.budget_bytes, on_read=advance, room=room)

    def _row_weights(self, gram: np.ndarray | None) -> np.ndarray:
        job = self.job
        if job.method.row_weights is None:
            raise ValueError(f"{job.method.name} has neither row weights nor tensor changes")
        window = Window(
            np.array(job.window.steps),
            gram,
            tensor=self.name,
            times=job.times,
            remarks=self.remarks,
        )
        return job.method.row_weights(window, self.targets, job.settings, job.reconstruct)

    def _write_changes(self, tensor_changes: TensorChanges) -> None:
        job, name = self.job, self.name
        changes = tensor_changes(
            job.window, name, self.targets, job.settings, job.accuracy, self.remarks
        )
        for change, writer in zip(changes, self.writers, strict=True):
            place = 0
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
            stored = finite_elements(self.job.window, origin, self.name, place, end)
            addition = (part.left[low:high] @ part.right.mT).reshape(-1)
            writer.write_elements(self.name, place, addition.add_(stored))

    def _copy(
        self, step: int, writer: CheckpointWriter, start: int = 0, stop: int | None = None
    ) -> None:
        """Copy elements `start` to `stop` of a saved step, or the base, bit for bit."""
        trajectory = self.job.window
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
    return gram_and_changes(differences, 0)[0]


def gram_and_changes(
    differences: Differences, budget_bytes: int
) -> tuple[np.ndarray, list[tuple[int, Changes]] | None]:
    """Return M Mᵀ of a tensor, and all that changed in it if that fits.

    Args:
        differences: The tensor, or a part of it.
        budget_bytes: Memory for the changes.

    Returns:
        M Mᵀ, shape (T, T), float64, and the pieces of `Differences.changes`; None if they need more
        memory, or change as a whole and are as quickly read again.

    Raises:
        UserError: A weight is NaN or infinite; names the tensor and the step.
    """
    kept: list[tuple[int, Changes]] = []
    room = budget_bytes

    def pieces() -> Iterator[Rows]:
        nonlocal room
        kept.clear()
        for start, changes in differences.changes():
            room = -1 if changes.columns is None else room - changes.nbytes
            if room >= 0:
                kept.append((start, replace(changes, base=changes.base.clone())))
            else:
                kept.clear()
            yield changes.rows

    gram = prediction_gram(pieces, differences.T, differences.dtype, differences.d).numpy()
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
