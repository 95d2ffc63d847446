"""Child processes that end when this process ends.

Each child leads its own process group, so only this process receives an interrupt at the terminal,
and ending a child ends all processes that it started.
"""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rlvr_dynamics.errors import EXIT_FAILED


def start(
    command: Sequence[str], *, watches_input: bool = True, **settings: Any
) -> subprocess.Popen[bytes]:
    """Start a command whose standard input closes when this process ends, even by SIGKILL.

    Args:
        command: The program and its arguments.
        watches_input: Whether the command then ends by itself (`end_with_parent`,
            `system.supervise`). If not, the kernel sends it SIGTERM when the thread that started
            it ends.
        settings: Further arguments of `subprocess.Popen`.
    """
    if not watches_input:
        settings |= {"stdin": subprocess.DEVNULL, "preexec_fn": _die_with_parent}
    own: dict[str, Any] = {"stdin": subprocess.PIPE, "start_new_session": True}
    return subprocess.Popen(command, **(own | settings))  # pyright: ignore[reportReturnType]


def end(process: subprocess.Popen[bytes], patience: float = 0.0) -> bool:
    """Wait for a child, then kill the remaining processes of its group.

    Args:
        process: The child returned by `start`.
        patience: Seconds to wait for it to end by itself.

    Returns:
        Whether it ended by itself.
    """
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        return False
    else:
        return True
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        close_input(process)


def close_input(process: subprocess.Popen[bytes]) -> None:
    """Close a child's standard input, to tell it that there is no more work."""
    with suppress(OSError):  # it has ended without reading all its input
        if process.stdin is not None:
            process.stdin.close()


def end_with_parent() -> None:
    """In a child: end it and all that it started as soon as its standard input closes."""

    def watch() -> None:
        # Not through sys.stdin, whose lock would block a normal exit.
        while os.read(0, 1):
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(EXIT_FAILED)

    threading.Thread(target=watch, daemon=True).start()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
