"""Copy foreign folders: only files, and never through a link that leaves the folder.

A foreign folder may contain a link to any file on this machine, and copies get published.
"""

import os
import shutil
from pathlib import Path

from rlvr_dynamics.errors import UserError

_BLOBS = "blobs"


def keep_inside(path: Path, folder: Path) -> None:
    """Check that a path in a folder exists and does not lead outside of it.

    Hugging Face's cache stores files as links to blobs of the same repository; these are allowed.

    Raises:
        UserError: It is a link that leaves the folder or is broken.
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
    """Return models--OWNER--NAME/blobs for a folder in models--OWNER--NAME/snapshots/COMMIT."""
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
        target: Where to copy them; may exist.
        folder: The folder that no link may leave; `source` by default.

    Raises:
        UserError: A link leaves it or is broken, or an entry is not a regular file.
    """
    home = source if folder is None else folder
    keep_inside(source, home)
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_dir() and not path.is_symlink():
            copy_folder(path, target / path.name, home)
        else:
            copy_file(path, target / path.name, home)
