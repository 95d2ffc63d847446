"""Copies of what others wrote: files alone, and never through a link that leaves their folder.

A folder from elsewhere may hold a link to any file of this machine, and copies are published.
"""

import os
import shutil
from pathlib import Path

from rlvr_dynamics.errors import UserError

_BLOBS = "blobs"


def keep_inside(path: Path, folder: Path) -> None:
    """Make sure that a path below a folder is there, and leads to nothing outside of it.

    Hugging Face's cache keeps its files as links to the blobs of the same repository; these pass.

    Raises:
        UserError: It is a link that leaves the folder, or leads nowhere.
    """
    real, home = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if not path.exists():
        problem = "leads nowhere"
    elif real.is_relative_to(home) or real.parent in _blobs(home):
        return
    else:
        problem = "leaves its folder"
    raise UserError(
        f"{path.name} is a link that {problem}",
        where=str(path),
        way_out="put a copy of the file in its place",
    )


def _blobs(home: Path) -> tuple[Path, ...]:
    """models--OWNER--NAME/blobs of a folder models--OWNER--NAME/snapshots/COMMIT, also deeper."""
    return tuple(
        place.parent / _BLOBS
        for place in home.parents
        if place.name == "snapshots" and place.parent.name.startswith("models--")
    )


def copy_file(source: Path, target: Path, folder: Path) -> None:
    """Copy a file that lies in `folder`; arguments and errors as in `keep_inside`."""
    keep_inside(source, folder)
    if not source.is_file():
        raise UserError("not a file", where=str(source), way_out="remove it")
    shutil.copyfile(source, target)


def copy_folder(source: Path, target: Path, folder: Path | None = None) -> None:
    """Copy all files of a folder.

    Args:
        source: The folder.
        target: Where they go; may exist.
        folder: What no link may leave; `source` by itself.

    Raises:
        UserError: A link leaves it or leads nowhere, or something is no file.
    """
    home = source if folder is None else folder
    keep_inside(source, home)
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_dir() and not path.is_symlink():
            copy_folder(path, target / path.name, home)
        else:
            copy_file(path, target / path.name, home)
