"""Files that others wrote, read with the distrust they deserve."""

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
    """Refuse anything but an ordinary file: opening a pipe would wait for ever.

    Raises:
        FileNotFoundError: There is nothing.
        UserError: There is something else.
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
        way_out: What to do where it is damaged.

    Raises:
        FileNotFoundError: There is none.
        UserError: It is not an ordinary file, UTF-8, JSON or an object, or nested too deeply.
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
