"""Downloads files of published checkpoints in parallel and resumes after an interruption.

A file is written to `.NAME.part` next to its target and renamed once its hash equals the hub's, so
a file with its final name is complete. Files in Hugging Face's cache are taken from there.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub import cache
from rlvr_dynamics.hub.http import Hub
from rlvr_dynamics.hub.pinned import Pinned, RemoteFile
from rlvr_dynamics.system.atomic import full_disk_is_a_user_error

_BLOCK_BYTES = 1 << 20
_FETCHES = 2  # a file with wrong content is fetched once more

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Job:
    """One file to fetch: its checkpoint and its target path."""

    pinned: Pinned
    file: RemoteFile
    target: Path

    @property
    def part(self) -> Path:
        """Path of the partial file."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def missing_bytes(self) -> int:
        """Number of bytes not on disk yet."""
        if self.target.exists():
            return 0
        have = self.part.stat().st_size if self.part.exists() else 0
        return max(0, self.file.size - have)


def download(hub: Hub, jobs: Iterable[Job], advance: Advance) -> Iterator[Job]:
    """Fetch files in parallel, one per hub connection, and yield each when it is finished.

    Args:
        hub: The hub.
        jobs: Files to fetch; existing targets are not touched.
        advance: Called with the number of bytes received; negative when bytes are discarded.

    Raises:
        UserError: The hub does not deliver, a file has wrong content twice, or the disk is full.
    """
    lock = threading.Lock()

    def count(size: int) -> None:
        with lock:
            advance(size)

    def fetch(job: Job) -> Job:
        if not job.target.exists():
            with full_disk_is_a_user_error(job.target):
                _fetch(hub, job, count)
        return job

    yield from hub.in_parallel(fetch, jobs)


def _fetch(hub: Hub, job: Job, advance: Advance) -> None:
    job.target.parent.mkdir(parents=True, exist_ok=True)
    cached = None if job.part.exists() else cache.find(job.pinned, job.file)
    if cached is not None:
        cache.link_or_copy(cached, job.part)
        advance(job.file.size)
        return _finish(job)
    for _ in range(_FETCHES):
        if _pull(hub, job, advance):
            return _finish(job)
        job.part.unlink()
        advance(-job.file.size)
    raise UserError(
        f"{job.file.name} arrived twice with a content that is not the hub's (its hash differs)",
        where=job.pinned.source,
        way_out="something between here and the hub changes files, or the hub's copy is damaged; "
        "run the same command again to try once more",
    )


def _pull(hub: Hub, job: Job, advance: Advance) -> bool:
    """Complete a partial file and return whether its hash is right."""
    digest, have = job.file.digest(), 0
    # Append mode: after a truncation, writing starts at the beginning again.
    with job.part.open("a+b") as part:
        if os.fstat(part.fileno()).st_size > job.file.size:
            part.truncate(0)
        part.seek(0)
        while block := part.read(_BLOCK_BYTES):
            digest.update(block)
            have += len(block)
        advance(have)
        for block in hub.blocks(job.pinned, job.file, have, job.file.size):
            digest.update(block)
            part.write(block)
            advance(len(block))
    return digest.hexdigest() == job.file.hash


def _finish(job: Job) -> None:
    """Rename a file to its target once its bytes are on the disk."""
    with job.part.open("rb") as part:
        os.fsync(part.fileno())
    job.part.replace(job.target)
