"""What a training spent: rollouts, updates and seconds, step by step and in all.

One place for all readers; `schema/tables/accounts.py` says what each number is.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import numbers, select, values
from rlvr_dynamics.results.jumps import jumps_of
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.schema.tables.accounts import ACCOUNTS, PARTS

Array = NDArray[np.float64]
GIB = 2**30
AXES = {"rollouts": "rollouts", "updates": "optimizer updates", "seconds": "seconds"}
"""What a curve is drawn against: columns of `Spent.until`, and their names."""
_TIMERS = {
    "generate": ("gen",),
    "update": ("reward", "old_log_prob", "ref", "values", "adv", "update_critic", "update_actor"),
    "sync": ("update_weights",),
    "save": ("save_checkpoint",),
}
_DEVICE, _HOST = "actor/perf/max_memory_allocated_gb", "actor/perf/cpu_memory_used_gb"


@dataclass(frozen=True)
class Spent:
    """What the steps of a training spent; a jump after step s is part of step s + 1.

    Attributes:
        steps: Shape (T,), ascending.
        rollouts: Answers drawn for a step, and by a gate before it, shape (T,).
        updates: Optimizer updates, shape (T,).
        seconds: Without evaluation and start, shape (T,).
    """

    steps: Array
    rollouts: Array
    updates: Array
    seconds: Array

    def until(self, axis: str, step: int) -> float:
        """Return what the weights of a step cost.

        Args:
            axis: A key of `AXES`.
            step: The step; 0 for the base.
        """
        return float(getattr(self, axis)[self.steps <= step].sum())


@once_per_run
def spent(results: Results) -> Spent | None:
    """Return what each step spent; None without training metrics or where their steps have gaps."""
    metrics = results.tables["metrics"]
    steps = None if metrics is None else _trained(metrics)
    if steps is None or not len(steps):
        return None
    updates = results.config.trainer.updates_per_rollout
    jumps = jumps_of(results.run_dir)
    asked, worked = np.zeros(len(steps)), np.zeros(len(steps))
    for jump in jumps:
        # After the last step no weights follow that it could be part of.
        place = min(jump.step, len(steps) - 1)
        asked[place] += jump.rollouts
        worked[place] += jump.all_seconds
        worked[jump.step - 1] -= jump.all_seconds
    seconds = _column(steps, "timing_s/step") + worked
    seconds[0] -= _start(steps, "step")
    return Spent(
        values(steps, "step"),
        _rollouts(results, steps) + asked,
        np.full(len(steps), math.nan if updates is None else float(updates)),
        seconds,
    )


def _trained(metrics: pd.DataFrame) -> pd.DataFrame | None:
    """Return the rows of trained steps; None if one of them is missing."""
    rows = select(metrics, metrics["step"] > 0).sort_values(["step"])
    whole = rows["step"].tolist() == list(range(1, len(rows) + 1))
    return rows if whole else None


def _column(rows: pd.DataFrame, name: str) -> Array:
    return values(rows, name) if name in rows else np.full(len(rows), math.nan)


def _rollouts(results: Results, rows: pd.DataFrame) -> Array:
    """Return the answers drawn at each step; as configured where they were not counted."""
    size, prompts = results.config.algorithm.group_size, results.config.trainer.prompts_per_step
    usual = math.nan if size is None or prompts is None else float(size * prompts)
    counted = _column(rows, "rollouts/answers")
    return np.where(np.isnan(counted), usual, counted)


def _start(rows: pd.DataFrame, timer: str) -> float:
    """Return by how much the first step takes longer than the median of the others."""
    seconds = _column(rows, f"timing_s/{timer}")
    return max(0.0, float(seconds[0] - np.median(seconds[1:]))) if len(seconds) > 1 else 0.0


def account(cell: Cell) -> dict[str, Any] | None:
    """Return a run's row of `ACCOUNTS`; None without training metrics."""
    results, found = cell.results, spent(cell.results)
    metrics = results.tables["metrics"]
    rows = None if metrics is None else _trained(metrics)
    if found is None or metrics is None or rows is None:
        return None
    jumps, passes = jumps_of(results.run_dir), results.config.trainer.passes
    drawn = _rollouts(results, rows)
    parts = {name: _timed(rows, timers) for name, timers in _TIMERS.items()}
    parts |= {
        name: parts.get(name, 0.0) + sum(jump.seconds[name] for jump in jumps)
        for name in ("search", "validate", "sync")
    }
    parts["search"] += _sketching(rows, {jump.step for jump in jumps})
    parts["generate"] -= _start(rows, "gen")
    seconds = float(found.seconds.sum())
    parts["other"] = seconds - sum(parts.values())
    return {
        "cell": cell.name,
        "arm": cell.arm.words,
        "learning_rate": cell.learning_rate,
        "seed": cell.seed,
        "steps": len(rows),
        "rollouts": float(drawn.sum()),
        "gate_rollouts": sum(jump.rollouts for jump in jumps),
        "rejected_rollouts": sum(jump.rejected_rollouts for jump in jumps),
        "evaluation_rollouts": float(numbers(metrics, "validation/answers").sum()),
        "tokens": float((drawn * _column(rows, "response_length/mean")).sum()),
        "gate_tokens": sum(jump.tokens for jump in jumps),
        "updates": float(found.updates.sum()),
        "trained_answers": _trained_answers(results, len(rows), passes),
        "fired": len(jumps),
        "jumped": sum(jump.accepted for jump in jumps),
        "seconds": seconds,
        **{f"{name}_seconds": parts[name] for name in PARTS},
        "start_seconds": _start(rows, "step"),
        "evaluation_seconds": float(numbers(metrics, "timing_s/testing").sum()),
        "device_gib": _most(rows, _DEVICE) or math.nan,
        "host_gib": _most(rows, _HOST),
        "disk_gib": _size(results),
    }


def accounts(study: Study) -> pd.DataFrame:
    """Return one row for each run with training metrics, the columns of `ACCOUNTS`."""
    rows = [row for cell in study.cells if (row := account(cell)) is not None]
    return pd.DataFrame(rows, columns=ACCOUNTS.names)


def _sketching(rows: pd.DataFrame, fired: set[int]) -> float:
    """Return the seconds of following the path at steps without a jump, whose record has them."""
    others = select(rows, ~rows["step"].isin(list(fired)))
    return float(numbers(others, "acceleration/sketch_seconds").sum())


def _timed(rows: pd.DataFrame, timers: tuple[str, ...]) -> float:
    return float(sum(numbers(rows, f"timing_s/{name}").sum() for name in timers))


def _trained_answers(results: Results, steps: int, passes: int) -> float:
    """Return the answers passed backward; dropped ones are not."""
    size, prompts = results.config.algorithm.group_size, results.config.trainer.prompts_per_step
    return math.nan if size is None or prompts is None else float(steps * size * prompts * passes)


def _most(rows: pd.DataFrame, column: str) -> float:
    found = numbers(rows, column)
    return float(found.max()) if len(found) else math.nan


def _size(results: Results) -> float:
    files = (results.run_dir / FOLDERS["train"]).rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file()) / GIB
