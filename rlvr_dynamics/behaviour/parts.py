"""Finished parts of the work, each a parquet file that names all it depends on.

A part is whole or absent; whoever asks with the same key gets the stored one, so an interrupted
run goes on where it stopped.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.scoring.keys import digest
from rlvr_dynamics.scoring.samples import read_metadata, write_table
from rlvr_dynamics.system.sealed import read_parquet

FOLDER = ".parts"


class Parts:
    """The parts of one output folder.

    Args:
        folder: The output folder.
        say: Called with a line when a part is made.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Nothing is read or written yet."""
        self._folder, self._say = folder / FOLDER, say

    def get(self, name: str, material: Any, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return a part, made if it is not stored or was made from something else.

        Args:
            name: File name without ending.
            material: All it depends on, a JSON value.
            make: Makes it.
        """
        path, key = self._folder / f"{name}.parquet", digest(material)
        if read_metadata(path).get("key") == key:
            return read_parquet(path)
        self._say(name.replace("__", " "))
        write_table(path, make(), {"key": key})
        return read_parquet(path)
