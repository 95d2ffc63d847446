"""What lies beside a model's weights and is read with them: config, tokenizer, chat template.

One place says which files these are: they are copied with the weights, and they belong to the key
of every answer, because each of them can change it. Nothing here opens a weight file.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from rlvr_dynamics.system.copies import copy_file, keep_inside
from rlvr_dynamics.system.sealed import sha256_of

SUFFIXES = frozenset(
    {".json", ".txt", ".model", ".jinja", ".tiktoken", ".py", ".bpe", ".spm", ".vocab"}
)
FOLDERS = ("additional_chat_templates",)
# Written beside weights by trainers and by this package, and read by no engine.
_NOT_READ = frozenset(
    {"manifest.json", "stage.json", "trainer_state.json"}
    | {f"{part}_results.json" for part in ("all", "train", "eval", "test", "predict")}
)


def companion_files(folder: Path) -> list[str]:
    """Return the companions of a model folder as paths below it, in order.

    Raises:
        UserError: One of them is a link that leaves the folder, or leads nowhere.
    """
    return sorted(path.relative_to(folder).as_posix() for path in _found(folder))


def companions_digest(folder: Path) -> str:
    """Return one hash of the names and the bytes of all companions of a model folder.

    Raises:
        UserError: One of them is a link that leaves the folder, or leads nowhere.
    """
    digest = hashlib.sha256()
    for name in companion_files(folder) if folder.is_dir() else ():
        digest.update(f"{name}:{sha256_of(folder / name)}\n".encode())
    return digest.hexdigest()


def copy_companions(source: Path, target: Path) -> None:
    """Copy config, tokenizer and chat template as files, but neither weights nor the manifest.

    Raises:
        UserError: One of them is a link that leaves the folder, or leads nowhere.
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
