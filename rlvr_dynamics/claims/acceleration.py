"""Claims that a training gets somewhere sooner because its weights jump, and ours on the gate.

Each paper's number is judged twice: against plain steps at the same learning rate, as the papers
do, and against plain steps at the rate that is best on validation problems.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from rlvr_dynamics.claims.claim import (
    ALPHARL,
    GOOD_ENOUGH,
    RELEX,
    Among,
    Claim,
    Measured,
    Threshold,
)
from rlvr_dynamics.claims.quoted import NOT_PRINTED, Quoted
from rlvr_dynamics.results.accounts import spent
from rlvr_dynamics.results.arms import GATED, LINE_SEARCH, REGROUNDING, arm_of
from rlvr_dynamics.results.curves import curves, plain_runs, speed_up, tuned_rate
from rlvr_dynamics.results.formatting import general, integer, number, percent, scientific
from rlvr_dynamics.results.jumps import jumps_of
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import POINTS, paired_across
from rlvr_dynamics.results.study import Cell
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.system.installation import as_typed_here

SHARE = 0.95  # of the gain of the run compared with, whose arrival is timed
NEEDS = as_typed_here(
    "needs runs with and without jumps from one base with scored checkpoints along the way: "
    "python -m experiments.acceleration"
)
BESIDE = ("updates", "seconds")
_EACH = "rollouts of the plain run over rollouts of this one, each to"
_ONCE = (
    "rollouts of the plain run's whole training over those of this one until it has (at the first "
    "scored checkpoint behind the jump: over those before the jump)"
)
NEAR = 0.02  # how far the share of the steps before the jump may be from the paper's


def _plain(
    results: Results, others: Sequence[Results], *, tuned: bool
) -> tuple[Results | None, str]:
    """Return the plain run that a run is compared with, and what it is."""
    plain = plain_runs(results, others)
    rate = results.config.algorithm.learning_rate
    if tuned:
        # The rate is chosen over all seeds of the base, whatever the seed of this run.
        rate = tuned_rate(each for other in others for each in plain_runs(other, [other]))
    found = [run for run in plain if run.config.algorithm.learning_rate == rate]
    words = "" if rate is None else f"against plain steps at lr {scientific(rate)}"
    return (found[0] if found else None), words


def _sooner(*, tuned: bool, once: bool) -> Among:
    whole = "'s whole training" if once else ""

    def measure(results: Results, _observe: int | None, runs: Sequence[Results]) -> Measured | None:
        other, words = _plain(results, runs, tuned=tuned)
        both = [] if other is None else curves([results, other])
        if len(both) < 2:
            return None
        mine, reference = both
        jump = (arm_of(results.config).settings["when"]["steps"] or [None])[0] if once else None
        found = speed_up(mine, reference, SHARE, predicted_after=jump)
        others = [(axis, speed_up(mine, reference, SHARE, axis, jump)) for axis in BESIDE]
        beside = [f"in {axis} {general(other.value.value)} times" for axis, other in others]
        return Measured(found.value, mine.questions, "questions").noted(
            words,
            f"there after {integer(found.cost)} rollouts, the other{whole} after "
            f"{integer(found.reference)}"
            if found.arrives
            else f"not there within {integer(mine.costs['rollouts'][-1])} rollouts, so this is the "
            "most that it can be",
            *beside,
        )

    return measure


def _fits(kind: str, also: Callable[[Cell], bool] = lambda cell: True) -> Callable[[Cell], bool]:
    return lambda cell: cell.arm.kind == kind and also(cell)


def _once_at(share: float, clock: str = "step") -> Callable[[Cell], bool]:
    """Whether a run jumps to the end of the training, once, after a share of its steps."""

    def fits(cell: Cell) -> bool:
        settings, steps = cell.arm.settings, cell.results.config.trainer.steps
        at = settings["when"]["steps"] or ()
        near = len(at) == 1 and abs(at[0] / steps - share) <= max(NEAR, 1 / steps)
        return near and settings["how_far"]["to_end"] and settings["clock"] == clock

    return fits


def _ratio_of_six(cell: Cell) -> bool:
    """Whether a cycle goes six times as far as its steps, as the paper's (20, 100)."""
    return math.isclose(cell.arm.settings["how_far"]["factor"], 6.0)


def _pair(
    id: str,
    paper: str,
    words: str,
    source: str,
    times: float,
    printed: Quoted,
    fits: Callable[[Cell], bool],
    *,
    once: bool = False,
) -> list[Claim]:
    """Return a claim against plain steps at the same rate, and the same at the tuned one."""
    kinds = (
        ("", False, "at the same learning rate"),
        ("t", True, "at the rate that is best on validation problems"),
    )
    return [
        Claim(
            f"{id}{ending}",
            "ours" if tuned else paper,
            f"{words}, compared with plain steps {beside}.",
            f"ours, of {source}" if tuned else source,
            f"{_ONCE if once and not tuned else _EACH} {SHARE:.0%} of the plain run's gain (rising "
            "fit of the scored checkpoints; validation for a gate counts)",
            Threshold("≥", times, "", "times fewer"),
            needs=NEEDS,
            among=_sooner(tuned=tuned, once=once and not tuned),
            printed=NOT_PRINTED if tuned else printed,
            fits=fits,
            bounds=(0.0, math.inf),
        )
        for ending, tuned, beside in kinds
    ]


