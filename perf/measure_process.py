"""Run a command and record its cost: time, own memory, bytes written. Linux only."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_INTERVAL_SECONDS = 0.005
_CHILDREN_EVERY = 50  # finding children scans all of /proc, so do it rarely


@dataclass(frozen=True)
class Cost:
    """The cost of one command.

    Attributes:
        wall_seconds: From start to end, including the interpreter and its imports.
        inner_seconds: The same without start-up, as the command itself reports it.
        cpu_seconds: Processor time of the command and its children, user and system, start-up
            included.
        peak_bytes: Peak of its own memory (anonymous and shared pages, summed over the command and
            its children), sampled every 5 ms. Mapped files are page cache and not counted.
        peak_resident_bytes: The kernel's peak resident memory, including mapped files.
        written_bytes: Bytes passed to write calls.
        report: The last line of its output, read as JSON.
    """

    wall_seconds: float
    inner_seconds: float
    cpu_seconds: float
    peak_bytes: int
    peak_resident_bytes: int
    written_bytes: int
    report: dict[str, Any]


def run_module(
    module: str, *arguments: object, one_thread: bool = False, shown: bool = False
) -> Cost:
    """Run `python -m module arguments...` from the root of the repository; see `run`."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return run(command, one_thread=one_thread, shown=shown)


def run(command: list[str], *, one_thread: bool = False, shown: bool = False) -> Cost:
    """Run a command from the root of the repository and measure it.

    The last line of its output must be a JSON object with `seconds`, its own time after start-up.

    Args:
        command: The command.
        one_thread: Let its linear algebra use one thread.
        shown: Let its errors and progress appear on the terminal.

    Raises:
        RuntimeError: The command failed; the message has the end of its output.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        environment = {**os.environ, **dict.fromkeys(_THREADS, "1")} if one_thread else None
        before, start = _children_seconds(), time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=None if shown else errors,
            env=environment,
        )
        try:
            peak, resident, written = _watch(process.pid)
            wall = time.perf_counter() - start
        finally:
            process.kill()
            status = process.wait()
        output.seek(0)
        errors.seek(0)
        if status != 0:
            said = errors.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(command)} ended with {status}:\n{said}")
        report = json.loads(output.read().decode().strip().splitlines()[-1])
    spent = _children_seconds() - before
    return Cost(wall, float(report["seconds"]), spent, peak, resident, written, report)


def _children_seconds() -> float:
    """Return the processor time of all children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(pid: int) -> tuple[int, int, int]:
    """Sample a process until it ends; the caller collects its exit status."""
    peak = resident = written = 0
    children: list[int] = []
    for sample in range(1 << 62):
        over = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if sample % _CHILDREN_EVERY == 0 and not over:
            children = [child.pid for child in psutil.Process(pid).children(recursive=True)]
        own = 0
        for member in (pid, *children):
            fields = _fields(member, "status")
            own += 1024 * (_number(fields, "RssAnon") + _number(fields, "RssShmem"))
            if member == pid:
                resident = max(resident, 1024 * _number(fields, "VmHWM"))
        peak = max(peak, own)
        written = max(written, sum(_number(_fields(m, "io"), "wchar") for m in (pid, *children)))
        if over:
            break
        time.sleep(_INTERVAL_SECONDS)
    return peak, resident, written


def _fields(pid: int, file: str) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except OSError:  # the child ended after it was listed
        return {}
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _number(fields: dict[str, str], name: str) -> int:
    return int(fields.get(name, "0").split()[0])
