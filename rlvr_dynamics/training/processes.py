"""Find and end every process of a training run, wherever Ray has moved it.

Ray's daemons start their own sessions, so a process group does not hold them. What all descendants
share is their environment: the run's marker in it is how they are found, also after their parents
are gone.
"""

import re
import time
from pathlib import Path

import psutil

MARKER = "RLVR_DYNAMICS_RUN"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux puts Python's shared memory
GRACE_SECONDS = 4.0


def marked(marker: str) -> list[psutil.Process]:
    """Living processes that carry `marker`, except this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != psutil.Process().pid and (
                process.environ().get(MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return found


def workers(marker: str) -> dict[int, str]:
    """Process id and title of Ray actors and vLLM engines (idle Ray workers come and go)."""
    found = {}
    for process in marked(marker):
        try:
            title = " ".join(process.cmdline()).strip()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if re.match(r"ray::(?!IDLE)|VLLM::", title):
            found[process.pid] = title
    return found


def end_all(marker: str, *, keep: frozenset[int] = frozenset()) -> None:
    """End every marked process, first politely, and remove the shared memory they mapped.

    Args:
        marker: The run's marker.
        keep: Process ids to spare.
    """
    segments: set[Path] = set()
    deadline = time.monotonic() + GRACE_SECONDS
    polite = True
    while processes := [process for process in marked(marker) if process.pid not in keep]:
        segments |= {segment for process in processes for segment in _shared_memory(process)}
        for process in processes:
            try:
                process.terminate() if polite else process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=0.5)
        polite = time.monotonic() < deadline
    for segment in segments:
        segment.unlink(missing_ok=True)


def _shared_memory(process: psutil.Process) -> set[Path]:
    """Segments of `multiprocessing.shared_memory` and vLLM's queues that a process has mapped."""
    try:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return set()
    return {
        SHARED_MEMORY / name for name in re.findall(rf"{SHARED_MEMORY}/(psm_[0-9a-zA-Z_]+|sem\.loky-[0-9a-zA-Z_-]+)", maps)
    }
