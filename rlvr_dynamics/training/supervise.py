"""Run a command and make sure that nothing of it outlives us.

`python -m rlvr_dynamics.training.supervise MARKER LOG -- COMMAND...` starts the command, waits for
its end or for the end of its own standard input (which closes when the parent dies, also by
SIGKILL), then ends every process that carries the marker.
"""

import os
import select
import signal
import subprocess
import sys

from rlvr_dynamics.training.processes import end_all

CHECK_SECONDS = 0.3


def main(arguments: list[str]) -> int:
    """Supervise one command; returns its exit code, or 75 when the parent went away."""
    marker, log, separator, *command = arguments
    if separator != "--" or not command:
        raise ValueError("usage: supervise MARKER LOG -- COMMAND...")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides about an interrupt
    with open(log, "ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    code: int | None = None
    while code is None:
        ready, _, _ = select.select([sys.stdin], [], [], CHECK_SECONDS)
        if ready and not os.read(sys.stdin.fileno(), 1):
            break
        code = child.poll()
    end_all(marker)
    return 75 if code is None else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
