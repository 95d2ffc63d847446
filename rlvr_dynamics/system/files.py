"""Read files from untrusted sources."""

import json
import stat
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_file(path: Path) -> None:
    """Check that a path is a regular file, because opening a pipe would block forever.

    Raises:
        FileNotFoundError: It does not exist.
        UserError: It is something else.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise UserError(
            f"{_KINDS.get(stat.S_IFMT(mode), 'something else')} is where a file belongs",
            where=str(path),
            way_out="put the file there, or give another path",
        )


def read_object(path: Path, *, way_out: str) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: The file.
        way_out: What the user can do if it is damaged.

    Raises:
        FileNotFoundError: It does not exist.
        UserError: It is not a regular file, UTF-8, JSON or an object, or is nested too deeply.
    """
    require_file(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        reason = "nested too deeply" if deep else " ".join(str(error).split())
        raise UserError(f"damaged {path.name}: {reason}", where=str(path), way_out=way_out) from (
            None if deep else error
        )
    if not isinstance(found, dict):
        raise UserError(
            f"damaged {path.name}: {type(found).__name__} in place of an object",
            where=str(path),
            way_out=way_out,
        )
    return found
