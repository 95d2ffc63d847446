"""A claim: its words, threshold, rules and measurement. Verdicts are made in `judge`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlvr_dynamics.claims.quoted import NOT_PRINTED, Quoted
from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.formatting import MINUS, interval, number, share_of_training
from rlvr_dynamics.results.kinds import KINDS
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import Cell
from rlvr_dynamics.statistics.intervals import Interval

ALPHARL = "Predictability of RL dynamics, arXiv 2510.00553"
RELEX = "RELEX, arXiv 2605.21468"
PAPERS = {
    "both": "both papers",
    "alpharl": "AlphaRL",
    "relex": "RELEX",
    "follow_up": "other papers",
    "ours": "ours",
}
SHARE, AT_MOST_ONE = (0.0, 1.0), (-math.inf, 1.0)
CONTRASTS = frozenset(KINDS) - {"dapo"}  # the methods in AlphaRL's tables that are not RLVR
RELEASED_CONTRASTS = frozenset(KINDS[name].release for name in CONTRASTS) - {""}


@dataclass(frozen=True)
class Threshold:
    """The threshold of a claim, and the unit of every value compared with it.

    Attributes:
        sign: `>`, `≥` or `≤`.
        value: The threshold.
        unit: `points` of accuracy, `%`, or empty for a plain number.
        about: What a reader must know about the threshold.
        also: Second part of the claim: most units lie above their own null.
    """

    sign: str
    value: float
    unit: str = ""
    about: str = ""
    also: str = ""

    def __str__(self) -> str:
        """Return the threshold as readers see it."""
        text = f"{self.sign} {self.value:g} {self.unit}".rstrip().replace("-", MINUS)
        text += f" ({self.about})" if self.about else ""
        return f"{text}, and {self.also}" if self.also else text

    def met(self, value: Any) -> Any:
        """Whether a value, or each of an array's, meets it."""
        if self.sign == "≤":
            return value <= self.value
        return value > (self.value - 1e-9 if self.sign == "≥" else self.value)

    def number(self, value: float) -> str:
        """Format a value: points with a sign and one decimal, everything else with three."""
        points = self.unit == "points"
        return number(value, 1 if points else 3, signed=points)

    def interval(self, low: float, high: float) -> str:
        """Format an interval, with its ends written like values."""
        points = self.unit == "points"
        return interval(low, high, 1 if points else 3, signed=points)


POSITIVE = Threshold(">", 0, "points")
# A stand-in that is at most this many points worse still counts as equally good.
GOOD_ENOUGH = Threshold(">", -2, "points", "non-inferiority margin")


@dataclass(frozen=True)
class Measured:
    """What a run says about a claim, as numbers.

    Attributes:
        value: The value with its 95 % interval, or with its `spread`; NaN where it is undefined (a
            share of no gain).
        n: Number of units behind the value.
        n_unit: What a unit is.
        null: The same statistic for the null or the control model.
        above: Number of units above the upper end of their own null, and number of units.
        facts: What a reader should know about the numbers.
        observe: Last observed step of the window, None for a claim without windows.
        spread: Whether the units are all there are, the tensors of one run, and no sample of more.
            The value is then exact for this run, and its ends are the quartiles over the units.
        rival: The same statistic for the control of equal cost; NaN where there is none.
    """

    value: Interval
    n: int
    n_unit: str
    null: float = math.nan
    above: tuple[int, int] | None = None
    facts: tuple[str, ...] = ()
    observe: int | None = None
    spread: bool = False
    rival: float = math.nan

    def noted(self, *facts: str) -> "Measured":
        """Return a copy with further facts; empty ones are dropped."""
        return replace(self, facts=(*self.facts, *(fact for fact in facts if fact)))

    @property
    def defined(self) -> bool:
        """Whether the value is known."""
        return not math.isnan(self.value.value)


