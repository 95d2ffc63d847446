"""Would the jump have come closer than holding the weights, had it been made inside the window?

A jump from the anchor through the present weights is repeated at earlier cut points c: the line
through the state as many steps before c and through W_c is continued over h steps, to
A + f (W_c - A), and compared with W_{c+h}, which is known. Only steps up to c are used for f. The
skill is 1 - SSE / SSE_hold with SSE_hold = ‖W_{c+h} - W_c‖². It costs no rollouts: everything
follows from the Gram matrix of the steps, which their sketches estimate.

Two errors are in the interval. The sketch's: for Gram matrices G of sketches of length m, squared
lengths tr(P G) have covariances 2 tr(P G Q G) / m, and the ratio's error follows by the delta
method. And that of the cut points: a jackknife, as some stretches of a training are straighter
than others. The quantile is the normal one, which is rough for two or three cuts; the backtest
decides only whether to spend rollouts, and the gate decides whether to keep a jump.

Source: ours.

Legend: T known steps; m steps of the jump's line; P, Q quadratic forms of the rows that jumps use.
"""

import math
from dataclasses import dataclass

import numpy as np

from rlvr_dynamics.acceleration.horizon import factor_ahead
from rlvr_dynamics.dynamics import even_spacing, step_lengths
from rlvr_dynamics.statistics.intervals import normal_quantile

CUTS = 3


@dataclass(frozen=True)
class Cut:
    """One jump that could have been made.

    Attributes:
        anchor: Step at which its line begins.
        step: c, its step.
        target: c + h, the step that it aims at.
        factor: f, from the steps up to c.
        skill: 1 - SSE / SSE_hold of this cut alone.
        remark: Why it is not on the clock that was asked for; empty if it is.
    """

    anchor: int
    step: int
    target: int
    factor: float
    skill: float
    remark: str


@dataclass(frozen=True)
class Backtest:
    """Jumps of a window against holding; NaN where there is no cut point or nothing moved.

    Attributes:
        skill: 1 - SSE / SSE_hold over all cuts: 1 is a perfect jump, 0 as good as holding.
        standard_error: Of the skill, from the sketch and from the cuts.
        lower: Lower end of the skill's one-sided interval.
        scale: λ, by which the moves should have been multiplied to come closest.
        best_skill: The skill with that λ, which was chosen with hindsight.
        cuts: The jumps, the latest first.
    """

    skill: float
    standard_error: float
    lower: float
    scale: float
    best_skill: float
    cuts: tuple[Cut, ...]

    @property
    def worth_trying(self) -> bool:
        """Whether the skill's lower end is above 0; without a cut point it is not."""
        return self.lower > 0.0


