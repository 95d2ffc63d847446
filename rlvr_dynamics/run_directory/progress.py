"""The progress of a run: its log, and the state derived from its directory."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlvr_dynamics.run_directory.lock import is_locked
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.system.atomic import full_disk_is_a_user_error
from rlvr_dynamics.system.files import require_file

State = Literal["done", "running", "failed", "interrupted", "missing"]
STATES: tuple[State, ...] = ("done", "running", "failed", "interrupted", "missing")
LOG = "log.jsonl"


@dataclass(frozen=True)
class Progress:
    """State of a run directory.

    Attributes:
        state: ``done`` when every stage is finished; ``running`` while a process holds the
            directory; ``failed`` or ``interrupted`` if the last stage ended that way (a killed
            process counts as interrupted); else ``missing``, with or without finished stages.
        stage: The stage that runs, failed or was interrupted; for a missing run the last finished
            one, or None.
        error: The message of a failed stage.
    """

    state: State
    stage: str | None
    error: str | None = None


def append_log(folder: Path, event: dict[str, Any]) -> None:
    """Add one line to the log of a run directory."""
    path = folder / LOG
    if path.exists():
        require_file(path)
    with full_disk_is_a_user_error(path), path.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"time": round(time.time(), 2), **event}) + "\n")


def events(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of the log, newest first; skip lines truncated by a full disk."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict):
            yield found


def finished_stages(folder: Path, stages: tuple[str, ...]) -> list[str]:
    """Return the stages that are finished in a run directory."""
    return [name for name in stages if read_record(folder / FOLDERS[name]).get("finished") is True]


def progress(folder: Path, stages: tuple[str, ...]) -> Progress:
    """Read the state of a run directory without changing it.

    Args:
        folder: The run directory; need not exist.
        stages: The stages of the run, in order.
    """
    last = next(events(folder), {})
    stage, event = last.get("stage"), last.get("event")
    if is_locked(folder):
        return Progress("running", stage)
    if event == "failed":
        return Progress("failed", stage, last.get("error"))
    if event in ("interrupted", "start"):
        return Progress("interrupted", stage)
    finished = finished_stages(folder, stages)
    if len(finished) == len(stages):
        return Progress("done", finished[-1])
    return Progress("missing", finished[-1] if finished else None)
