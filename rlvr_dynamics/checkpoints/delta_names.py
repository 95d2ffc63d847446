"""Names in a delta store: the store's own file, and the folders of its versions."""

import re
from pathlib import Path

STORE = "store.json"
BASE = 0
"""Number of the version that is the base."""

_PREFIX = "weight_v"
_NAME = re.compile(rf"{_PREFIX}(\d{{6,12}})")


def is_store(folder: Path) -> bool:
    """Return whether a folder is a delta store."""
    return (folder / STORE).is_file()


def version_name(step: int) -> str:
    """Return the name of a version's folder."""
    return f"{_PREFIX}{step:06d}"


def version_folders(store: Path) -> dict[int, Path]:
    """Return the folders of all versions by number, ascending."""
    named = ((path, _NAME.fullmatch(path.name)) for path in store.iterdir())
    found = {int(match[1]): path for path, match in named if match}
    return dict(sorted(found.items()))


def number_of(folder: Path) -> int | None:
    """Return the number of the version in a folder; None if it is not one of a store."""
    match = _NAME.fullmatch(folder.name)
    return int(match[1]) if match and is_store(folder.parent) else None
