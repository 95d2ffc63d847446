"""Progress bars for long work: animated on a terminal, occasional lines in a log file."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_SECONDS = 20.0


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
    interactive = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        desc=desc,
        unit=unit,
        unit_scale=unit_scale,
        disable=disable,
        dynamic_ncols=interactive,
        mininterval=0.2 if interactive else LOG_INTERVAL_SECONDS,
        file=sys.stderr,
    )
