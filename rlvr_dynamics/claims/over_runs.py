"""Pooling runs: their mean with its interval, and grouping by regime."""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from rlvr_dynamics.claims.claim import Measured
from rlvr_dynamics.results.arms import PLAIN
from rlvr_dynamics.results.formatting import scientific
from rlvr_dynamics.results.study import Cell
from rlvr_dynamics.statistics.intervals import Interval, average

SPREAD = "a spread"


def over_runs(rows: Sequence[Measured], bases: Sequence[Hashable]) -> tuple[Interval, str]:
    """Compute the mean over runs and its interval.

    One run keeps its own interval, or the spread of its tensors. Several runs get the widest of
    three: Student's interval of their mean; Student's interval of the per-base means, because runs
    that share a base are not independent; and the interval that the runs' own intervals imply for a
    mean of independent estimates, because runs that agree by luck (or all lie at an end of the
    scale) show no spread. A run's number over its tensors has no interval of its own: the tensors
    are all there are, and they depend on each other.

    Args:
        rows: The claim on each run.
        bases: What tells each run's base and questions (`Cell.base`).

    Returns:
        The interval and a description of what it is over.
    """
    own = [row.value for row in rows]
    if len(own) == 1:
        one = f"{rows[0].n_unit} of the one run"
        return own[0], f"{SPREAD}: quartiles over the {one}, no interval" if rows[0].spread else one
    from scipy.special import stdtrit  # slow to import and needed only here

    values = np.array([each.value for each in own])
    mean = float(values.mean())
    shared = [
        float(np.mean([value for value, base in zip(values, bases, strict=True) if base == one]))
        for one in dict.fromkeys(bases)
    ]
    half = max(
        float(stdtrit(len(units) - 1, 0.975) * np.std(units, ddof=1) / math.sqrt(len(units)))
        for units in (values, np.array(shared))
        if len(units) > 1
    )
    inner = average(
        [
            row.value
            for row in rows
            if not (row.spread or math.isnan(row.value.low + row.value.high))
        ]
    )
    reach = (inner.low - inner.value, inner.high - inner.value)
    low, high = np.fmin(-half, reach[0]), np.fmax(half, reach[1])
    over = f"runs, {len(shared)} bases" if len(shared) > 1 else "runs, all from one base"
    return Interval(mean, mean + float(low), mean + float(high)), over


def mean_of(values: Sequence[float]) -> float:
    """Return the mean, or NaN if there are no values."""
    return math.fsum(values) / len(values) if values else math.nan


def runs_in_words(count: int) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} run{'' if count == 1 else 's'}"


def by_regime(
    runs: Sequence[Cell], controls: Sequence[Cell]
) -> dict[str, tuple[list[Cell], list[Cell]]]:
    """Group runs and controls by model, learning rate, number of steps, optimizer and arm.

    In ascending order; AdamW with its usual betas is not named, nor are plain steps.
    """
    several = len({cell.model for cell in (*runs, *controls)}) > 1
    groups: dict[str, tuple[list[Cell], list[Cell]]] = {}
    kinds = [(cell, 0) for cell in runs] + [(cell, 1) for cell in controls]
    for cell, place in sorted(kinds, key=lambda pair: _size(pair[0])):
        name = f"{cell.model}, {_regime(cell)}" if several else _regime(cell)
        groups.setdefault(name, ([], []))[place].append(cell)
    return groups


def _regime(cell: Cell) -> str:
    rate = "" if cell.learning_rate is None else f"lr {scientific(cell.learning_rate)}"
    steps = "" if cell.steps is None else f"{cell.steps} steps"
    size = " x ".join(part for part in (rate, steps) if part)
    arm = "" if cell.arm.kind == PLAIN else cell.arm.words
    return ", ".join(part for part in (size, cell.optimizer, arm) if part) or "unknown"


def _size(cell: Cell) -> tuple[str, float, int]:
    return (cell.model, cell.learning_rate or 0.0, cell.steps or 0)