Measure = Callable[[Results, int | None], Measured | None]
"""Measures a run, given a window's last observed step; None if its tables lack what is needed."""
Among = Callable[[Results, int | None, Sequence[Results]], Measured | None]
"""The same of a run among the other runs of its study."""


def by_rl(cell: Cell) -> bool:
    """Whether a run was trained by reinforcement learning, and by nothing else."""
    return not by_other_means(cell) and not cell.arm.jumps


def by_other_means(cell: Cell) -> bool:
    """Whether a run uses one of the papers' contrast methods (fine-tuning, distillation)."""
    # A released model is classified by its name: its configured algorithm did not train it.
    published = cell.results.config.source.published
    release = published.repo.rpartition("/")[2] if published else ""
    return cell.algorithm in CONTRASTS or release in RELEASED_CONTRASTS


def by_rl_of_every_weight(cell: Cell) -> bool:
    """Whether RL trained the weights themselves: LoRA's updates have a low rank in any case."""
    return by_rl(cell) and cell.results.config.algorithm.lora is None


@dataclass(frozen=True, eq=False)
class Claim:
    """One claim of a paper, or one of ours.

    Attributes:
        id: Short name: `P..` preconditions, `A..` AlphaRL, `B..` RELEX, `F..` other papers,
            `O..` ours alone.
        paper: A key of `PAPERS`.
        words: The statement, in plain words.
        source: Paper and place.
        statistic: What is computed.
        threshold: What the statistic is compared with.
        needs: What a run lacks when the claim cannot be measured.
        measure: How it is measured.
        lacks: Why a run whose tables are there cannot be measured; empty for `needs`.
        windows: Shares of the training, in order of preference; the first one a run has is used.
        printed: What the paper prints, in the unit of the statistic.
        among: How it is measured where the other runs of a study matter, in place of `measure`.
        needs_gain: Whether it is about accuracy, so that runs that learned nothing do not count.
        needs_level: Whether it is about the fully trained model, so that it cannot hold where the
            accuracy had not levelled off.
        null_counts: Whether it cannot hold if its null or control model passes too.
        control_counts: Whether it cannot hold if a control run (shuffled rewards) passes too.
        fits: Which runs it is about.
        bounds: Smallest and largest possible value of the statistic.
    """

    id: str
    paper: str
    words: str
    source: str
    statistic: str
    threshold: Threshold
    needs: str
    measure: Measure = lambda _results, _observe: None
    lacks: Callable[[Results], str] = lambda _results: ""
    windows: tuple[float, ...] = ()
    printed: Quoted = NOT_PRINTED
    among: Among | None = None
    needs_gain: bool = False
    needs_level: bool = False
    null_counts: bool = False
    control_counts: bool = False
    fits: Callable[[Cell], bool] = by_rl
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def limits(self) -> tuple[float, float]:
        """`bounds`; a difference of accuracies is at most 100 points either way."""
        low, high = self.bounds
        return (
            (max(low, -100.0), min(high, 100.0)) if self.threshold.unit == "points" else (low, high)
        )

    def of(self, results: Results, others: Sequence[Results] = ()) -> Measured | None:
        """Measure the claim on one run, at the first window with a value.

        Args:
            results: The run.
            others: The runs of its study.
        """
        if (among := self.among) is None:
            return _once(results, self)
        return _measured(results, self, lambda run, observe: among(run, observe, others))


@once_per_run
def _once(results: Results, claim: Claim) -> Measured | None:
    return _measured(results, claim, claim.measure)


def _measured(results: Results, claim: Claim, measure: Measure) -> Measured | None:
    if not claim.windows:
        return measure(results, None)
    undefined = None
    for share in claim.windows:
        observe, final = results.window_near(share), results.final_step
        found = None if observe is None else measure(results, observe)
        if found is None or observe is None or final is None:
            continue
        window = f"step {observe} of {final} ({share_of_training(observe, final)})"
        found = replace(found, observe=observe, facts=(window, *found.facts))
        if found.defined:
            return found
        undefined = undefined or found
    return undefined
