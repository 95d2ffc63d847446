"""Find and end every process of a training run, wherever Ray has moved it.

A process group does not hold Ray's daemons. What all descendants share are a marker in their
environment and their working folder: that is how they are found, also after their parents are gone.
"""

import hashlib
import os
import re
import time
from pathlib import Path

import psutil

MARKER = "RLVR_DYNAMICS_RUN"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux puts Python's shared memory
GRACE_SECONDS = 4.0


def folder_prefix(marker: str) -> str:
    """How the name of a run's temporary working folder begins."""
    return f"rlvr-{hashlib.sha256(marker.encode()).hexdigest()[:10]}-"


def marked(marker: str) -> list[psutil.Process]:
    """Living processes that belong to the run of `marker`, except this one."""
    prefix, own = folder_prefix(marker), os.getpid()
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == own or process.status() == psutil.STATUS_ZOMBIE:
                continue
            # Ray's title changes overwrite the environment, but never the working folder.
            if process.environ().get(MARKER) == marker or f"/{prefix}" in process.cwd():
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


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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
    names = rf"{SHARED_MEMORY}/((?:psm|verl_weights)_\w+|sem\.(?:loky|mp)-[\w-]+)"
    return {SHARED_MEMORY / name for name in re.findall(names, maps)}
