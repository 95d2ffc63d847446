"""Which process made something, and whether it still lives: its id, and when it began."""

import os
from pathlib import Path


def own_mark() -> str:
    """Name of this process that no later one of the same id has."""
    return f"{os.getpid()}-{_begin(os.getpid())}"


def is_alive(mark: str) -> bool:
    """Whether the process of a mark lives, on this machine and seen from this container."""
    number, _, begin = mark.partition("-")
    return number.isdecimal() and begin.isdecimal() and _begin(int(number)) == int(begin)


def _begin(number: int) -> int:
    """When a process began, in ticks since the machine did; 0 where there is none."""
    try:
        # The name of the program stands in brackets and may hold spaces.
        fields = Path(f"/proc/{number}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in ("Z", "X") else int(fields[19])
