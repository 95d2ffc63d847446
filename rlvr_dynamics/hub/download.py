"""Files of published checkpoints, several at a time; cut or killed, a file goes on where it ended.

A file grows under `.NAME.part` beside its place and gets its name when its hash is the hub's, so
what carries its name is whole. The hash is formed while the bytes pass.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.http import Hub, Patience, Stopped, Transient
from rlvr_dynamics.hub.published import Pinned, RemoteFile
from rlvr_dynamics.system.atomic import full_disk_is_a_user_error

CONNECTIONS = 4
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


class _Hashes:
    """The hash that the hub gives for a file, formed block by block."""

    def __init__(self, file: RemoteFile) -> None:
        self.expected = file.sha256 or file.blob
        if file.sha256 is not None:
            self._digest = hashlib.sha256()
        else:  # git's name for a blob, which proves a small file
            self._digest = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
        self.update = self._digest.update

    @property
    def right(self) -> bool:
        return self._digest.hexdigest() == self.expected


def is_as_published(job: Job) -> bool:
    """Read a file that was fetched before and compare it with the hub's hash."""
    hashes = _Hashes(job.file)
    with job.target.open("rb") as file:
        while block := file.read(1 << 20):
            hashes.update(block)
    return hashes.right


def download(hub: Hub, jobs: Sequence[Job], advance: Advance) -> Iterator[Job]:
    """Fetch files, the hub's connections at a time, and yield each as it is finished.

    Args:
        hub: Where from.
        jobs: What to fetch; a target that exists is left alone.
        advance: Told the number of bytes that arrived, or fewer when some had to be thrown away.

    Raises:
        UserError: The hub does not deliver, a file has wrong content twice, or the disk is full.
    """
    lock = threading.Lock()

    def count(size: int) -> None:
        with lock:
            advance(size)

    # Flushing to the disk has a thread of its own: no connection waits for it.
    with (
        ThreadPoolExecutor(max_workers=1) as flusher,
        ThreadPoolExecutor(max_workers=hub.connections) as pool,
    ):

        def fetch(job: Job) -> Future[None] | None:
            return flusher.submit(_finish, job) if _fetch(hub, job, count) else None

        running = {pool.submit(fetch, job): job for job in jobs}
        try:
            for done in as_completed(running):
                flushed = done.result()
                if flushed is not None:
                    flushed.result()
                yield running[done]
        except BaseException as error:
            hub.end()
            for future in running:
                future.cancel()
            wait(running)
            if isinstance(error, Stopped):  # of a thread that ended because of another's error
                raise next(_errors(running), error) from None
            raise


def _errors(futures: Iterable[Future[Any]]) -> Iterator[BaseException]:
    for future in futures:
        if future.done() and not future.cancelled():
            error = future.exception()
            if error is not None and not isinstance(error, Stopped):
                yield error


def _fetch(hub: Hub, job: Job, advance: Advance) -> bool:
    """Bring a file here, to its partial name; False when it was finished before."""
    if job.target.exists():
        return False
    job.target.parent.mkdir(parents=True, exist_ok=True)
    with full_disk_is_a_user_error(job.target):
        for _ in range(_FETCHES):
            with job.part.open("a+b", buffering=0) as part:
                if _pull(hub, job, part.fileno(), advance).right:
                    return True
            job.part.unlink()
            advance(-job.file.size)
    raise UserError(
        f"{job.file.name} arrived twice with a content that is not the hub's (its hash differs)",
        where=job.pinned.source,
        way_out="something between here and the hub changes files, or the hub's copy is damaged; "
        "run the same command again to try once more",
    )


def _finish(job: Job) -> None:
    """Give a file its name, after its bytes have reached the disk."""
    with full_disk_is_a_user_error(job.target), job.part.open("rb") as part:
        os.fsync(part.fileno())
        job.part.rename(job.target)


def _pull(hub: Hub, job: Job, part: int, advance: Advance) -> _Hashes:
    """Bring a partial file to its full size; returns the hash of what is there then."""
    hashes, have = _read_back(job, part, advance)
    patience, furthest = Patience(hub.stop), have
    while have < job.file.size:
        try:
            with hub.bytes_from(
                job.pinned.repo, job.pinned.commit, job.pinned.path(job.file), have
            ) as (first, blocks):
                if first != have:  # the server ignores ranges
                    os.ftruncate(part, 0)
                    advance(-have)
                    hashes, have = _Hashes(job.file), 0
                for block in blocks:
                    if hub.stop.is_set():
                        raise Stopped
                    if have + len(block) > job.file.size:
                        raise Transient(f"more bytes than the {job.file.size} of the file")
                    hashes.update(block)
                    _write(part, block)
                    have += len(block)
                    advance(len(block))
                    if have > furthest:  # begun anew without ranges, only new bytes are a success
                        furthest = have
                        patience.succeeded()
            if have < job.file.size:
                raise Transient(f"{have} bytes of {job.file.size}")
        except Transient as reason:
            patience.wait(reason, f"{job.pinned.source}: {job.file.name}")
    return hashes


def _read_back(job: Job, part: int, advance: Advance) -> tuple[_Hashes, int]:
    """Return the hash and size of what an earlier call left."""
    hashes, have = _Hashes(job.file), 0
    if os.fstat(part).st_size > job.file.size:
        os.ftruncate(part, 0)
    while block := os.pread(part, _BLOCK_BYTES, have):
        hashes.update(block)
        have += len(block)
    advance(have)
    return hashes, have


def _write(descriptor: int, block: bytes) -> None:
    # Opened for appending: after a truncation the next byte is the first again.
    done = 0
    while done < len(block):
        done += os.write(descriptor, memoryview(block)[done:])
