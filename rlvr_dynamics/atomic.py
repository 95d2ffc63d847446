"""Files and folders that appear whole or not at all: temporary name, fsync, rename."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError, no_room
from rlvr_dynamics.sealed import write_sealed_parquet

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
    """Turn 'no space left on device' (a quota, a limit) into a UserError that names the place."""
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
    return path.parent / f".{path.name}{TEMPORARY_MARK}{uuid.uuid4().hex[:8]}"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` when the block succeeds.

    Args:
        path: The file to publish. An existing file is replaced in one step.

    Raises:
        UserError: The disk is full.
    """
    temporary = _temporary(path)
    try:
        with full_disk_is_a_user_error(path):
            yield temporary
            _fsync(temporary)
            temporary.replace(path)
            _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it becomes `path` when the block succeeds.

    Args:
        path: The folder to publish. An existing one is moved aside first and removed last, so at
            no moment does a half-written folder carry the name.

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
            _fsync(temporary)
            publish_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish_folder(finished: Path, path: Path) -> None:
    """Rename a finished folder onto `path`, replacing what was there."""
    old = _temporary(path)
    if path.exists():
        path.rename(old)
    finished.rename(path)
    _fsync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files and folders that a killed process left under `folder`."""
    for leftover in folder.rglob(f".*{TEMPORARY_MARK}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Publish a UTF-8 text file."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Publish a JSON file with sorted keys, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_parquet(path: Path, table: "pd.DataFrame") -> None:
    """Publish a parquet file without its index, sealed (`rlvr_dynamics.sealed`)."""
    with atomic_path(path) as temporary:
        write_sealed_parquet(temporary, table)
