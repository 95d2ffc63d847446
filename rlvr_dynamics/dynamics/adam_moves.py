"""How many updates lie between stored steps: what Adam moves, and how much of it a file shows.

Adam divides a mean of gradients by the root of their mean square, so an update moves a weight by
about the learning rate whatever the gradient's size. Two extremes bound the distance of k updates:
a gradient that is always the same moves by k learning rates (coherent), and one without any common
direction moves least (noise: sqrt(k) learning rates for many updates, and fewer for a few, as the
first moment averages them). Both are simulated here with Adam itself, from moments of zero.

A float32 weight that starts on a stored value and is stored rounded changes its file only where it
crosses into another unit in the last place (ulp). The share of values that change from step to
step therefore grows with the number of updates, and the observed share gives a range of it: at
least the coherent number, at most that of noise. Weight decay and Adam's epsilon are left out:
both are small beside the learning rate unless gradients are, when the true number is larger.

Legend: T saved steps, S training steps, K numbers of updates a step, P simulated weights,
B distinct ulps.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from rlvr_dynamics.dynamics.optimizer_null import Optimizer, optimizer_steps

UPDATES = (1, 2, 4, 8, 16, 32, 64)
"""The simulated numbers of updates a step."""

_WEIGHTS_TIMES_STEPS = 100_000  # enough for a share of 1e-3 to within a few per cent
_MOST_WEIGHTS = 8192
_TOLERANCE = 0.1  # what the share of one update varies by in simulations


@dataclass(frozen=True)
class Range:
    """A range of the number of updates from one saved step to the next.

    Attributes:
        low: If every gradient had the same direction; 0 where even one update of noise moves more.
        high: If gradients had no common direction; inf above the largest of `UPDATES`.
    """

    low: float
    high: float


def adam_moves(
    rates: Float64[np.ndarray, " S"],
    steps: Int[np.ndarray, " T"],
    updates: int,
    *,
    coherent: bool,
    seed: int = 0,
) -> Float64[np.ndarray, "T P"]:
    """Simulate how far Adam has moved weights at the saved steps.

    Source: Kingma and Ba, arXiv 1412.6980, algorithm 1, with epsilon 0.

    Args:
        rates: Learning rate of every training step.
        steps: Numbers of the saved steps, rising, from 1 to S.
        updates: Updates in each training step.
        coherent: Whether the gradient is always the same (P = 1), or independent normal noise.
        seed: Of the noise.

    Returns:
        Displacement from the start, in units of weight.
    """
    count = 1 if coherent else max(64, min(_MOST_WEIGHTS, _WEIGHTS_TIMES_STEPS // len(rates)))
    generator = np.random.default_rng(seed)

    def gradient_of(_step: int) -> np.ndarray:
        return np.ones(1) if coherent else generator.standard_normal(count)

    moved = optimizer_steps(Optimizer(updates=updates), rates, gradient_of, count)
    return np.cumsum(moved, axis=0)[np.asarray(steps) - 1]


def changed_shares(
    moves: Float64[np.ndarray, "T P"], ulps: Float64[np.ndarray, " B"]
) -> Float64[np.ndarray, "T B"]:
    """Return the share of weights whose stored value differs from the saved step before.

    Args:
        moves: Displacements from a stored value, from `adam_moves`.
        ulps: Spacing of the stored numbers around the weights.
    """
    shares = np.empty((len(moves), len(ulps)))
    for column, ulp in enumerate(ulps):
        cells = np.round(moves / ulp)
        shares[:, column] = np.diff(cells, axis=0, prepend=0.0).astype(bool).mean(axis=1)
    return shares


def step_sizes(moves: Float64[np.ndarray, "T P"]) -> Float64[np.ndarray, " T"]:
    """Return the root mean square distance from each saved step to the next."""
    return np.sqrt(np.mean(np.diff(moves, axis=0, prepend=0.0) ** 2, axis=1))


def updates_range(
    observed: float, noise: Float[np.ndarray, " K"], coherent: Float[np.ndarray, " K"]
) -> Range:
    """Return which numbers of updates explain an observation that grows with them.

    Args:
        observed: Sum over saved steps of the changed share, or of the distance.
        noise: The same as expected for `UPDATES` of pure noise.
        coherent: The same for gradients of one direction.

    Returns:
        Interpolated in the logarithm; a range that is undefined (NaN) where the expectations do
        not depend on the number, as every value changes, or none does.
    """
    if not np.isfinite(observed) or observed <= 0.0 or noise[-1] < 1.1 * noise[0]:
        return Range(np.nan, np.nan)
    if observed < (1.0 - _TOLERANCE) * noise[0]:
        return Range(0.0, 1.0)
    numbers = np.log2(UPDATES)
    high = np.inf if observed > noise[-1] else 2.0 ** np.interp(observed, noise, numbers)
    rising = np.maximum.accumulate(coherent)
    low = 1.0 if observed <= rising[0] else 2.0 ** np.interp(observed, rising, numbers)
    return Range(float(low), float(high))
