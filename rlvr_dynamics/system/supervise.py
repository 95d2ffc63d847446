"""Run a command and make sure that none of its processes outlives us.

`python -m rlvr_dynamics.system.supervise MARKER LOG -- COMMAND...` starts the command and waits
until it ends, its own standard input closes (the parent died, even by SIGKILL), or a signal
arrives. Then it ends every process that carries the marker and removes the shared memory that any
of them had mapped.
"""

import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

from rlvr_dynamics.system.processes import Segment, end_all, shared_memory

CHECK_SECONDS = 0.3
MEMORY_CHECK_SECONDS = 3.0


class _Stop(Exception):
    pass


def main(arguments: list[str]) -> int:
    """Supervise one command and return its exit code, or 75 if asked to end."""
    marker, log, separator, *command = arguments
    if separator != "--" or not command:
        raise ValueError("usage: supervise MARKER LOG -- COMMAND...")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles interrupts
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGUSR1, _stop)
    code: int | None = None
    segments: set[Segment] = set()
    try:
        with open(log, "ab") as output:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        next_memory_check = 0.0
        while code is None:
            ready, _, _ = select.select([sys.stdin], [], [], CHECK_SECONDS)
            if ready and not os.read(sys.stdin.fileno(), 1):
                break
            if time.monotonic() > next_memory_check:
                segments |= shared_memory(marker)
                next_memory_check = time.monotonic() + MEMORY_CHECK_SECONDS
            code = child.poll()
    except _Stop:
        pass
    end_all(marker, remembered=frozenset(segments))
    return 75 if code is None else code


def _stop(_number: int, _frame: FrameType | None) -> None:
    # A second signal must not interrupt the clean-up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    raise _Stop


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
