"""A file lock for one process at a time, also on disks without locking.

NFS without a lock server and Lustre without its mount option reject `flock`. There a second file,
created exclusively, names the holder, who keeps touching it. A holder that is dead (on this
machine) or has not touched the file for a long time (on another machine) has lost the lock.
"""

import errno
import fcntl
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlvr_dynamics.system.alive import is_alive, own_mark

LOCK = ".lock"
TOUCH_SECONDS = 20.0
SILENT_SECONDS = 180.0
_UNKNOWN = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_PAUSE_SECONDS = 0.05
_SHORT_LOOKS = 20  # `is_held` may hold the lock for a moment; a real holder keeps it longer


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def held(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: The lock file, which is not removed.
        waiting: Called once before waiting for another process that holds the lock.

    Raises:
        Busy: Another process holds it, and `waiting` is None.
        OSError: The file cannot be created.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if _taken(lambda: _flock(handle), waiting):
            yield
            return
    finally:
        os.close(handle)
    with _owned(path.with_name(f"{path.name}.owner"), waiting):
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds a lock now; changes nothing.

    It takes and releases a shared lock, which also detects holders on other nodes of a shared disk.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        owner = path.with_name(f"{path.name}.owner")
        return owner.exists() and not _is_abandoned(owner, _content(owner))
    finally:
        os.close(handle)
    return False


def _taken(take: Callable[[], bool], waiting: Callable[[], None] | None) -> bool:
    """Call `take` until it does not raise Busy, or a few times, and return its result."""
    looks = 0
    while True:
        try:
            return take()
        except Busy:
            looks += 1
            if looks > _SHORT_LOOKS and waiting is None:
                raise
            if looks == _SHORT_LOOKS and waiting is not None:
                waiting()
        time.sleep(_PAUSE_SECONDS)


def _flock(handle: int) -> bool:
    """Take the lock; return False if the disk does not support locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Busy from error
    except OSError as error:
        if error.errno in _UNKNOWN:
            return False
        raise
    return True


@contextmanager
def _owned(owner: Path, waiting: Callable[[], None] | None) -> Iterator[None]:
    mine = f"{socket.gethostname()} {_processes()} {own_mark()} {uuid.uuid4().hex}\n"
    _taken(lambda: _claim(owner, mine), waiting)
    print(
        f"this disk knows no file locks: {owner} keeps other runs away", file=sys.stderr, flush=True
    )
    over = threading.Event()
    toucher = threading.Thread(target=_keep_touching, args=(owner, over), daemon=True)
    toucher.start()
    try:
        yield
    finally:
        over.set()
        toucher.join()
        if _content(owner) == mine:
            owner.unlink(missing_ok=True)


def _claim(owner: Path, mine: str) -> bool:
    try:
        handle = os.open(owner, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        seen = _content(owner)
        if _is_abandoned(owner, seen):
            _remove_abandoned(owner, seen)
        raise Busy from None
    with os.fdopen(handle, "w") as file:
        file.write(mine)
        file.flush()
        os.fsync(handle)
    return True


def _remove_abandoned(owner: Path, seen: str) -> None:
    """Remove the file of a lost holder; of those that see it, one alone may, so no new one goes."""
    sign = owner.with_name(f"{owner.name}.{uuid.uuid5(uuid.NAMESPACE_OID, seen).hex}")
    try:
        os.close(os.open(sign, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        if _is_silent(sign):  # whoever made it was killed in between
            sign.unlink(missing_ok=True)
        return
    try:
        if _content(owner) == seen and _is_abandoned(owner, seen):
            owner.unlink(missing_ok=True)
    finally:
        sign.unlink(missing_ok=True)


def _keep_touching(owner: Path, over: threading.Event) -> None:
    while not over.wait(TOUCH_SECONDS):
        with suppress(OSError):
            os.utime(owner)


def _is_abandoned(owner: Path, content: str) -> bool:
    words = content.split()
    if len(words) == 4 and words[:2] == [socket.gethostname(), _processes()]:
        return not is_alive(words[2])
    return _is_silent(owner)


def _is_silent(owner: Path) -> bool:
    # The disk's clock may differ from ours, so both times are read from the disk.
    probe = owner.with_name(f"{owner.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - owner.stat().st_mtime > SILENT_SECONDS
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()


def _content(owner: Path) -> str:
    try:
        return owner.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _processes() -> str:
    """Return an id of the set of visible processes: those of this machine, or of a container."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "-"
