"""Progress of long work: a bar on a terminal, a line now and then where the output is a file."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

LOG_INTERVAL_SECONDS = 20.0
SHORT_SECONDS = 5.0  # work that is over by then needs no line in a log


class _Lines:
    """What tqdm draws over and over in one place, as lines of a log."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        shown = text.strip()
        if shown:
            self._file.write(f"{shown}\n")

    def flush(self) -> None:
        self._file.flush()


def bar(
    items: Iterable[Any] | None = None,
    *,
    total: float | None = None,
    desc: str,
    unit: str = "it",
    unit_scale: bool = False,
    disable: bool = False,
) -> Any:
    """Return a tqdm bar over `items`, or one to advance with `.update`."""
    how: dict[str, Any] = {"dynamic_ncols": True, "mininterval": 0.2, "file": sys.stderr}
    if not sys.stderr.isatty():
        how = {
            "ncols": 0,
            "mininterval": LOG_INTERVAL_SECONDS,
            "miniters": 1,  # else tqdm's monitor adds a line of its own
            "delay": SHORT_SECONDS,
            "file": _Lines(sys.stderr),
        }
    return tqdm(
        items, total=total, desc=desc, unit=unit, unit_scale=unit_scale, disable=disable, **how
    )
