"""Processes that end with this one: how they are started, notice its end, and are ended.

Each is the leader of a process group of its own, so an interrupt at the terminal is this process's
to handle, and ending one ends all that it started.
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
        watches_input: Whether it ends by itself then (`end_with_parent`, `system.supervise`). One
            that does not is sent SIGTERM by the kernel when the thread that started it ends.
        settings: As `subprocess.Popen`.
    """
    if not watches_input:
        settings |= {"stdin": subprocess.DEVNULL, "preexec_fn": _die_with_parent}
    own: dict[str, Any] = {"stdin": subprocess.PIPE, "start_new_session": True}
    return subprocess.Popen(command, **(own | settings))  # pyright: ignore[reportReturnType]


def end(process: subprocess.Popen[bytes], patience: float = 0.0) -> bool:
    """Wait for a child, then kill what is left of its process group.

    Args:
        process: What `start` returned.
        patience: Seconds that it is given to end by itself.

    Returns:
        Whether it did.
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
    """Close a child's standard input: there is no more to do."""
    with suppress(OSError):  # it has ended, and something written to it was never read
        if process.stdin is not None:
            process.stdin.close()


def end_with_parent() -> None:
    """Inside a child: end it and all that it started as soon as its standard input closes."""

    def watch() -> None:
        # Not through sys.stdin, whose lock would be in the way of an ordinary exit.
        while os.read(0, 1):
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(EXIT_FAILED)

    threading.Thread(target=watch, daemon=True).start()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