def _as_good(results: Results, _observe: int | None, others: Sequence[Results]) -> Measured | None:
    """Compare a gated run's last checkpoint with the plain run's of as many steps."""
    other, words = _plain(results, others, tuned=False)
    final, costs = results.final_step, spent(results)
    if other is None or final is None or costs is None:
        return None
    last = ModelId.checkpoint(final)
    paired = paired_across([(results, last), (other, last)], results.benchmarks("in_domain"))
    if paired is None:
        return None
    jumps = jumps_of(results.run_dir)
    asked = sum(jump.rollouts for jump in jumps)
    share = percent(asked / costs.until("rollouts", final))
    return Measured(paired.compare(POINTS), paired.questions, "questions").noted(
        words,
        f"firings: {len(jumps)}, jumps tried: {sum(jump.tried > 0 for jump in jumps)}, "
        f"kept: {sum(jump.accepted for jump in jumps)}",
        f"{integer(asked)} rollouts were asked by the gate, {share} of all",
    )


def _declined(results: Results, _observe: int | None) -> Measured | None:
    jumps, costs = jumps_of(results.run_dir), spent(results)
    if not jumps or costs is None or any(jump.accepted for jump in jumps):
        return None
    extra = sum(jump.all_seconds for jump in jumps)
    share = extra / (float(costs.seconds.sum()) - extra)
    exact = Interval(share, math.nan, math.nan)
    return Measured(exact, len(jumps), "firings", spread=True)


def _in_steps(results: Results, _observe: int | None) -> Measured | None:
    jumps = [jump for jump in jumps_of(results.run_dir) if jump.tried]
    costs = spent(results)
    longest = max((jump.seconds["search"] for jump in jumps), default=math.nan)
    if costs is None or math.isnan(longest):
        return None
    step = float(np.median(costs.seconds))
    exact = Interval(longest / step, math.nan, math.nan)
    return Measured(exact, len(jumps), "tried jumps", spread=True).noted(
        f"{number(longest)} s beside a median step of {number(step)} s"
    )


CLAIMS = [
    *_pair(
        "A15",
        "alpharl",
        "A jump by AlphaRL after 40 % of the steps makes training 2.5 times cheaper",
        f"{ALPHARL}, abstract",
        2.5,
        Quoted(2.5, "abstract: over 96 % of the performance after 40 % of the steps"),
        _fits("alpharl", _once_at(0.4)),
        once=True,
    ),
    *_pair(
        "B14",
        "relex",
        "A jump by RELEX after 15 % of the steps makes training 6.7 times cheaper",
        f"{RELEX}, abstract",
        1 / 0.15,
        Quoted(1 / 0.15, "abstract: the trained model from 15 % of the steps"),
        _fits("relex", _once_at(0.15)),
        once=True,
    ),
    *_pair(
        "F12",
        "follow_up",
        "Periodic re-grounding, six times as far in each cycle as its steps, is 6.1 times cheaper",
        "arXiv 2601.04537",
        6.1,
        Quoted(
            6.1,
            "figure 6: 180 steps instead of 1,100 to an AIME24 of 0.38, one run; at 0.40 it does "
            "not arrive",
        ),
        _fits(REGROUNDING, _ratio_of_six),
    ),
    *_pair(
        "F13",
        "follow_up",
        "NExt saves 37.5 % of the training",
        "arXiv 2604.11446",
        1.6,
        Quoted(1.6, "250 steps instead of 400"),
        _fits("next"),
    ),
    *_pair(
        "F14",
        "follow_up",
        "EffOPD's line search at powers of two makes training 3 times cheaper",
        "arXiv 2605.11739, of on-policy distillation",
        3.0,
        Quoted(3.0, "abstract; the search is not counted"),
        _fits(LINE_SEARCH),
    ),
    Claim(
        "O2",
        "ours",
        "With acceleration=gated a run is not worse than plain steps, beyond the answers that the "
        "gate asked for.",
        "ours",
        "accuracy(gated) − accuracy(plain) after as many steps at the same rate, in domain",
        GOOD_ENOUGH,
        needs=NEEDS,
        among=_as_good,
        fits=_fits(GATED),
    ),
    Claim(
        "O3",
        "ours",
        "A gate that keeps no jump costs at most 5 % more wall time.",
        "ours",
        "seconds of all firings / seconds of all else",
        Threshold("≤", 0.05, about="share of all else"),
        needs="needs a run with acceleration=gated that kept no jump",
        measure=_declined,
        fits=_fits(GATED),
    ),
    Claim(
        "O4",
        "ours",
        "A jump costs less wall time than a step of training.",
        "ours",
        "seconds of the longest jump, without answers for a gate, over the median step's",
        Threshold("≤", 1.0, about="steps"),
        needs="needs a run with jumps",
        measure=_in_steps,
        fits=lambda cell: cell.arm.jumps,
    ),
]
