"""Accuracy against what it cost, of runs that answered the same questions, and when it arrives.

The checkpoints of `scoring.ladder` answer the benchmarks of the training domain. A level counts as
reached where the rising fit of these accuracies reaches it (`statistics.rising`), so that neither a
lucky checkpoint nor a peak that is lost again counts. All runs are resampled with the same
questions.

Legend: L scored checkpoints with the base, draws resamples of the questions.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlvr_dynamics.results.accounts import AXES, spent
from rlvr_dynamics.results.arms import PLAIN, arm_of
from rlvr_dynamics.results.frames import known, mean, select
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import paired_across, steps_of
from rlvr_dynamics.schema.model_id import REAL, ModelId
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval
from rlvr_dynamics.statistics.rising import (
    first_reach,
    mean_until,
    rising_fit,
    weights_at,
    with_never,
)

Array = NDArray[np.float64]
TARGETS = (0.5, 0.8, 0.95, 1.0)
"""Shares of a gain whose arrival is timed."""
LAST_PART = 2 / 3  # where the validations begin that choose among learning rates


@dataclass(frozen=True, eq=False)
class Curve:
    """One run's accuracies and what each of its checkpoints had cost.

    Attributes:
        results: The run.
        steps: Of the checkpoints, 0 for the base, shape (L,).
        costs: By key of `AXES`, shape (L,), rising.
        accuracies: Shape (L,), fractions.
        draws: The same under resampled questions, shape (draws, L).
        questions: Number of questions.
    """

    results: Results
    steps: Array
    costs: dict[str, Array]
    accuracies: Array
    draws: Array
    questions: int

    @property
    def all(self) -> Array:
        """The accuracies, then those under resampled questions, shape (1 + draws, L)."""
        return np.concatenate([self.accuracies[None], self.draws])

    def level(self, share: float) -> Array:
        """Return the base's accuracy plus a share of the gain, shape (1 + draws,).

        The gain is what the rising fit ends with, less the base.
        """
        base, end = self.all[:, 0], rising_fit(self.all)[:, -1]
        return base + share * (end - base)

    def reaches(self, level: Array, axis: str) -> Array:
        """Return the cost at which levels are reached, shape (1 + draws,); infinite if never."""
        return first_reach(self.costs[axis], rising_fit(self.all), level)

    def at(self, cost: float, axis: str = "rollouts") -> Array:
        """Return the accuracy at a cost, on lines between checkpoints, shape (1 + draws,)."""
        return self.all @ weights_at(self.costs[axis], cost)

    def area(self, cost: float, axis: str = "rollouts") -> Array:
        """Return the mean accuracy up to a cost, shape (1 + draws,)."""
        return mean_until(self.costs[axis], self.all, cost)


def curves(runs: Sequence[Results]) -> list[Curve]:
    """Return the curves of runs that answered the same questions; others are left out.

    Args:
        runs: Runs of one base; the first draws the resamples.
    """
    costed = [(run, found) for run in runs if (found := spent(run)) is not None]
    ladders = [(run, found, [0, *steps_of(run, REAL)]) for run, found in costed]
    ladders = [each for each in ladders if len(each[2]) > 2]
    if not ladders:
        return []
    common = set.intersection(*(set(run.benchmarks("in_domain")) for run, _, _ in ladders))
    named = [(run, _model(step)) for run, _, steps in ladders for step in steps]
    paired = paired_across(named, sorted(common))
    if paired is None:
        return []
    ends = np.cumsum([len(steps) for _, _, steps in ladders])[:-1]
    means = np.split(paired.means, ends)
    draws = np.split(paired.paired.draws, ends, axis=1)
    return [
        Curve(
            run,
            np.array(steps, dtype=np.float64),
            {axis: np.array([found.until(axis, step) for step in steps]) for axis in AXES},
            own,
            drawn,
            paired.questions,
        )
        for (run, found, steps), own, drawn in zip(ladders, means, draws, strict=True)
    ]


def _model(step: int) -> ModelId:
    return ModelId.checkpoint(step) if step else ModelId.base()


def plain_runs(results: Results, others: Iterable[Results]) -> list[Results]:
    """Return the runs of plain steps that a run is compared with: same base, batch and seed."""
    return [
        other
        for other in others
        if arm_of(other.config).kind == PLAIN and _setting(other) == _setting(results)
    ]


def _setting(results: Results) -> tuple[object, ...]:
    config = results.config
    return (
        *(config.model.name, config.algorithm.name, config.data.kind, config.data.reward),
        *(results.base_seed, results.seed, config.trainer.steps, config.data.shuffle_answers),
        *(config.trainer.prompts_per_step, config.algorithm.group_size),
    )


def tuned_rate(plain: Iterable[Results]) -> float | None:
    """Return the learning rate with the best validation problems; None without a validation.

    Per rate the mean over its runs of verl's validations in the last third of the training. Of
    equals it is the lowest.
    """
    by_rate: dict[float, list[float]] = {}
    for run in plain:
        rate, value = run.config.algorithm.learning_rate, validated(run)
        if rate is not None and not math.isnan(value):
            by_rate.setdefault(rate, []).append(value)
    found = [(float(np.mean(values)), -rate) for rate, values in by_rate.items()]
    return -max(found)[1] if found else None


def validated(results: Results) -> float:
    """Return the mean accuracy of the validations in the last third; NaN without one."""
    metrics, column = results.tables["metrics"], "validation/acc_exact"
    if metrics is None or column not in metrics or results.final_step is None:
        return math.nan
    rows = known(metrics, column)
    return mean(select(rows, rows["step"] >= LAST_PART * results.final_step), column)


def time_to(curve: Curve, level: Array, axis: str) -> Interval:
    """Return the cost of a level with its interval over questions; infinite ends: never."""
    found = curve.reaches(level, axis)
    return with_never(float(found[0]), found[1:])


@dataclass(frozen=True)
class SpeedUp:
    """How many times cheaper one run gets where another does.

    Attributes:
        value: Cost of the other over this run's. Where this run never arrives, the most that it
            could be: it had not arrived by its end.
        arrives: Whether this run arrives.
        cost: This run's, infinite if it never arrives.
        reference: The other's.
    """

    value: Interval
    arrives: bool
    cost: float
    reference: float


def speed_up(
    mine: Curve,
    other: Curve,
    share: float = 0.95,
    axis: str = "rollouts",
    predicted_after: int | None = None,
) -> SpeedUp:
    """Compare the costs of a share of the gain of the other run.

    Args:
        mine: A run.
        other: What it is compared with, on the same questions; its own gain sets the level.
        share: Share of that gain.
        axis: A key of `AXES`.
        predicted_after: Where a run jumps once to what the other is to end with: the last step
            before it. Then the other costs its whole training, and what the first scored
            checkpoint behind the jump reaches, the jump reached: no earlier one could show it.
    """
    level = other.level(share)
    gains = other.level(1.0) - other.level(0.0)
    reference, cost = other.reaches(level, axis), mine.reaches(level, axis)
    end = mine.costs[axis][-1]
    if predicted_after is not None:
        reference = np.where(np.isnan(reference), math.nan, other.costs[axis][-1])
        behind = mine.steps > predicted_after
        first, last = mine.costs[axis][behind].min(initial=end), mine.costs[axis][~behind].max()
        before = spent_before(mine.results, axis, predicted_after)
        cost = np.where((last < cost) & (cost <= first), before, cost)
    if gains[0] <= 0 or np.isnan(reference[0]):
        return SpeedUp(UNDEFINED, False, math.nan, math.nan)
    arrived = np.isfinite(cost)
    with np.errstate(divide="ignore", invalid="ignore"):
        most = reference / np.where(arrived, cost, end)
        least = np.where(arrived, most, 0.0)
    # A resample without a gain, or with a level below the base, says nothing of when it comes.
    usable = (gains > 0) & np.isfinite(most)
    low = with_never(float(most[0]), least[1:][usable[1:]]) if usable[1:].any() else UNDEFINED
    high = with_never(float(most[0]), most[1:][usable[1:]]) if usable[1:].any() else UNDEFINED
    return SpeedUp(
        Interval(float(most[0]), low.low, high.high),
        bool(arrived[0]),
        float(cost[0]),
        float(reference[0]),
    )


def spent_before(results: Results, axis: str, step: int) -> float:
    """Return what a run had spent when it had trained a step; NaN if that is not known."""
    found = spent(results)
    return math.nan if found is None else found.until(axis, step)


def points_at_equal_cost(mine: Curve, other: Curve) -> Interval:
    """Return how many points a run is ahead once both have drawn as many rollouts.

    That many is what the run that drew fewer had drawn at its end.
    """
    cost = min(float(each.costs["rollouts"][-1]) for each in (mine, other))
    found = 100 * (mine.at(cost) - other.at(cost))
    return with_never(float(found[0]), found[1:])
