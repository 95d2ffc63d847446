"""Publish files and folders atomically: temporary name, fsync, rename."""

import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError, no_room
from rlvr_dynamics.system.alive import is_alive, own_mark
from rlvr_dynamics.system.locks import LOCK
from rlvr_dynamics.system.sealed import sealed_json, write_sealed_parquet

if TYPE_CHECKING:
    import pandas as pd

TEMPORARY_MARK = ".partial-"


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def full_disk_is_a_user_error(path: Path) -> Iterator[None]:
    """Turn 'no space left on device' (or a quota or limit) into a UserError that names the path."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        told = no_room(error, path)
        if told is not None:
            raise told from error
        raise


def _temporary(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keep the temporary name within the system's limit, however long the name is.
    return path.parent / f".{path.name[:40]}{TEMPORARY_MARK}{own_mark()}-{uuid.uuid4().hex[:8]}"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` when the block succeeds.

    Args:
        path: The file to publish. An existing file is replaced atomically.

    Raises:
        UserError: The disk is full.
    """
    temporary = _temporary(path)
    try:
        with full_disk_is_a_user_error(path):
            yield temporary
            _open_up(temporary)
            _fsync(temporary)
            temporary.replace(path)
            _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; it becomes `path` when the block succeeds.

    Args:
        path: The folder to publish. An existing one is moved aside first and removed last, so the
            name never refers to a half-written folder.

    Raises:
        UserError: The disk is full.
    """
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        with full_disk_is_a_user_error(path):
            yield temporary
            for file in temporary.rglob("*"):
                _fsync(file)
            publish_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish_folder(finished: Path, path: Path) -> None:
    """Rename a finished folder to `path`, replacing any existing one."""
    _fsync(finished)
    _open_up(finished)
    old = _temporary(path)
    if path.is_symlink() or path.exists():
        path.rename(old)
    finished.rename(path)
    _fsync(path.parent)
    _clear(old)


def remove(path: Path) -> None:
    """Remove a file, link or folder; a folder is renamed first, so it never exists in part."""
    if path.is_dir() and not path.is_symlink():
        old = _temporary(path)
        path.rename(old)
        _clear(old)
    else:
        path.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files and folders that a killed process left under `folder`.

    Files of living processes, folders with their own lock (other runs) and targets of links are
    left alone.
    """
    for place, folders, files in os.walk(folder):
        inside = Path(place)
        for name in (*folders, *files):
            before, mark, after = name.partition(TEMPORARY_MARK)
            if mark and before.startswith(".") and not _is_anothers(after):
                _clear(inside / name)
        folders[:] = [
            name
            for name in folders
            if TEMPORARY_MARK not in name and not (inside / name / LOCK).exists()
        ]


def _is_anothers(mark: str) -> bool:
    """Whether a file with this mark is being written by another process."""
    maker = mark.rpartition("-")[0]
    return maker != own_mark() and is_alive(maker)


def _open_up(path: Path) -> None:
    """Set the modes given by the umask on a file, or on a folder and its contents.

    Libraries create temporary files that only their owner can access.
    """
    for each in (path, *(path.rglob("*") if path.is_dir() else ())):
        if not each.is_symlink():
            mode = stat.S_IMODE(each.stat().st_mode)
            wanted = mode | ((0o777 if each.is_dir() else 0o666) & ~_umask())
            if wanted != mode:
                with suppress(PermissionError):  # a hard link to another user's file
                    each.chmod(wanted)


def _umask() -> int:
    # Reading the umask means setting it, for all threads.
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("Umask:")[2].split()[0], 8)
    except (OSError, IndexError, ValueError):
        return 0o077


def write_text(path: Path, text: str) -> None:
    """Publish a UTF-8 text file."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Publish a JSON file with sorted keys, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_sealed_json(path: Path, value: Mapping[str, Any]) -> None:
    """Publish a JSON object with a digest of its content, so that damage is detected."""
    write_json(path, sealed_json(value))


def write_parquet(path: Path, table: "pd.DataFrame") -> None:
    """Publish a table as a sealed parquet file (`system.sealed`), without its index."""
    with atomic_path(path) as temporary:
        write_sealed_parquet(temporary, table)