def backtest(
    steps: np.ndarray,
    gram: np.ndarray,
    horizon: int,
    *,
    clock: str = "step",
    anchor: int | None = None,
    before: np.ndarray | None = None,
    size: int | None = None,
    level: float = 0.05,
    most: int = CUTS,
) -> Backtest:
    """Ask the steps so far whether the line from the anchor beats holding.

    Cut points are `horizon` steps apart, the latest `horizon` before the present. A line is as long
    as the jump's, or begins at the origin. Where it is shorter than half the jump's, only the
    latest cut counts: a line through few steps is not the jump's.

    Args:
        steps: Known steps, shape (T,), evenly spaced; the last is the present one.
        gram: Inner products of W_s - W_o over these steps, shape (T, T), float64, with the origin o
            one spacing before the first. No jump lies between. Of sketches: `trajectory_gram` of
            their differences.
        horizon: h, a multiple of the spacing, for example of `backtest_horizon`.
        clock: `step` or `path`.
        anchor: Step at which the jump's line begins: o, or one of `steps`; None for o.
        before: Lengths of the steps up to o, one a spacing, from step 0 on, shape (n,), for the
            path clock; None where the path begins at o.
        size: Length of the sketches; None for exact inner products.
        level: Of the one-sided interval.
        most: Most cut points.

    Raises:
        ValueError: The steps are uneven, the anchor is none of them, the horizon is no multiple of
            their spacing, or `before` does not reach from step 0 to the origin.
    """
    numbers = np.asarray(steps, dtype=np.int64)
    spacing = int(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
    origin = int(numbers[0]) - spacing
    rows = np.concatenate([[origin], numbers])
    begin = origin if anchor is None else anchor
    if even_spacing(numbers - origin) is None or begin not in rows[:-1]:
        raise ValueError(f"steps {origin}, {numbers[0]}, ... are uneven or without anchor {begin}")
    if horizon < 1 or horizon % spacing:
        raise ValueError(f"a horizon of {horizon} steps is no multiple of {spacing}")
    earlier = np.zeros(0) if before is None else np.asarray(before, dtype=np.float64)
    if before is not None and len(earlier) * spacing != origin:
        raise ValueError(f"{len(earlier)} lengths do not reach from step 0 to step {origin}")
    lengths = np.concatenate([earlier, step_lengths(np.asarray(gram, dtype=np.float64))])
    line, ahead = int(numbers[-1] - begin) // spacing, horizon // spacing
    jumps: list[_Jump] = []
    for at in range(len(numbers) - ahead, 0, -ahead):
        start = max(0, at - line)
        if len(jumps) == most or (jumps and 2 * (at - start) < line):
            break
        path = np.arange(1, len(earlier) + at + 1) * spacing
        found = factor_ahead(
            path, lengths[: len(path)], horizon, clock, int(path[-1]) - (at - start) * spacing
        )
        jumps.append(_Jump(start, at, at + ahead, found.factor, found.remark))
    padded = np.pad(np.asarray(gram, dtype=np.float64), ((1, 0), (1, 0)))
    return _judged(jumps, rows, padded, size, level)


@dataclass(frozen=True)
class _Jump:
    """A jump by rows: 0 is the origin, then the known steps."""

    start: int
    cut: int
    target: int
    factor: float
    remark: str

    def forms(self, used: np.ndarray) -> np.ndarray:
        """Return H, X, U (3, n, n) over n rows: true change squared, times move, move squared."""
        start, cut, target = (
            (used == row).astype(np.float64) for row in (self.start, self.cut, self.target)
        )
        true, move = target - cut, (self.factor - 1.0) * (cut - start)
        across = np.outer(true, move)
        return np.stack([np.outer(true, true), (across + across.T) / 2.0, np.outer(move, move)])


def _judged(
    jumps: list[_Jump], rows: np.ndarray, padded: np.ndarray, size: int | None, level: float
) -> Backtest:
    if not jumps:
        return Backtest(math.nan, math.nan, math.nan, math.nan, math.nan, ())
    used = np.unique([[jump.start, jump.cut, jump.target] for jump in jumps])
    gram = padded[np.ix_(used, used)]
    forms = np.array([jump.forms(used) for jump in jumps])
    values = np.einsum("cfij,ij->cf", forms, gram)
    skill = _skill(values.sum(axis=0))
    hold, across, move = values.sum(axis=0)
    error = math.hypot(_sketch_error(forms.sum(axis=0), gram, size), _jackknife(values))
    best = across**2 / (hold * move) if hold > 0.0 and move > 0.0 else math.nan
    cuts = tuple(
        Cut(
            *(int(rows[place]) for place in (jump.start, jump.cut, jump.target)),
            factor=jump.factor,
            skill=_skill(each),
            remark=jump.remark,
        )
        for jump, each in zip(jumps, values, strict=True)
    )
    z = normal_quantile(1.0 - 2.0 * level)
    scale = float(across / move) if move > 0.0 else math.nan
    return Backtest(skill, error, skill - z * error, scale, float(best), cuts)


def _skill(values: np.ndarray) -> float:
    """Return 1 - (H - 2 X + U) / H; NaN where the weights did not move."""
    hold, across, move = values
    return float((2.0 * across - move) / hold) if hold > 0.0 else math.nan


def _sketch_error(forms: np.ndarray, gram: np.ndarray, size: int | None) -> float:
    """Return the standard error of the skill that stems from the sketch."""
    if size is None:
        return 0.0
    hold, across, move = forms
    length = float(np.sum(hold * gram))
    if length <= 0.0:
        return math.nan
    sse = hold - 2.0 * across + move
    share = float(np.sum(sse * gram)) / length
    slope = (sse - share * hold) / length @ gram
    return math.sqrt(max(0.0, 2.0 / size * float(np.sum(slope * slope.T))))


def _jackknife(values: np.ndarray) -> float:
    """Return the standard error of the skill over the cuts; 0 for a single one."""
    count = len(values)
    if count == 1:
        return 0.0
    without = np.array([_skill(values.sum(axis=0) - each) for each in values])
    return math.sqrt((count - 1) / count * float(np.sum((without - without.mean()) ** 2)))
