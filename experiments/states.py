"""How far a run has come, read from its directory alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlvr_dynamics.flow.pipeline import is_locked
from rlvr_dynamics.run_directory.records import FOLDERS, read_record

State = Literal["done", "running", "failed", "interrupted", "missing"]
STATES: tuple[State, ...] = ("done", "running", "failed", "interrupted", "missing")
LOG = "log.jsonl"


@dataclass(frozen=True)
class Progress:
    """State of a run directory.

    Attributes:
        state: ``done`` when every stage is finished; ``running`` while a process holds the
            directory; ``failed`` and ``interrupted`` when the last stage ended so (a killed process
            counts as interrupted); else ``missing``, with or without finished stages.
        stage: The stage at work, or where it failed or stopped; of a missing run the last finished
            one, and None when there is none.
        error: What a failed stage said.
    """

    state: State
    stage: str | None
    error: str | None = None


def progress(folder: Path, stages: tuple[str, ...]) -> Progress:
    """Read the state of a run directory; changes nothing in it.

    Args:
        folder: The run directory; need not exist.
        stages: The stages that the run is to do, in order.
    """
    last = _last_event(folder / LOG)
    stage, event = last.get("stage"), last.get("event")
    if is_locked(folder):
        return Progress("running", stage)
    if event == "failed":
        return Progress("failed", stage, last.get("error"))
    if event in ("interrupted", "start"):
        return Progress("interrupted", stage)
    finished = [
        name for name in stages if read_record(folder / FOLDERS[name]).get("finished") is True
    ]
    if len(finished) == len(stages):
        return Progress("done", finished[-1])
    return Progress("missing", finished[-1] if finished else None)


def _last_event(log: Path) -> dict[str, Any]:
    """Return the last whole line; a line that a full disk cut off is passed over."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict):
            return found
    return {}
