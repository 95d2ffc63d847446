"""Walks made of observed increments with random signs: what the same steps draw without a signal.

Legend: n series (single weights, tokens), P points (base and checkpoints), T = P - 1 increments.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def noise_walks(
    series: Array,
    draws: int,
    seed: int | list[int],
    correlation: Array | None = None,
    *,
    together: bool = True,
) -> Iterator[Array]:
    """Yield walks of all series from the base, made of the observed increments without their order.

    Every increment D_t, shape (n,), gets a random sign: one for all series, or one for each. With
    correlations C = K Kᵀ between steps (K symmetric) the increments are
    |D_t| Σ_j K_tj s_j D_j / |D_j|: noise that the optimizer's memory makes smooth. Without, a
    series' increments keep their own lengths.

    Args:
        series: Shape (n, P).
        draws: Number of walks.
        seed: Seed, or list of seeds, of the signs.
        correlation: Shape (T, T); None for independent steps.
        together: Whether a step has the same sign in all series, as in the log-probabilities of
            tokens, which all follow the same weights.

    Source: ours.
    """
    increments = np.diff(series, axis=1)
    generator = np.random.default_rng(seed)
    if correlation is not None:
        values, vectors = np.linalg.eigh(correlation)
        mixing = vectors * np.sqrt(np.clip(values, 0.0, None)) @ vectors.T
        lengths = np.linalg.norm(increments, axis=0)
        directions = increments / np.where(lengths > 0.0, lengths, 1.0)
    for _ in range(draws):
        signs = generator.choice([-1.0, 1.0], increments.shape[1] if together else increments.shape)
        steps = increments * signs
        if correlation is not None:
            steps = (directions * signs) @ mixing.T * lengths
        yield np.concatenate([series[:, :1], series[:, :1] + np.cumsum(steps, axis=1)], axis=1)
