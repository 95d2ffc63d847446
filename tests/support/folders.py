"""Two folders of a checkpoint, compared byte for byte; for tests only."""

import filecmp
from pathlib import Path


def same_folders(one: Path, other: Path) -> None:
    names = sorted(path.name for path in other.iterdir())
    assert sorted(path.name for path in one.iterdir() if path.name != "manifest.json") == names
    assert filecmp.cmpfiles(one, other, names, shallow=False)[0] == names
