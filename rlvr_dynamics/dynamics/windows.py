"""Compare windows of a trajectory with the whole, using only its T x T Gram matrix.

The leading direction of some rows of M is v = Mᵀ u / σ, where u and σ² are the leading eigenvector
and eigenvalue of their block of G = M Mᵀ. The cosine of two such directions is
|uₐᵀ G[a, b] u_b| / (σₐ σ_b), so the directions themselves, with d elements, are never computed.
Source: RELEX, arXiv 2605.21468 (trajectory directions, oracle reconstruction); here for windows.

Legend: T observed steps, d elements of one tensor.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from rlvr_dynamics.dynamics.nulls import leading_component, walk_positions

_BATCH_BYTES = 2 << 20


def direction_cosine(gram: Float64[Tensor, "T T"], one: slice, other: slice) -> float:
    """Return |cos| between the leading directions of two windows of steps.

    Args:
        gram: M Mᵀ of the updates from the base, shape (T, T), float64.
        one: Rows of the first window.
        other: Rows of the second; the two may overlap.

    Returns:
        From 0 to 1; NaN when nothing moved in a window.

    Raises:
        ValueError: A window holds no step.
    """
    cross = gram[one, other]
    if cross.numel() == 0:
        raise ValueError(f"no step in a window: {one}, {other}")
    values, vectors = torch.linalg.eigh(gram[one, one])
    other_values, other_vectors = torch.linalg.eigh(gram[other, other])
    square = values[-1:].clamp(min=0.0) * other_values[-1:].clamp(min=0.0)
    u, v = vectors[None, :, -1].numpy(), other_vectors[None, :, -1].numpy()
    return float(_cosines(u, cross[None].numpy(), v, square.numpy())[0])


def _cosines(u: np.ndarray, cross: np.ndarray, v: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Return |uᵀ C v| / sqrt(square) for many draws, NaN where square is not positive."""
    product = np.abs(np.einsum("ai,aij,aj->a", u, cross, v))
    size = np.sqrt(square)
    cosine = np.full(len(size), np.nan)
    return np.minimum(np.divide(product, size, where=size > 0.0, out=cosine), 1.0)


def _stops(shares: Sequence[float] | np.ndarray, count: int) -> np.ndarray:
    parts = np.asarray(shares, dtype=np.float64)
    if not bool(np.all((parts > 0.0) & (parts <= 1.0))):
        raise ValueError(f"shares of the steps must be above 0 and at most 1, not {parts}")
    return np.maximum(1, np.floor(parts * count + 0.5).astype(int))


def prefix_drift(
    gram: Float64[Tensor, "T T"], shares: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how close the leading direction of the first steps is to that of all steps.

    A share is rounded to the nearest number of steps, at least one.

    Args:
        gram: M Mᵀ of the updates from the base, shape (T, T), float64.
        shares: Shares of the steps, above 0 and at most 1.

    Returns:
        Number of steps of each share, shape (len(shares),), and |cos| of the two directions, same
        shape, NaN when nothing moved in them.

    Raises:
        ValueError: A share is out of range.
    """
    stops = _stops(shares, len(gram))
    whole = slice(0, len(gram))
    return stops, np.array([direction_cosine(gram, slice(0, stop), whole) for stop in stops])


def prefix_drift_null(
    step_norms: np.ndarray,
    d: int,
    shares: Sequence[float] | np.ndarray,
    draws: int,
    seed: int | list[int],
) -> np.ndarray:
    """Return `prefix_drift` of random walks with the observed step lengths.

    Args:
        step_norms: ‖W_t - W_{t-1}‖ of every step, the first from the base, shape (T,).
        d: Number of elements of the tensor.
        shares: As for `prefix_drift`.
        draws: Number of walks.
        seed: Seed, or list of seeds, of numpy's generator; equal seeds give equal samples.

    Returns:
        Shape (draws, len(shares)); NaN where no step of the share moved.

    Raises:
        ValueError: A share is out of range.
    """
    norms = np.asarray(step_norms, dtype=np.float64)
    stops = _stops(shares, len(norms))
    cosines = np.full((draws, len(stops)), np.nan)
    largest = float(norms.max(initial=0.0))
    if largest == 0.0:
        return cosines
    # A cosine is scale-free, and tiny norms would underflow when squared.
    norms = norms / largest
    generator = np.random.default_rng(seed)
    size = max(1, _BATCH_BYTES // (8 * len(norms) * min(len(norms), d)))
    for start in range(0, draws, size):
        positions = torch.from_numpy(walk_positions(norms, d, min(size, draws - start), generator))
        grams = positions @ positions.mT
        value, u = leading_component(grams)
        for column, stop in enumerate(stops):
            early_value, early_u = leading_component(grams[:, :stop, :stop])
            cross = grams[:, :stop].numpy()
            found = _cosines(early_u, cross, u, early_value * value)
            cosines[start : start + len(found), column] = found
    return cosines


def oracle_cosines(gram: Float64[Tensor, "T T"], ranks: Sequence[int]) -> np.ndarray:
    """Return how much of each update its projection on the leading trajectory directions keeps.

    The directions come from all steps, including the reconstructed one: RELEX's "oracle
    reconstruction", arXiv 2605.21468, an upper bound for any forecast along them. For a projection,
    the cosine with the update equals the ratio of the norms.

    Args:
        gram: M Mᵀ of the updates from the base, shape (T, T), float64.
        ranks: Numbers of directions, each at least 1; from T on everything is kept.

    Returns:
        Shape (T, len(ranks)), float64, from 0 to 1; NaN for an update of zero.

    Raises:
        ValueError: A rank is below 1.
    """
    if min(ranks, default=1) < 1:
        raise ValueError(f"rank must be at least 1, not {min(ranks)}")
    values, vectors = torch.linalg.eigh(gram)
    kept = (vectors.flip(1).square() * values.flip(0).clamp(min=0.0)).cumsum(1).numpy()
    square = np.diagonal(gram.numpy())[:, None]
    chosen = kept[:, [min(rank, len(gram)) - 1 for rank in ranks]]
    share = np.full(chosen.shape, np.nan)
    np.divide(chosen, square, where=np.broadcast_to(square > 0.0, chosen.shape), out=share)
    return np.sqrt(np.minimum(share, 1.0))
