"""Shares, perplexities and positions of tokens, with a bootstrap over answers. Only numpy.

The bootstrap draws answers, because the tokens of one answer depend on each other.

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
    """Return the share of tokens with a property over all answers, Σ hits / Σ tokens.

    If no token (or every token) has it, all resamples agree. The open end of the interval is then
    Wilson's bound for the share of answers with such a token, counting one token in each of them.

    Args:
        hits: Number of tokens with the property in each answer, shape (n,).
        tokens: Number of tokens in each answer, shape (n,).
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    n = len(tokens)
    if not n or not tokens.sum():
        return UNDEFINED
    found = per_token(hits, tokens, draws=draws, seed=seed)
    if found.value in (0.0, 1.0):
        most = wilson(0, n).high * n / float(tokens.sum())
        return Interval(0.0, 0.0, most) if found.value == 0 else Interval(1.0, 1 - most, 1.0)
    return found


def per_token(
    sums: NDArray[np.float64], tokens: NDArray[np.float64], *, draws: int, seed: int
) -> Interval:
    """Return the mean of a number per token over all answers, Σ sums / Σ tokens.

    Args:
        sums: Sum of the number over each answer's tokens, shape (n,).
        tokens: Number of tokens in each answer, shape (n,), at least one answer.
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    counts = resample_counts(len(tokens), draws, (seed,)).astype(np.float64)
    value = float(sums.sum() / tokens.sum())
    return percentile_interval(value, (counts @ sums) / (counts @ tokens))


def perplexity(
    log_probs: NDArray[np.float64], tokens: NDArray[np.float64], *, draws: int, seed: int
) -> Interval:
    """Return exp of the mean negative log-probability per token over all answers.

    Args:
        log_probs: Sum of the log-probabilities of each answer's tokens, nats, shape (n,).
        tokens: Number of tokens in each answer, shape (n,).
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
    """Return each token's relative position in its answer, (position + 1/2) / length, in (0, 1).

    Args:
        lengths: Number of tokens in each answer, shape (n,).

    Returns:
        shape (Σ lengths,), answers concatenated.
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
    """Return the share of all hits in each part of the answers.

    Args:
        hits: Whether each token has the property, answers concatenated, shape (Σ lengths,).
        lengths: Number of tokens in each answer, shape (n,).
        draws: Bootstrap draws.
        seed: Seed of the draws.
        bins: Number of parts of equal width, b.

    Returns:
        For each part the share of hits with its interval, and the null: the share of all tokens
        in that part, which is expected of hits without a preferred position.
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
