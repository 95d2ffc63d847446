"""The acceleration bench as numbers: arms beside plain steps at the same and at the tuned rate."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rlvr_dynamics.claims.claim import Measured
from rlvr_dynamics.claims.over_runs import over_runs
from rlvr_dynamics.results.arms import PLAIN, Arm
from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.curves import (
    Array,
    Curve,
    curves,
    plain_runs,
    points_at_equal_cost,
    time_to,
    tuned_rate,
)
from rlvr_dynamics.results.formatting import scientific
from rlvr_dynamics.results.frames import equal, has, mean
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval, percentile_interval

NEEDS = (
    "Not measured: needs runs with and without jumps whose checkpoints were scored on the way: "
    "python -m experiments.acceleration."
)


@dataclass(frozen=True)
class Group:
    """Runs of one arm at one learning rate; seeds differ.

    Attributes:
        arm: The arm.
        rate: The policy's learning rate.
        cells: The runs.
        curves: Their curves, in the same order.
    """

    arm: Arm
    rate: float
    cells: tuple[Cell, ...]
    curves: tuple[Curve, ...]

    @property
    def label(self) -> str:
        """Arm and rate."""
        return f"{self.arm.words}, lr {scientific(self.rate)}"

    def over_seeds(self, of: Callable[[Curve], Interval]) -> Interval:
        """Return the mean over the runs with the widest of their intervals; see `over_runs`."""
        found = [of(curve) for curve in self.curves]
        rows = [Measured(each, 1, "run") for each in found if not math.isnan(each.value)]
        return over_runs(rows, [None] * len(rows))[0] if rows else UNDEFINED


@dataclass(frozen=True)
class Reached:
    """When a group gets to a level.

    Attributes:
        cost: Mean over the runs with its interval; undefined unless all arrive.
        arrived: Number of runs that arrive.
        runs: Number of runs.
        least: Where none or not all arrive: the mean with each of the others at its end, which is
            less than it costs.
    """

    cost: Interval
    arrived: int
    runs: int
    least: float


@dataclass(frozen=True)
class Bench:
    """Arms from one base whose runs answered the same questions.

    Attributes:
        groups: Plain steps first, by rate; then the arms.
        tuned: The plain group whose rate is best on validation problems; None without validation.
    """

    groups: tuple[Group, ...]
    tuned: Group | None

    @cached_property
    def by_run(self) -> dict[int, Curve]:
        """Curves by identity of the run's results."""
        return {id(curve.results): curve for group in self.groups for curve in group.curves}

    @property
    def budget(self) -> float:
        """Rollouts that every run has drawn."""
        return min(float(curve.costs["rollouts"][-1]) for curve in self.by_run.values())

    @property
    def questions(self) -> int:
        """Number of common questions."""
        return next(iter(self.by_run.values())).questions

    def level(self, share: float) -> Array | None:
        """Return the base's accuracy plus a share of the tuned group's gain, by resample."""
        if self.tuned is None:
            return None
        return np.mean([curve.level(share) for curve in self.tuned.curves], axis=0)

    def reached(self, group: Group, share: float, axis: str) -> Reached | None:
        """Return when a group gets to a share of the tuned group's gain; None without one."""
        level = self.level(share)
        if level is None:
            return None
        found = [time_to(curve, level, axis) for curve in group.curves]
        arrived = [math.isfinite(each.value) for each in found]
        bounded = [
            each.value if there else float(curve.costs[axis][-1])
            for each, there, curve in zip(found, arrived, group.curves, strict=True)
        ]
        rows = [Measured(_finite(each), 1, "run") for each in found]
        whole = over_runs(rows, [None] * len(rows))[0] if all(arrived) else UNDEFINED
        return Reached(whole, sum(arrived), len(found), float(np.mean(bounded)))

    def points(self, group: Group, *, tuned: bool) -> Interval:
        """Return how far ahead of plain steps a group is at equal rollouts, in points."""
        return group.over_seeds(lambda curve: self._points(group, curve, tuned))

    def _points(self, group: Group, curve: Curve, tuned: bool) -> Interval:
        rate = self.tuned.rate if tuned and self.tuned else group.rate
        if tuned and self.tuned is None:
            return UNDEFINED
        others = [other.results for other in self.by_run.values()]
        for other in plain_runs(curve.results, others):
            beside = self.by_run[id(other)]
            if other.config.algorithm.learning_rate == rate and beside is not curve:
                return points_at_equal_cost(curve, beside)
        return UNDEFINED

    def area(self, group: Group) -> Interval:
        """Return a group's mean accuracy over the rollouts that every run has drawn."""
        return group.over_seeds(lambda curve: _interval(curve.area(self.budget)))


