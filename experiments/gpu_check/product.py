"""The product's commands as a step runs them, and its tables as a step reads them."""

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.errors import EXIT_DONE, StageFailed
from rlvr_dynamics.results.frames import numbers
from rlvr_dynamics.results.run import Results, load_results
from rlvr_dynamics.system.files import read_object

from .bench import Command

STEP_SECONDS = "timing_s/step"


def start(command: Command) -> subprocess.Popen[bytes]:
    """Start a command; what it says is appended to a log next to its run directory."""
    words = ["-m", "rlvr_dynamics.run", *command.arguments]
    log = log_of(command)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(f"$ python {shlex.join(words)}\n".encode())
        file.flush()
        return subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def run(command: Command) -> float:
    """Run a command to its end and return its seconds; it goes on where an earlier call stopped.

    Raises:
        StageFailed: It ended with another exit code than 0; with what it said last.
    """
    begin = time.monotonic()
    process = start(command)
    try:
        code = process.wait()
    except BaseException:
        process.wait()  # the signal reached it too, and it ends what it started
        raise
    if code != EXIT_DONE:
        raise StageFailed(f"exit code {code}: {last_line(command)}; its log is {log_of(command)}")
    return time.monotonic() - begin


def log_of(command: Command) -> Path:
    """Return the log of a command."""
    return command.folder.with_name(f"{command.folder.name}.log")


def last_line(command: Command) -> str:
    """Return the last line that a command wrote, or what it said of an error."""
    text = log_of(command).read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("error:", "failed:"))]
    return (told or lines)[-1]


def results(command: Command) -> Results:
    """Return the tables of a run."""
    return load_results(command.folder)


def table(command: Command, name: str) -> pd.DataFrame:
    """Return one table of a run.

    Raises:
        StageFailed: The run has no such table, or an empty one.
    """
    found = results(command).tables[name]
    if found is None:
        raise StageFailed(f"there is no table {name} in {command.folder}")
    return found


def mean_of(metrics: pd.DataFrame, column: str) -> float | None:
    """Return the mean of a column of verl's metrics; None if verl did not report it."""
    found = numbers(metrics, column)
    return float(found.mean()) if len(found) else None


def largest_of(metrics: pd.DataFrame, column: str) -> float | None:
    """Return the largest value of a column of verl's metrics; None if verl did not report it."""
    found = numbers(metrics, column)
    return float(found.max()) if len(found) else None


def later_steps(metrics: pd.DataFrame, column: str) -> float | None:
    """Return the mean of a column without the first step, which warms up caches."""
    return mean_of(metrics.iloc[1:], column)


def stage_seconds(command: Command) -> dict[str, float]:
    """Return the seconds of every finished stage of a run."""
    record = read_object(command.folder / "provenance.json", way_out="run the step again")
    stages: dict[str, dict[str, Any]] = record["stages"]
    return {name: float(each["seconds"]) for name, each in stages.items() if each.get("seconds")}
