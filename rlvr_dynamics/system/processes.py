"""Find and end every process of a training run, including those that Ray detached.

Ray's daemons leave the process group. All descendants share a marker in their environment and
their working folder, by which they are found even after their parents are gone.
"""

import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

MARKER = "RLVR_DYNAMICS_RUN"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux puts Python's shared memory
GRACE_SECONDS = 4.0


def folder_prefix(marker: str) -> str:
    """Return the prefix of a run's temporary working folder."""
    return f"rlvr-{hashlib.sha256(marker.encode()).hexdigest()[:10]}-"


def marked(marker: str) -> list[psutil.Process]:
    """Return the living processes that belong to the run of `marker`, except this one."""
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
    """Return id and title of Ray actors and vLLM engines (idle Ray workers come and go)."""
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


def shared_memory(marker: str) -> set["Segment"]:
    """Return the shared memory that the run's living processes currently map."""
    return {segment for process in marked(marker) for segment in _mapped(process.pid)}


def end_all(
    marker: str,
    *,
    keep: frozenset[int] = frozenset(),
    remembered: frozenset["Segment"] = frozenset(),
) -> None:
    """End every marked process, gracefully first, and remove the shared memory they mapped.

    Args:
        marker: The run's marker.
        keep: Process ids to spare.
        remembered: Segments mapped earlier, including by processes that have died since.
    """
    segments = set(remembered)
    deadline = time.monotonic() + GRACE_SECONDS
    polite = True
    while processes := [process for process in marked(marker) if process.pid not in keep]:
        segments |= {segment for process in processes for segment in _mapped(process.pid)}
        for process in processes:
            try:
                process.terminate() if polite else process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=0.5)
        polite = time.monotonic() < deadline
    _remove_unused(segments)


@dataclass(frozen=True)
class Segment:
    """A shared-memory file; the inode distinguishes it from a later one with the same name."""

    path: Path
    inode: int


def _mapped(pid: int) -> set[Segment]:
    """Return the segments of `multiprocessing.shared_memory` and vLLM's queues a process maps."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return set()
    # The inode comes before the path.
    pattern = rf" (\d+) +{SHARED_MEMORY}/((?:psm|verl_weights)_\w+|sem\.(?:loky|mp)-[\w-]+)$"
    found = re.findall(pattern, maps, flags=re.MULTILINE)
    return {Segment(SHARED_MEMORY / name, int(inode)) for inode, name in found}


def _remove_unused(segments: set[Segment]) -> None:
    """Unlink the remaining segments that no living process maps."""
    left = {segment for segment in segments if _inode(segment.path) == segment.inode}
    if not left:
        return
    used = {segment for pid in psutil.pids() for segment in _mapped(pid)}
    for segment in left - used:
        segment.path.unlink(missing_ok=True)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
