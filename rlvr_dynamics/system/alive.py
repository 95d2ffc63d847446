"""Identify a process by its id and start time, and tell whether it is still alive."""

import os
from pathlib import Path


def own_mark() -> str:
    """Return a name of this process that differs from any later process with the same id."""
    return f"{os.getpid()}-{_begin(os.getpid())}"


def is_alive(mark: str) -> bool:
    """Whether the process of a mark is alive on this machine, as seen from this container."""
    number, _, begin = mark.partition("-")
    return number.isdecimal() and begin.isdecimal() and _begin(int(number)) == int(begin)


def _begin(number: int) -> int:
    """Return a process's start time, in ticks since boot; 0 if it does not exist."""
    try:
        # The program's name is in brackets and may contain spaces.
        fields = Path(f"/proc/{number}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in ("Z", "X") else int(fields[19])
