"""Whether answers to held-out problems say that a jump helped, and how many of them that takes.

The same problems are answered before and after, so the unit is the problem's difference of mean
scores. The gain is accepted only if its lower end at level / tried is above 0
(`rlvr_dynamics.statistics.bounded_mean`): the level is held for few problems, for gains and losses
of different size and where hardly an answer differs, which a t interval does not do. For one answer
a problem it is McNemar's exact test. Candidates of one firing are corrected for by Bonferroni.
A candidate that is surely worse on a part of the problems need not answer the rest: this can only
lower the chance of accepting one that does not help. Acceptance takes all problems.

Legend: n problems, k answers to each, g the true gain, V the variance of a problem's difference.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.statistics.bounded_mean import mean_lower_bound
from rlvr_dynamics.statistics.sample_size import BETWEEN_ANSWERS

RULES = ("lower_bound", "better")
LOOKS = (4, 2, 1)
"""Every fourth problem is asked first, then every second and then all."""
SURELY_WORSE = 3
"""A rejection of a candidate that is surely worse counts as so many, where a gate backs off."""
POWER = 0.8
MOST_BETWEEN_ANSWERS = 1 / 4
"""Largest variance between answers to one problem: all have a chance of one half."""
MOST_PROBLEMS = 10**7


@dataclass(frozen=True)
class Decision:
    """What the answers say about one candidate.

    Attributes:
        gain: Mean score after minus before.
        lower: Lower end of the gain's one-sided interval, at level / tried.
        upper: Upper end of the one-sided interval in the other direction, at the same level.
        accepted: Whether the candidate is kept.
        problems: n.
        answers: k.
        changed: Problems whose mean score differs.
    """

    gain: float
    lower: float
    upper: float
    accepted: bool
    problems: int
    answers: int
    changed: int

    @property
    def worse(self) -> bool:
        """Whether the candidate is surely worse."""
        return self.upper < 0.0


def looks(problems: int, rule: str) -> list[NDArray[np.bool_]]:
    """Return which problems are answered at each look, all at the last.

    Args:
        problems: n.
        rule: As for `decide`; `better` is a published rule and has one look, as published.

    Returns:
        Arrays of shape (n,), each a superset of the one before.
    """
    strides = [each for each in LOOKS if problems > each and rule == "lower_bound"] or [1]
    return [np.arange(problems) % each == 0 for each in strides]


def decide(
    before: ArrayLike,
    after: ArrayLike,
    *,
    level: float = 0.05,
    tried: int = 1,
    rule: str = "lower_bound",
    span: tuple[float, float] = (0.0, 1.0),
) -> Decision:
    """Compare a candidate with the present weights on the same problems.

    Args:
        before: Scores of the present weights, shape (n, k).
        after: Scores of the candidate, shape (n, k), of the same problems in the same order.
        level: Chance of accepting any candidate of the firing that does not help, at most.
        tried: Candidates among which the level is divided.
        rule: `lower_bound`; or `better`, which accepts a strictly higher mean, as EffOPD
            (arXiv 2605.11739) does, and holds no level.
        span: Smallest and largest possible score.

    Raises:
        UserError: A score is not finite or outside the span.
        ValueError: The shapes differ or there is no score, or rule, level or tried is none.
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(f"scores of shapes {first.shape} and {second.shape} cannot be paired")
    if rule not in RULES or not 0.0 < level < 0.5 or tried < 1:
        raise ValueError(f"no gate has rule {rule}, level {level} and {tried} candidates")
    low, high = span
    for name, scores in (("before", first), ("after", second)):
        if not np.all((scores >= low) & (scores <= high)):
            raise UserError(
                f"a score {name} the jump is not a number from {low:g} to {high:g}",
                where="acceleration.gate",
                way_out="correct the reward function, or use acceleration.gate.kind=backtest",
            )
    # Sums of equal scores are equal, so no pair differs by rounding alone.
    paired = (np.sort(second, axis=1).sum(axis=1) - np.sort(first, axis=1).sum(axis=1)) / (
        first.shape[1] * (high - low)
    )
    paired = np.clip(paired, -1.0, 1.0)
    lower = mean_lower_bound(paired, -1.0, level / tried) * (high - low)
    upper = -mean_lower_bound(-paired, -1.0, level / tried) * (high - low)
    gain = float(paired.mean()) * (high - low)
    return Decision(
        gain=gain,
        lower=lower,
        upper=upper,
        accepted=lower > 0.0 if rule == "lower_bound" else gain > 0.0,
        problems=first.shape[0],
        answers=first.shape[1],
        changed=int(np.count_nonzero(paired)),
    )


def detected_gain(
    problems: int,
    answers: int,
    *,
    level: float = 0.05,
    tried: int = 1,
    power: float = POWER,
    alike: bool = False,
) -> float:
    """Return the smallest gain that the gate accepts with a given chance; at most 1.

    Args:
        problems: n.
        answers: k.
        level: As for `decide`.
        tried: As for `decide`.
        power: Chance of acceptance.
        alike: Whether all problems gain the same, and not some of them everything (`_variance`).

    Returns:
        A difference of mean scores between 0 and 1; 1 also where no gain would be found.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if _suffices(problems, middle, _variance(middle, answers, alike), level / tried, power):
            high = middle
        else:
            low = middle
    return high


def problems_needed(
    gain: float,
    answers: int,
    *,
    level: float = 0.05,
    tried: int = 1,
    power: float = POWER,
    alike: bool = False,
) -> int:
    """Return the fewest problems with which the gate accepts a gain with a given chance.

    Args:
        gain: Difference of mean scores, above 0 and at most 1.
        answers: k.
        level: As for `decide`.
        tried: As for `decide`.
        power: Chance of acceptance.
        alike: As for `detected_gain`.

    Raises:
        ValueError: The gain is not above 0 and at most 1, or too small for ten million problems.
    """
    variance = _variance(gain, answers, alike)
    if not 0.0 < gain <= 1.0 or not _suffices(MOST_PROBLEMS, gain, variance, level / tried, power):
        raise ValueError(f"no number of problems is enough for a gain of {gain}")
    low, high = 0, MOST_PROBLEMS
    while high - low > 1:
        middle = (low + high) // 2
        if _suffices(middle, gain, variance, level / tried, power):
            high = middle
        else:
            low = middle
    return high


def _variance(gain: float, answers: int, alike: bool) -> float:
    """Return V, the variance of a problem's difference: d² + 2 v / k (`statistics/sample_size.py`).

    The pessimistic one is that of a gain from problems that were never solved and now always are,
    d² = g (1 - g), while all others have the largest v, 1/4. If all problems gain alike, d = 0, and
    v = 1/6 for problems of every difficulty.
    """
    if alike:
        return 2.0 * BETWEEN_ANSWERS / answers
    return (1.0 - gain) * (gain + 2.0 * MOST_BETWEEN_ANSWERS / answers)


def _suffices(problems: int, gain: float, variance: float, level: float, power: float) -> bool:
    """Return whether n problems are enough, by the normal law.

    The bound has one more observation, at -1, so acceptance asks for n g - 1 above
    z_level sqrt(n (V + g²) + 1) + z_power sqrt(n V).
    """
    normal = NormalDist()
    wanted = normal.inv_cdf(1.0 - level) * math.sqrt(problems * (variance + gain**2) + 1.0)
    wanted += normal.inv_cdf(power) * math.sqrt(problems * variance)
    return problems * gain - 1.0 >= wanted
