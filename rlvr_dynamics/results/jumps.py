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
        tried: Number of candidates; each answered the gate's problems, if it has any.
        kept: Number of those that were accepted: all of a search but the last.
        rollouts: Answers that the gate asked for, of the weights as they were too.
        tokens: Their tokens.
        seconds: `search` (computing and undoing), `validate` and `sync`; they add up to all of it.
    """

    step: int
    accepted: bool
    tried: int
    kept: int
    rollouts: int
    tokens: int
    seconds: Mapping[str, float]

    @property
    def all_seconds(self) -> float:
        """All parts."""
        return float(sum(self.seconds.values()))

    @property
    def rejected_rollouts(self) -> float:
        """Answers by candidates that were not kept; the present weights answered as many."""
        return self.rollouts * (self.tried - self.kept) / (self.tried + 1)


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
    return Jump(
        step=int(record["step"]),
        accepted=bool(record["accepted"]),
        tried=len(tried),
        kept=sum(bool(each["accepted"]) for each in tried) if record["accepted"] else 0,
        rollouts=int(record["rollouts"]),
        tokens=int(record["tokens"]),
        seconds=parts,
    )
