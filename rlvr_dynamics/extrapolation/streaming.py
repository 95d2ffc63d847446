"""Predict many checkpoints in one pass over a trajectory's files, a few tensors at a time.

Each tensor is a separate task on a small thread pool. Checkpoint writers are safe to share: they
write at given positions of open files, their bookkeeping is per tensor, and no tensor is in two
tasks.
"""

import resource
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.differences import Room, rooms_for
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.writer import CheckpointWriter
from rlvr_dynamics.extrapolation.job import Job
from rlvr_dynamics.extrapolation.one_tensor import KnownGram, OneTensor, Pass, Planned
from rlvr_dynamics.extrapolation.rule import KnownUpdates
from rlvr_dynamics.extrapolation.stored import (
    Prediction,
    finished,
    made_before,
    prediction_folder,
    remarks_of,
)
from rlvr_dynamics.system.progress import bar
from rlvr_dynamics.system.threads import Memory, one_thread_each

Forecast = tuple[str, int, int]
"""Label, last observed step and target of a prediction."""


@dataclass
class Streamed:
    """What a pass made.

    Attributes:
        predictions: Of each job, by target, ascending.
        errors: Rows of the table `forecast`, one for each tensor, of the predictions that were
            compared with the real checkpoint while they were written.
    """

    predictions: list[list[Prediction]]
    errors: dict[Forecast, list[dict[str, Any]]] = field(default_factory=dict)


def stream_predictions(
    jobs: Sequence[Job],
    trajectory: Trajectory,
    out_root: Path,
    *,
    budget_bytes: int,
    threads: int,
    show_progress: bool,
    compared: bool = False,
    known_gram: KnownGram | None = None,
    known_updates: KnownUpdates | None = None,
) -> Streamed:
    """Write the predicted checkpoints of all jobs; none is published unless all succeed.

    More predictions than files may be open at a time are written in more than one pass.

    Args:
        jobs: What to predict.
        trajectory: Base and steps, of which the jobs' windows are parts.
        out_root: The predictions folder.
        budget_bytes: Memory for the stacks of updates of all threads together.
        threads: Tensors processed at a time.
        show_progress: Whether to show a bar of the bytes read.
        compared: Whether predictions that are row combinations, and whose step was saved, are
            compared with it. Steps after the windows are read then, for nothing else.
        known_gram: Where Gram matrices are on record, if anywhere.
        known_updates: Where singular triples of the updates are.
    """
    planned = [_plan(job, out_root) for job in jobs]
    streamed = Streamed([])
    for batch in _batches([each for each in planned if len(each.waiting)]):
        shared = Pass(trajectory, batch, compared, known_gram, known_updates)
        read = {step for each in batch for step in each.job.window.steps}
        read |= {step for each in batch for step in shared.truths(each)}
        part = trajectory.only(read)
        part.prove_on_reading(threads=threads)
        with ExitStack() as stack:
            for each in batch:
                for target in each.waiting.tolist():
                    each.writers[target] = stack.enter_context(_writer(each, target))
            done = _write_all(shared, budget_bytes, threads, show_progress)
            part.settle()
            for at, each in enumerate(batch):
                remarks = _counted([one.remarks[at] for one in done])
                for writer in each.writers.values():
                    writer.source = "; ".join([each.source, *remarks])
        by_name = {one.name: one for one in done}
        for at, each in enumerate(batch):
            for target in shared.truths(each):
                key = (each.job.label, each.job.observe, target)
                streamed.errors[key] = [
                    by_name[name].errors[at, target].row(trajectory, name)
                    for name in trajectory.names
                ]
        for each in batch:
            each.made |= {step: str(w.manifest["identity"]) for step, w in each.writers.items()}
    streamed.predictions = [_predictions(each) for each in planned]
    return streamed


def _plan(job: Job, out_root: Path) -> Planned:
    folders = {
        target: prediction_folder(out_root, job.label, job.observe, target)
        for target in job.targets
    }
    source = job.source
    found = {target: made_before(folder, source) for target, folder in folders.items()}
    return Planned(job, source, folders, {step: known for step, known in found.items() if known})


def _batches(planned: Sequence[Planned]) -> Iterator[list[Planned]]:
    """Split jobs so that the files they write take at most half of those that may be open."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
    batch: list[Planned] = []
    files = 0
    for each in planned:
        own = len(each.waiting) * len(each.job.window.template.shards)
        if batch and files + own > most:
            yield batch
            batch, files = [], 0
        batch.append(each)
        files += own
    if batch:
        yield batch


def _writer(planned: Planned, target: int) -> CheckpointWriter:
    window = planned.job.window
    return CheckpointWriter(
        window.folder(0),
        planned.folders[target],
        step=target,
        source=planned.source,
        dtypes=window.dtypes,
        layout=window.template,
    )


def _predictions(planned: Planned) -> list[Prediction]:
    job = planned.job
    foresees = job.method.uses_future(job.settings)
    return [
        finished(
            method=job.label,
            observe=job.observe,
            step=target,
            folder=folder,
            identity=planned.made[target],
            uses_future=foresees or target <= job.window.steps[-1],
            moved=job.moved,
            parameters=job.window.parameters,
            remarks=remarks_of(folder),
        )
        for target, folder in planned.folders.items()
    ]


def _write_all(
    shared: Pass, budget_bytes: int, threads: int, show_progress: bool
) -> list[OneTensor]:
    """Predict every tensor, largest first."""
    window, budget = shared.planned[0].job.window, budget_bytes // threads
    names = sorted(window.names, key=lambda name: (-window.numel(name), name))
    tasks = [OneTensor(shared, name, budget) for name in names]
    memory, rooms = Memory(budget_bytes), rooms_for(threads)
    total = sum(task.bytes_to_read for task in tasks)
    labels = {each.job.label for each in shared.planned}
    told = labels.pop() if len(labels) == 1 else f"{len(labels)} methods"
    lock = threading.Lock()
    with (
        one_thread_each(),
        bar(total=total, desc=told, unit="B", unit_scale=True, disable=not show_progress) as shown,
        ThreadPoolExecutor(max_workers=threads) as pool,
    ):

        def advance(count: int) -> None:
            with lock:
                shown.update(count)

        def run(task: OneTensor) -> OneTensor:
            room: Room = rooms.get()
            try:
                with memory.hold(task.bytes_held):
                    return task.run(advance, room)
            finally:
                rooms.put(room)

        try:
            return list(pool.map(run, tasks))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _counted(remarks: Sequence[list[str]]) -> list[str]:
    """Return every remark with the number of tensors that it is about."""
    counts = Counter(remark for found in remarks for remark in sorted(set(found)))
    return [f"{remark} ({count} of {len(remarks)} tensors)" for remark, count in counts.items()]
