"""Fetching a published trajectory in place of training: its steps become ordinary checkpoints."""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.download import CONNECTIONS, Job, download
from rlvr_dynamics.hub.http import Hub
from rlvr_dynamics.hub.published import LOCK_FILE, Address, Pinned, pin_all, read_lock
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import Published
from rlvr_dynamics.system.atomic import publish_folder, write_json
from rlvr_dynamics.system.hardware import free_bytes
from rlvr_dynamics.system.progress import bar

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints import Trajectory
    from rlvr_dynamics.measurement import MeasureSettings


def prepare_foreign(run: Run, folder: Path) -> None:
    """Write the benchmarks for somebody else's checkpoints, and fetch the base of published ones.

    Training problems of a published table come too: grids of parameters are chosen on those held
    out. Problems generated for a training here have nothing to do with these checkpoints.

    Raises:
        UserError: A table or the base cannot be had.
    """
    from rlvr_dynamics.benchmarks import LOCK_FILE as TABLES_LOCK
    from rlvr_dynamics.hub.model import LOCK_FILE as MODELS_LOCK
    from rlvr_dynamics.hub.model import fetch_model
    from rlvr_dynamics.hub.tables import (
        print_remarks,
        write_benchmarks,
        write_tables,
    )

    config, lock = run.config, run.folder / TABLES_LOCK
    if config.data.kind == "hub":
        tables = write_tables(config.data, config.benchmark, folder, lock)
    else:
        tables = write_benchmarks(config.benchmark, folder, lock)
    facts: dict[str, Any] = {"tables": tables, "base": str(run.base)}
    if config.model.kind == "hub" and config.source.published is not None:
        model = fetch_model(config.model, folder / "base", run.folder / MODELS_LOCK)
        base = f"{model['repo']} at {model['revision'] or 'local'}"
        stored = write_manifest(folder / "base", 0, base)
        facts |= {"model": model, "base": base}
        facts["base_dtype"] = {"stored": stored["dtype"], "original": stored["dtype"]}
    write_json(folder / "task.json", facts)
    print_remarks(tables)


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

    What an interrupted call fetched is kept, in the middle of a file too.

    Raises:
        UserError: A step is not on the hub, the hub does not deliver, a file is not what the hub
            says it is, or the disk is too small.
    """
    published = run.config.source.published
    if published is None:
        raise ValueError("nothing is published")
    checkpoints = folder / "checkpoints"
    with Hub(connections=CONNECTIONS) as hub:
        pinned = pin_all(hub, addresses(published), run.folder / LOCK_FILE)
        waiting = {
            step: each
            for step, each in pinned.items()
            if not (checkpoints / f"step_{step}").exists()
        }
        if published.stream:
            from rlvr_dynamics.hub.stream import write_headers

            write_headers(hub, waiting, checkpoints)
        else:
            _fetch_steps(hub, waiting, folder / "incoming", checkpoints)


def _fetch_steps(hub: Hub, waiting: dict[int, Pinned], incoming: Path, checkpoints: Path) -> None:
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
    checkpoints.mkdir(parents=True, exist_ok=True)
    with bar(total=total, desc="fetch", unit="B", unit_scale=True) as shown:
        shown.update(sum(job.file.size for job in jobs if job.target.exists()))
        for job in download(hub, jobs, shown.update):
            left[job.target.parent] -= 1
            if not left[job.target.parent]:
                step = step_of[job.target.parent]
                _publish(waiting[step], step, job.target.parent, checkpoints / f"step_{step}")
    shutil.rmtree(incoming, ignore_errors=True)


def _publish(pinned: Pinned, step: int, folder: Path, target: Path) -> None:
    """Turn a fetched folder into a checkpoint, by one rename after all of it is on disk."""
    hashes = {file.name: file.sha256 for file in pinned.files if file.sha256 is not None}
    write_manifest(folder, step, pinned.source, hashes=hashes)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    publish_folder(folder, target)


def collect_streamed(
    run: Run, trajectory: "Trajectory", settings: "MeasureSettings", folder: Path
) -> None:
    """Measure a streamed trajectory's tensors, group by group; `measure` then finds them measured.

    Raises:
        UserError: The hub does not deliver, or the disk does not hold even one tensor of all steps.
    """
    from rlvr_dynamics.hub.stream import collect_by_groups

    published = run.config.source.published
    if published is None:
        raise ValueError("nothing is published")
    with Hub(connections=CONNECTIONS) as hub:
        collect_by_groups(
            hub,
            read_lock(run.folder / LOCK_FILE),
            trajectory,
            settings,
            folder,
            limit_bytes=int(published.stream_gib * 2**30),
        )
