"""Whether answers to held-out problems say that a jump helped, and how many of them that takes.

The same problems are answered before and after, so the unit is the problem's difference of mean
scores. The gain is accepted only if its lower end at a share of level / tried is above 0
(`rlvr_dynamics.statistics.bounded_mean`): the level is held for few problems, for gains and losses
of different size and where hardly an answer differs, which a t interval does not do. For one answer
a problem it is McNemar's exact test. Candidates of one firing are corrected for by Bonferroni.

A part of the problems is asked first (`looks`). A candidate that is not ahead there is rejected
without the rest, which can only lower the chance of accepting one that does not help; one that is
ahead by so much that a small share of the level suffices is accepted without the rest. The shares
of all looks add up to 1, so the level holds whatever the looks have in common.

Source: early looks at a strict level are Haybittle's (1971, Br. J. Radiol. 44, 793-797) and Peto's
(1976, Br. J. Cancer 34, 585-612); to stop at what is not ahead is ours.

Legend: n problems, k answers to each, g the true gain, V the variance of a problem's difference.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.statistics.bounded_mean import mean_lower_bound
from rlvr_dynamics.statistics.sample_size import BETWEEN_ANSWERS

RULES = ("lower_bound", "better")
STRIDES = (4, 2, 1)
"""A fourth of the problems is asked first, then half of them and then all."""
EARLY = 0.1
"""Share of the level that each look but the last may spend."""
SURELY_WORSE = 3
"""A rejection of a candidate that is surely worse counts as so many, where a gate backs off."""
POWER = 0.8
MOST_BETWEEN_ANSWERS = 1 / 4
"""Largest variance between answers to one problem: all have a chance of one half."""
MOST_PROBLEMS = 10**7
_LEAST_VARIANCE = 1e-6
_FAR = 8.0  # standard deviations of a sum beyond which nothing lies
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class Decision:
    """What the answers say about one candidate.

    Attributes:
        gain: Mean score after minus before.
        lower: Lower end of the gain's one-sided interval, at share x level / tried.
        upper: Upper end of the one-sided interval in the other direction, at level / tried.
        accepted: Whether the candidate is kept.
        ahead: Whether the gain is above 0.
        problems: n.
        answers: k.
        changed: Problems whose mean score differs.
    """

    gain: float
    lower: float
    upper: float
    accepted: bool
    ahead: bool
    problems: int
    answers: int
    changed: int

    @property
    def worse(self) -> bool:
        """Whether the candidate is surely worse."""
        return self.upper < 0.0


class Look(NamedTuple):
    """One look at the answers.

    Attributes:
        asked: Which problems are answered by then, shape (n,).
        share: Of the level, which it may spend.
    """

    asked: NDArray[np.bool_]
    share: float


def looks(problems: int, rule: str) -> list[Look]:
    """Return the looks at a candidate, each at more problems than the one before, all at the last.

    Which problems a look takes is drawn, once for every n, as neighbours may be alike.

    Args:
        problems: n.
        rule: As for `decide`; `better` is a published rule and has one look, as published.
    """
    strides = _strides(problems) if rule == "lower_bound" else [1]
    drawn = np.random.default_rng(0).permutation(problems)
    return [
        Look(drawn < -(-problems // stride), share)
        for stride, share in zip(strides, _shares(len(strides)), strict=True)
    ]


def _strides(problems: int) -> list[int]:
    return [each for each in STRIDES if problems > each] or [1]


def _shares(count: int) -> list[float]:
    return [EARLY] * (count - 1) + [1.0 - EARLY * (count - 1)]


def decide(
    before: ArrayLike,
    after: ArrayLike,
    *,
    level: float = 0.05,
    tried: int = 1,
    share: float = 1.0,
    rule: str = "lower_bound",
    span: tuple[float, float] = (0.0, 1.0),
) -> Decision:
    """Compare a candidate with the present weights on the same problems.

    Args:
        before: Scores of the present weights, shape (n, k).
        after: Scores of the candidate, shape (n, k), of the same problems in the same order.
        level: Chance of accepting any candidate of the firing that does not help, at most.
        tried: Candidates among which the level is divided.
        share: Of the level, which this look may spend.
        rule: `lower_bound`; or `better`, which accepts a strictly higher mean, as EffOPD
            (arXiv 2605.11739) does, and holds no level.
        span: Smallest and largest possible score.

    Raises:
        UserError: A score is not finite or outside the span.
        ValueError: The shapes differ or there is no score, or rule, level, share or tried
            is out of range.
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(f"scores of shapes {first.shape} and {second.shape} cannot be paired")
    if rule not in RULES or not 0.0 < level < 0.5 or not 0.0 < share <= 1.0 or tried < 1:
        raise ValueError(
            f"no gate has rule {rule}, level {level}, share {share} and {tried} candidates"
        )
    low, high = span
    for name, scores in (("before", first), ("after", second)):
        if not np.all((scores >= low) & (scores <= high)):
            raise UserError(
                f"a score {name} the jump is not a number from {low:g} to {high:g}",
                where="acceleration.gate",
                way_out="correct the reward function, or use acceleration.gate.kind=backtest",
            )
    # Sums of equal scores are equal, so no pair differs by rounding alone.
    change = np.sort(second, axis=1).sum(axis=1) - np.sort(first, axis=1).sum(axis=1)
    paired = np.clip(change / (first.shape[1] * (high - low)), -1.0, 1.0)
    lower = mean_lower_bound(paired, -1.0, share * level / tried) * (high - low)
    upper = -mean_lower_bound(-paired, -1.0, level / tried) * (high - low)
    # From sums of scores and not of their means, so that a tie is exactly 0.
    gain = float(change.sum()) / change.size / first.shape[1]
    return Decision(
        gain=gain,
        lower=lower,
        upper=upper,
        accepted=lower > 0.0 if rule == "lower_bound" else gain > 0.0,
        ahead=gain > 0.0,
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
        variance = _variance(middle, answers, alike)
        if _power(problems, middle, variance, level / tried) >= power:
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
    if not 0.0 < gain <= 1.0 or _power(MOST_PROBLEMS, gain, variance, level / tried) < power:
        raise ValueError(f"no number of problems is enough for a gain of {gain}")
    low, high = 0, MOST_PROBLEMS
    while high - low > 1:
        middle = (low + high) // 2
        if _power(middle, gain, variance, level / tried) >= power:
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


def _power(problems: int, gain: float, variance: float, level: float) -> float:
    """Return the chance that a candidate is accepted at one of the looks, by the normal law.

    At a look at m problems their differences add up to S ~ N(m g, m V). The bound has one more
    observation, at -1, so acceptance asks for S - 1 above z sqrt(m (V + g²) + 1), and between
    0 and that the next look decides. The density of S there is carried from look to look
    (Armitage, McPherson and Rowe 1969, J. R. Stat. Soc. A 132, 235-244).
    """
    normal, strides = NormalDist(), _strides(problems)
    spread = math.sqrt(max(variance, _LEAST_VARIANCE))
    # Sums at the nodes of the look before, and the chances of these.
    sums, chances, asked, total = np.zeros(1), np.ones(1), 0, 0.0
    for stride, share in zip(strides, _shares(len(strides)), strict=True):
        more = -(-problems // stride) - asked
        asked += more
        mean, deviation = sums + more * gain, spread * math.sqrt(more)
        error = math.sqrt(asked * (variance + gain**2) + 1.0)
        wanted = 1.0 + normal.inv_cdf(1.0 - share * level) * error
        above = [normal.cdf(each) for each in (mean - wanted) / deviation]
        total += float(chances @ above)
        middle, reach = asked * gain, _FAR * spread * math.sqrt(asked)
        low, high = max(0.0, middle - reach), min(wanted, middle + reach)
        if low >= high:
            break
        half = (high - low) / 2.0
        nodes = low + half * (_NODES + 1.0)
        steps = (nodes[:, None] - mean) / deviation
        density = np.exp(-steps * steps / 2.0) @ chances / (deviation * math.sqrt(2.0 * math.pi))
        sums, chances = nodes, half * _WEIGHTS * density
    return total
