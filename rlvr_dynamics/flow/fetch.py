"""Fetching a published trajectory in place of training: its steps become ordinary checkpoints."""

import shutil
from collections import Counter
from pathlib import Path

from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.checkpoints.published_steps import Deltas, Folders
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.download import Job, download
from rlvr_dynamics.hub.http import Hub
from rlvr_dynamics.hub.lock import STEPS
from rlvr_dynamics.hub.pinned import Address, Pinned
from rlvr_dynamics.hub.published import pin_all
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import Published
from rlvr_dynamics.system.atomic import publish_folder
from rlvr_dynamics.system.hardware import free_bytes
from rlvr_dynamics.system.progress import bar


def addresses(published: Published) -> dict[int, Address]:
    """Return where each step is asked for."""
    found = {}
    for step in published.steps:
        revision = published.revision
        if step == published.steps[-1] and published.final_revision is not None:
            revision = published.final_revision
        repo, revision, folder = (
            text.replace("{step}", str(step))
            for text in (published.repo, revision, published.folder)
        )
        found[step] = Address(repo=repo, revision=revision, folder=folder)
    return found


def fetch(run: Run, folder: Path) -> None:
    """Fetch the steps of a published trajectory, or with `stream` only their headers.

    With `trainer.keep=deltas` each goes into a delta store before the next is fetched.

    What an interrupted call fetched is kept, in the middle of a file too.

    Raises:
        UserError: A step is not on the hub, the hub does not deliver, a file is not what the hub
            says it is, or the disk is too small.
    """
    published = run.config.source.published
    if published is None:
        raise ValueError("nothing is published")
    checkpoints, incoming = folder / "checkpoints", folder / "incoming"
    deltas = run.config.trainer.keep == "deltas" and not published.stream
    kept = Deltas(checkpoints, run.base) if deltas else Folders(checkpoints)
    with Hub() as hub:
        pinned = pin_all(hub, addresses(published), run.folder / STEPS)
        there = {step for step in pinned if kept.place(step).exists()} | set(kept.steps())
        waiting = {step: each for step, each in pinned.items() if step not in there}
        if published.stream:
            from rlvr_dynamics.hub.stream import write_headers

            write_headers(hub, waiting, checkpoints)
        elif deltas:
            for step in sorted(pinned):  # one at a time, so that the disk holds two whole ones
                if step in waiting:
                    _fetch_steps(hub, {step: waiting[step]}, incoming, kept)
                if kept.place(step).exists():
                    kept.take(step)
        else:
            _fetch_steps(hub, waiting, incoming, kept)
    kept.finish()


def _fetch_steps(hub: Hub, waiting: dict[int, Pinned], incoming: Path, kept: Folders) -> None:
    # The commit in the name keeps what was begun of another commit apart.
    places = {step: incoming / f"step_{step}-{each.commit}" for step, each in waiting.items()}
    jobs = [
        Job(each, file, places[step] / file.name)
        for step, each in waiting.items()
        for file in each.files
    ]
    total = sum(each.size for each in waiting.values())
    need, have = sum(job.missing_bytes for job in jobs), free_bytes(incoming)
    if need > have:
        raise UserError(
            f"{len(waiting)} steps need {need:,} bytes more, {have:,} are free",
            where=str(incoming),
            way_out="choose run_dir=... on a larger disk, fewer source.published.steps, or "
            "source.published.stream=true",
        )
    left = Counter(job.target.parent for job in jobs)
    step_of = {place: step for step, place in places.items()}
    with bar(total=total, desc="fetch", unit="B", unit_scale=True) as shown:
        shown.update(sum(job.file.size for job in jobs if job.target.exists()))
        for job in download(hub, jobs, shown.update):
            left[job.target.parent] -= 1
            if not left[job.target.parent]:
                step = step_of[job.target.parent]
                kept.place(step).parent.mkdir(parents=True, exist_ok=True)
                _publish(waiting[step], step, job.target.parent, kept.place(step))
    shutil.rmtree(incoming, ignore_errors=True)


def _publish(pinned: Pinned, step: int, folder: Path, target: Path) -> None:
    """Turn a fetched folder into a checkpoint, by one rename after all of it is on disk."""
    hashes = {file.name: file.sha256 for file in pinned.files if file.sha256 is not None}
    write_manifest(folder, step, pinned.source, hashes=hashes)
    publish_folder(folder, target)
