"""The files read along with a model's weights: config, tokenizer, chat template.

This module alone defines which files these are. They are copied with the weights and are part of
the key of every answer, because each of them can change it. No weight file is opened here.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from rlvr_dynamics.system.copies import copy_file, keep_inside
from rlvr_dynamics.system.sealed import sha256_of

SUFFIXES = frozenset(
    {".json", ".txt", ".model", ".jinja", ".tiktoken", ".py", ".bpe", ".spm", ".vocab"}
)
CARD = "README.md"  # for people: no engine reads it, and it belongs to no hash
FOLDERS = ("additional_chat_templates",)
# Files that trainers and this package write next to weights and that no engine reads.
_NOT_READ = frozenset(
    {"manifest.json", "stage.json", "trainer_state.json"}
    | {f"{part}_results.json" for part in ("all", "train", "eval", "test", "predict")}
)


def companion_files(folder: Path) -> list[str]:
    """Return the companions of a model folder as sorted relative paths.

    Raises:
        UserError: One of them is a link that leaves the folder or is broken.
    """
    return sorted(path.relative_to(folder).as_posix() for path in _found(folder))


def companions_digest(folder: Path) -> str:
    """Return one hash over the names and bytes of all companions of a model folder.

    Raises:
        UserError: One of them is a link that leaves the folder or is broken.
    """
    digest = hashlib.sha256()
    for name in companion_files(folder) if folder.is_dir() else ():
        digest.update(f"{name}:{sha256_of(folder / name)}\n".encode())
    return digest.hexdigest()


def copy_companions(source: Path, target: Path) -> None:
    """Copy config, tokenizer and chat template as files, without weights and manifest.

    Raises:
        UserError: One of them is a link that leaves the folder or is broken.
    """
    for name in companion_files(source):
        (target / name).parent.mkdir(exist_ok=True)
        copy_file(source / name, target / name, source)


def _found(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in FOLDERS and path.is_dir():
            keep_inside(path, folder)
            yield from (file for file in path.iterdir() if _is_companion(file, folder))
        elif _is_companion(path, folder):
            yield path


def _is_companion(path: Path, folder: Path) -> bool:
    name = path.name
    if name.startswith(".") or name in _NOT_READ or name.endswith(".index.json"):
        return False
    if path.suffix not in SUFFIXES or (path.exists() and not path.is_file()):
        return False
    keep_inside(path, folder)
    return True