def _finite(value: Interval) -> Interval:
    """An interval whose upper end is open is no end to average: unknown."""
    return value if math.isfinite(value.high) else value._replace(low=math.nan, high=math.nan)


def _interval(values: Array) -> Interval:
    return percentile_interval(float(values[0]), values[1:])


def at_end(group: Group) -> Interval:
    """Return a group's accuracy at its last scored checkpoint."""
    return group.over_seeds(lambda curve: _interval(curve.all[:, -1]))


def benches(study: Study) -> list[Bench]:
    """Return a bench for every base with an arm beside plain steps."""
    by_base: dict[object, list[Cell]] = {}
    for cell in study.trained:
        by_base.setdefault(cell.base, []).append(cell)
    found = [_bench(cells) for cells in by_base.values() if any(_is_arm(cell) for cell in cells)]
    return [bench for bench in found if bench is not None]


def _is_arm(cell: Cell) -> bool:
    return cell.arm.kind != PLAIN


def _bench(cells: Sequence[Cell]) -> Bench | None:
    drawn = {id(curve.results): curve for curve in curves([cell.results for cell in cells])}
    here = [cell for cell in cells if id(cell.results) in drawn and cell.learning_rate]
    if not here:
        return None
    by_arm: dict[tuple[Arm, float], list[Cell]] = {}
    for cell in here:
        by_arm.setdefault((cell.arm, cell.learning_rate or 0.0), []).append(cell)
    groups = [
        Group(arm, rate, tuple(of), tuple(drawn[id(cell.results)] for cell in of))
        for (arm, rate), of in by_arm.items()
    ]
    groups.sort(key=lambda group: (group.arm.kind != PLAIN, group.arm.words, group.rate))
    plain = [group for group in groups if group.arm.kind == PLAIN]
    rate = tuned_rate(cell.results for group in plain for cell in group.cells)
    return Bench(tuple(groups), next((each for each in plain if each.rate == rate), None))


@once_per_run
def kl_to_base(results: Results) -> float:
    """Return KL(trained ‖ base) a token of the base's answers; NaN if it was not measured."""
    table = results.behaviour("function")
    if table is None or not has(table, "kl_to_base"):
        return math.nan
    rows = equal(table, writer="base")
    return mean(equal(rows, step=results.final_step), "kl_to_base")


def of_scores(results: Results, column: str, split: str) -> float:
    """Return the mean of a column of the last checkpoint's scores over a split's benchmarks."""
    scores, final = results.tables["scores"], results.final_step
    if scores is None or final is None or column not in scores:
        return math.nan
    return mean(equal(scores, model=str(ModelId.checkpoint(final)), split=split), column)


def mean_over(group: Group, of: Callable[[Results], float]) -> float:
    """Return the mean over the runs that have a value; NaN if none has."""
    found = [value for cell in group.cells if not math.isnan(value := of(cell.results))]
    return float(np.mean(found)) if found else math.nan


def names(groups: Iterable[Group]) -> tuple[str, ...]:
    """Return the names of the runs behind groups."""
    return tuple(cell.name for group in groups for cell in group.cells)
