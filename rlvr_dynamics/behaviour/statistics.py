"""Shares, perplexities and positions over answers, with the bootstrap over answers. Only numpy.

Answers are the unit that is drawn, because the tokens of one answer depend on each other.

Legend: n answers, draws resamples, b bins.
"""

import numpy as np
from numpy.typing import NDArray

from rlvr_dynamics.statistics.intervals import (
    UNDEFINED,
    Interval,
    percentile_interval,
    resample_counts,
    wilson,
)

BINS = 10


def share(
    hits: NDArray[np.float64], tokens: NDArray[np.float64], *, draws: int, seed: int
) -> Interval:
    """Share of tokens with a property, over all answers, Σ hits / Σ tokens.

    Where no token (or every one) has it, resampling shows nothing else either. The open end is
    then Wilson's for the share of answers with such a token, taken as one token in each of them.

    Args:
        hits: Tokens with the property by answer, shape (n,).
        tokens: Tokens by answer, shape (n,).
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    n = len(tokens)
    if not n or not tokens.sum():
        return UNDEFINED
    value = float(hits.sum() / tokens.sum())
    if value in (0.0, 1.0):
        most = wilson(0, n).high * n / float(tokens.sum())
        return Interval(0.0, 0.0, most) if value == 0 else Interval(1.0, 1 - most, 1.0)
    counts = resample_counts(n, draws, (seed,)).astype(np.float64)
    return percentile_interval(value, (counts @ hits) / (counts @ tokens))


def perplexity(
    log_probs: NDArray[np.float64], tokens: NDArray[np.float64], *, draws: int, seed: int
) -> Interval:
    """exp of the mean negative log-probability of a token, over all answers.

    Args:
        log_probs: Sum of the log-probabilities of an answer's tokens, nats, shape (n,).
        tokens: Tokens by answer, shape (n,).
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    n = len(tokens)
    if not n or not tokens.sum():
        return UNDEFINED
    counts = resample_counts(n, draws, (seed,)).astype(np.float64)
    value = float(np.exp(-log_probs.sum() / tokens.sum()))
    return percentile_interval(value, np.exp(-(counts @ log_probs) / (counts @ tokens)))


def relative_positions(lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where every token stands in its answer: (position + 1/2) / length, in (0, 1).

    Args:
        lengths: Tokens by answer, shape (n,).

    Returns:
        shape (Σ lengths,), answer after answer.
    """
    return np.concatenate([(np.arange(n) + 0.5) / n for n in lengths] or [np.empty(0)])


def position_histogram(
    hits: NDArray[np.bool_],
    lengths: NDArray[np.int64],
    *,
    draws: int,
    seed: int,
    bins: int = BINS,
) -> list[tuple[Interval, float]]:
    """Share of all hits that fall into each part of the answers.

    Args:
        hits: Whether a token has the property, answer after answer, shape (Σ lengths,).
        lengths: Tokens by answer, shape (n,).
        draws: Bootstrap draws.
        seed: Seed of the draws.
        bins: Parts of equal width, b.

    Returns:
        For each part the share of the hits with its interval, and the null: the share of all
        tokens that stand there, which is what hits without a preferred place would show.
    """
    n = len(lengths)
    place = np.minimum((relative_positions(lengths) * bins).astype(np.int64), bins - 1)
    answer = np.repeat(np.arange(n), lengths)
    everything, found = np.zeros((n, bins)), np.zeros((n, bins))
    np.add.at(everything, (answer, place), 1)
    np.add.at(found, (answer[hits], place[hits]), 1)
    null = everything.sum(axis=0) / max(1.0, everything.sum())
    if not found.sum():
        return [(UNDEFINED, float(at)) for at in null]
    drawn = resample_counts(n, draws, (seed,)).astype(np.float64) @ found
    with np.errstate(invalid="ignore"):
        shares = drawn / drawn.sum(axis=1, keepdims=True)
    values = found.sum(axis=0) / found.sum()
    return [
        (percentile_interval(float(values[part]), shares[:, part]), float(null[part]))
        for part in range(bins)
    ]
