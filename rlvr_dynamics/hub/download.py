"""Files of published checkpoints, several at a time; cut or killed, a file goes on where it ended.

A file grows under `.NAME.part` next to its place and gets its name when its hash is the hub's, so
what carries its name is whole. What Hugging Face's cache has is taken from there.
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
_FETCHES = 2  # a file of wrong content is fetched once more

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Job:
    """One file to fetch: of which checkpoint, and where it goes."""

    pinned: Pinned
    file: RemoteFile
    target: Path

    @property
    def part(self) -> Path:
        """Where it grows."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def missing_bytes(self) -> int:
        """Bytes that are not on disk yet."""
        if self.target.exists():
            return 0
        have = self.part.stat().st_size if self.part.exists() else 0
        return max(0, self.file.size - have)


def download(hub: Hub, jobs: Iterable[Job], advance: Advance) -> Iterator[Job]:
    """Fetch files, the hub's connections at a time, and yield each as it is finished.

    Args:
        hub: Where from.
        jobs: What to fetch; a target that exists is left alone.
        advance: Called with the number of bytes that arrived; it is negative when some had to be
            thrown away.

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
    """Bring a partial file to its full size; returns whether its hash is right then."""
    digest, have = job.file.digest(), 0
    # Opened for appending: after a truncation the next byte is the first again.
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
    """Give a file its name, after its bytes have reached the disk."""
    with job.part.open("rb") as part:
        os.fsync(part.fileno())
    job.part.replace(job.target)
