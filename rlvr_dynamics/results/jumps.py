"""The jumps on record of a training, as what they cost: answers asked, seconds by part."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.training.jump_records import JumpRecords

FOLDER = "acceleration"


@dataclass(frozen=True)
class Jump:
    """One firing.

    Attributes:
        step: The step after which it fired.
        accepted: Whether the weights jumped.
        tried: Number of candidates.
        kept: Number of those that were accepted: all of a search but the last.
        rollouts: Answers that the gate asked for, of the weights as they were too.
        rejected_rollouts: Those of candidates that were not kept.
        tokens: Their tokens.
        seconds: `search` (computing and undoing), `validate` and `sync`; they add up to all of it.
    """

    step: int
    accepted: bool
    tried: int
    kept: int
    rollouts: int
    rejected_rollouts: float
    tokens: int
    seconds: Mapping[str, float]

    @property
    def all_seconds(self) -> float:
        """All parts."""
        return float(sum(self.seconds.values()))


def jumps_of(run_dir: Path) -> list[Jump]:
    """Return the jumps of a run in the order of their steps; empty without any.

    Raises:
        UserError: A record is damaged.
    """
    return [_jump(each) for each in JumpRecords(run_dir / FOLDERS["train"] / FOLDER).all()]


def _jump(record: Mapping[str, Any]) -> Jump:
    seconds, tried = record["seconds"], record["tried"]
    parts = {name: float(seconds[name]) for name in ("validate", "sync")}
    parts["search"] = float(seconds["total"]) - sum(parts.values())
    kept = sum(bool(each["accepted"]) for each in tried) if record["accepted"] else 0
    # Shares of the answers. Where a record does not say how many problems each answered, the
    # weights before are taken to have answered as many as the first candidate.
    asked = [
        each.get("answered", each.get("problems", 1)) if each.get("finite", True) else 0
        for each in tried
    ]
    all_asked = sum(asked) + record.get("answered", sum(asked[:1]))
    return Jump(
        step=int(record["step"]),
        accepted=bool(record["accepted"]),
        tried=len(tried),
        kept=kept,
        rollouts=int(record["rollouts"]),
        rejected_rollouts=record["rollouts"] * sum(asked[kept:]) / all_asked if all_asked else 0.0,
        tokens=int(record["tokens"]),
        seconds=parts,
    )
