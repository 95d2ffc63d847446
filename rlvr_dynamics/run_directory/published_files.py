"""The files that a finished stage published, and which of them have changed since.

Small files are compared by hash whenever a stage is checked for being done. Weights are read only
if their size, times or inode changed, and then compared with their manifest. Without a manifest
they are verified when read.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.companions import CARD
from rlvr_dynamics.checkpoints.file_hashes import mark_of
from rlvr_dynamics.checkpoints.identity import file_is_proved
from rlvr_dynamics.run_directory.records import RECORD
from rlvr_dynamics.system.sealed import hash_of_file, is_whole

WEIGHTS = ".safetensors"
READ_AT_MOST = 8 << 30
"""Most bytes of weights with changed times to read when deciding whether a stage is done."""
# Not read once the stage is finished, or verified when read.
_UNREAD = {"train": ("verl", "incoming"), "measure": ("statistics",)}
_UNREAD_SUFFIXES = (".log",)


@dataclass
class Changes:
    """The files that have changed since they were published.

    Attributes:
        damaged: Files in the stage's folder that are missing or have changed.
        marks: New marks of weights that turned out to be unchanged.
        unread: Bytes of weights with changed times that were not read.
    """

    damaged: list[str] = field(default_factory=list)
    marks: dict[str, list[int]] = field(default_factory=dict)
    unread: int = 0


def take_stock(stage: str, folder: Path, *, streamed: bool = False) -> dict[str, Any]:
    """Return the part of a finished stage's record that describes its files.

    Args:
        stage: The stage's name.
        folder: The folder it published.
        streamed: Whether only a part of its weights is on this disk at a time.
    """
    files: dict[str, str] = {}
    weights: dict[str, list[int]] = {}
    for path in _files(stage, folder):
        name = path.relative_to(folder).as_posix()
        if path.suffix == WEIGHTS:
            if not streamed:
                weights[name] = mark_of(path)
        else:
            files[name] = hash_of_file(path)
    return {"files": files, "weights": weights}


def _files(stage: str, folder: Path) -> Iterator[Path]:
    unread = {folder / name for name in _UNREAD.get(stage, ())}
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [
            each for each in folders if not each.startswith(".") and here / each not in unread
        ]
        for name in sorted(names):
            path = here / name
            hidden = name.startswith(".") or path.suffix in _UNREAD_SUFFIXES or name == CARD
            if not hidden and path != folder / RECORD and path.is_file():
                yield path


def changes(folder: Path, record: Mapping[str, Any]) -> Changes:
    """Compare a finished stage's folder with its record; a record without files always agrees."""
    found = Changes()
    for name, digest in record.get("files", {}).items():
        if not (folder / name).is_file() or hash_of_file(folder / name) != digest:
            found.damaged.append(name)
    other: dict[str, list[int]] = {}
    for name, mark in record.get("weights", {}).items():
        if not (folder / name).is_file():
            found.damaged.append(name)
        elif (now := mark_of(folder / name)) != mark:
            other[name] = now
    size = sum(mark[0] for mark in other.values())
    for name, now in other.items():
        if now[0] != record["weights"][name][0]:
            found.damaged.append(name)
        elif size > READ_AT_MOST:
            found.unread += now[0]
        elif _is_as_published(folder / name):
            found.marks[name] = now
        else:
            found.damaged.append(name)
    return found


def _is_as_published(path: Path) -> bool:
    proved = file_is_proved(path)
    return is_whole(path) if proved is None else proved
