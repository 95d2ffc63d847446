"""Lines through the log-probability of a token over a training, and what noise looks like. Numpy.

arXiv 2601.04537 calls a token's log-probability linear in the training step, from the R² of tokens
chosen for a change above 0.2 between first and last checkpoint. A random walk that moved far looks
like a line, so the selection raises R² by itself: every number stands beside the same of noise,
selected in the same way.

Legend: n tokens, P points (base and checkpoints), T = P - 1 increments, a answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlvr_dynamics.schema.tables import LINEAR_R2
from rlvr_dynamics.statistics.intervals import Interval, percentile_interval, resample_counts

Array = NDArray[np.float64]

MOVED = 0.2
"""Smallest |last - first| of the paper's selection, in nats (its code, token_logprob_linearity)."""
DRAWS = 100


@dataclass(frozen=True)
class Scores:
    """How well lines fit; arrays of shape (n,), NaN for a token whose log-probability is constant.

    Attributes:
        r2: R² in sample.
        heldout_r2: R² on the second half of the points, of the line fitted to the first half.
        slope: Change per unit of the clock.
    """

    r2: Array
    heldout_r2: Array
    slope: Array


def lines(positions: Array, series: Array) -> Scores:
    """Fit one line to every token.

    Args:
        positions: Of the points on a clock, shape (P,), the base at 0.
        series: Log-probabilities, shape (n, P).
    """
    from rlvr_dynamics.dynamics import linearity  # which loads torch

    found = linearity(positions, series)
    return Scores(found.r2, found.heldout_r2, found.slope)


def moved(series: Array) -> NDArray[np.bool_]:
    """Return which tokens the paper's selection keeps, shape (n,)."""
    return np.abs(series[:, -1] - series[:, 0]) > MOVED


@dataclass(frozen=True)
class Summary:
    """The fits of a selection of tokens.

    Attributes:
        tokens: Number of tokens that the selection keeps.
        kept: Their share.
        r2: Median R², with a 95 % interval.
        above: Share of them with an R² above `LINEAR_R2`.
        heldout_r2: Median held-out R².
    """

    tokens: int
    kept: float
    r2: Interval
    above: float
    heldout_r2: float


def summary(
    found: Scores, keep: NDArray[np.bool_], answer: NDArray[np.int64], draws: int, seed: int
) -> Summary:
    """Summarise observed tokens, with a bootstrap over answers for the median R².

    Args:
        found: Their fits.
        keep: Which tokens count, shape (n,).
        answer: Index of each token's answer, shape (n,).
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    keep = keep & np.isfinite(found.r2)
    interval = median_over_answers(found.r2[keep], answer[keep], draws, seed)
    return _summary(found.r2[keep], found.heldout_r2[keep], len(keep), interval)


def null_summaries(
    walks: Iterator[Array], clocks: dict[str, Array]
) -> dict[tuple[str, bool], Summary]:
    """Summarise walks like the observed tokens: by clock, and whether they are selected.

    All (token, walk) pairs together; the interval of the median R² is the central 95 % of the
    medians of single walks. A walk of which the selection keeps nothing counts in `kept` alone.

    Args:
        walks: From `noise_walks`.
        clocks: Positions of the points by name of the clock.
    """
    fits: dict[tuple[str, bool], list[tuple[Array, Array]]] = {}
    count = 0
    for walk in walks:
        count += len(walk)
        chosen = moved(walk)
        for clock, positions in clocks.items():
            found = lines(positions, walk)
            for selected in (False, True):
                keep = np.isfinite(found.r2) & (chosen | (not selected))
                fits.setdefault((clock, selected), []).append(
                    (found.r2[keep], found.heldout_r2[keep])
                )
    summaries = {}
    for key, pairs in fits.items():
        r2, heldout = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        medians = np.array([np.median(each) for each, _ in pairs if len(each)], dtype=np.float64)
        middle = float(np.median(r2)) if len(r2) else np.nan
        summaries[key] = _summary(r2, heldout, count, percentile_interval(middle, medians))
    return summaries


def _summary(r2: Array, heldout: Array, count: int, interval: Interval) -> Summary:
    usable = heldout[np.isfinite(heldout)]
    return Summary(
        tokens=len(r2),
        kept=len(r2) / count if count else np.nan,
        r2=interval,
        above=float(np.mean(r2 > LINEAR_R2)) if len(r2) else np.nan,
        heldout_r2=float(np.median(usable)) if len(usable) else np.nan,
    )


def median_over_answers(
    values: Array, answer: NDArray[np.int64], draws: int, seed: int
) -> Interval:
    """Return the median over tokens, with a bootstrap over answers.

    The tokens of an answer depend on each other. All of one run also follow the same weights, which
    no resampling of answers shows.

    Args:
        values: Shape (n,), finite.
        answer: Index of each token's answer, shape (n,).
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    order = np.argsort(values, kind="stable")
    _, place = np.unique(answer, return_inverse=True)
    counts = resample_counts(int(place.max()) + 1, draws, (seed,))
    drawn = np.empty(draws)
    for at, row in enumerate(counts):
        weights = np.cumsum(row[place[order]], dtype=np.int64)
        drawn[at] = values[order[np.searchsorted(weights, weights[-1] / 2)]]
    return percentile_interval(float(np.median(values)), drawn)
