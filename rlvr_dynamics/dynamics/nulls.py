"""Null distributions for in-sample scores: random walks, an optimizer's noise, shuffled steps.

The null walk takes steps of the observed norms in directions uniform on the sphere in d dimensions.
Its trajectory SVD depends only on the T x T Gram matrix of the increments. With X (T x d) of
independent standard normals, X = L Q, where Q has orthonormal rows and, for d > T, L is lower
triangular: L[i, i]² chi-squared with d - i degrees of freedom (i from 0), L[i, j] standard normal
below (Bartlett). Normalising rows of X to the observed norms is the same as normalising rows of L,
and positions are their running sums. This is exact for any d, and a draw costs O(T²) numbers
instead of O(T d). For d <= T the walk is drawn directly in d dimensions.

An optimizer's steps on noise are correlated in time (`optimizer_null`). With C = K Kᵀ their
correlations, the rows of K X have them, and K L is their Gram factor by the same argument.

Source: Bartlett's decomposition of the Wishart distribution (M. S. Bartlett, 1933).

Legend: T observed steps, d elements of one tensor.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlvr_dynamics.dynamics.linearity import linearity

_BATCH_BYTES = 2 << 20
_TOLERANCE = 1e-8
_POWER_ROUNDS = 12


@dataclass(frozen=True)
class NullSample:
    """The scores of each draw of a null; arrays of shape (draws,), float64.

    NaN where a score is undefined, such as everywhere when no step moved.
    """

    explained_variance: np.ndarray
    r2: np.ndarray
    heldout_r2: np.ndarray
    loo_r2: np.ndarray


def walk_positions(
    step_norms: np.ndarray,
    d: int,
    draws: int,
    generator: np.random.Generator,
    correlation: np.ndarray | None = None,
) -> np.ndarray:
    """Draw random walks, up to a rotation of space.

    Args:
        step_norms: ‖W_t - W_{t-1}‖ of every step, shape (T,).
        d: Dimension of the space.
        draws: Number of walks.
        generator: Source of randomness.
        correlation: Correlations between the steps, shape (T, T); None for independent steps.

    Returns:
        Positions after every step, shape (draws, T, min(T, d)), float64.
    """
    count = len(step_norms)
    if d <= count:
        rows = generator.standard_normal((draws, count, d))
    else:
        rows = np.zeros((draws, count, count))
        below = np.tril_indices(count, -1)
        rows[:, below[0], below[1]] = generator.standard_normal((draws, len(below[0])))
        freedom = d - np.arange(count)
        rows[:, np.arange(count), np.arange(count)] = np.sqrt(
            generator.chisquare(freedom, size=(draws, count))
        )
    if correlation is not None:
        rows = _square_root(correlation) @ rows
    length = np.sqrt(np.einsum("ati,ati->at", rows, rows))
    rows *= (step_norms / length)[:, :, None]
    return np.cumsum(rows, axis=1, out=rows)


def _square_root(correlation: np.ndarray) -> np.ndarray:
    """Return K with K Kᵀ = C; C may be singular."""
    values, vectors = np.linalg.eigh(correlation)
    return vectors * np.sqrt(np.clip(values, 0.0, None))


def leading_component(grams: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalue of many Gram matrices, and its eigenvector.

    Uses power iteration where ‖Gx - λx‖ is at most 1e-8 λ; the other matrices are decomposed fully.

    Args:
        grams: Shape (draws, T, T), float64, positive semi-definite.

    Returns:
        Eigenvalues, shape (draws,), and unit vectors, shape (draws, T).
    """
    vector = grams @ grams.diagonal(dim1=1, dim2=2).sqrt()[..., None]
    value = torch.zeros(len(grams), dtype=grams.dtype)
    missed = torch.ones(len(grams), dtype=torch.bool)
    for _ in range(_POWER_ROUNDS):
        vector = vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True)
        image = grams @ vector
        value = (vector * image).sum(dim=(1, 2))
        residual = torch.linalg.vector_norm(image - value[:, None, None] * vector, dim=1)[:, 0]
        missed = ~(residual <= _TOLERANCE * value)
        if not bool(missed.any()):
            break
        vector = image
    vector = vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    vector = vector[..., 0]
    if bool(missed.any()):
        values, vectors = torch.linalg.eigh(grams[missed])
        value[missed] = values[:, -1]
        vector[missed] = vectors[:, :, -1]
    return value.numpy(), vector.numpy()


@dataclass(frozen=True)
class NullComponents:
    """The leading component of each draw of a null.

    Attributes:
        explained_variance: Its share of the squared norm, shape (draws,), float64.
        u: Its left vector, shape (draws, T), float64; empty when no step moved.
    """

    explained_variance: np.ndarray
    u: np.ndarray

    def on(self, positions: np.ndarray) -> NullSample:
        """Return the scores with the steps at these positions of a clock, shape (T,)."""
        if not len(self.u):
            nothing = np.full(len(self.explained_variance), np.nan)
            return NullSample(self.explained_variance, nothing, nothing.copy(), nothing.copy())
        line = linearity(positions, self.u)
        return NullSample(self.explained_variance, line.r2, line.heldout_r2, line.loo_r2)


def null_components(
    step_norms: np.ndarray,
    d: int,
    draws: int,
    seed: int | list[int],
    correlation: np.ndarray | None = None,
) -> NullComponents:
    """Draw random walks and return the leading component of each.

    Args:
        step_norms: Length of every increment, the first from the base, shape (T,).
        d: Number of elements of the tensor.
        draws: Number of walks.
        seed: Seed, or list of seeds, of numpy's generator; equal seeds give equal samples.
        correlation: Correlations between the steps, shape (T, T); None for independent steps.
    """
    norms = np.asarray(step_norms, dtype=np.float64)
    count = len(norms)
    largest = float(norms.max(initial=0.0))
    if largest == 0.0:
        return NullComponents(np.full(draws, np.nan), np.empty((0, count)))
    # All scores are scale-free, and tiny norms would underflow when squared.
    norms = norms / largest
    generator = np.random.default_rng(seed)
    size = max(1, _BATCH_BYTES // (8 * count * min(count, d)))
    explained, vectors = [], []
    for start in range(0, draws, size):
        walks = walk_positions(norms, d, min(size, draws - start), generator, correlation)
        positions = torch.from_numpy(walks)
        grams = positions @ positions.mT
        value, vector = leading_component(grams)
        total = grams.diagonal(dim1=1, dim2=2).sum(dim=1).numpy()
        explained.append(np.minimum(value / total, 1.0))
        vectors.append(vector)
    return NullComponents(np.concatenate(explained), np.concatenate(vectors))


def random_walk_null(
    steps: np.ndarray,
    step_norms: np.ndarray,
    d: int,
    draws: int,
    seed: int | list[int],
    correlation: np.ndarray | None = None,
) -> NullSample:
    """Score random walks like a trajectory: rank-1 explained variance and linearity.

    Args:
        steps: Step numbers, or positions on another clock, shape (T,).
        step_norms: As for `null_components`, and so are the others.
        d: Number of elements of the tensor.
        draws: Number of walks.
        seed: Seed, or list of seeds.
        correlation: Correlations between the steps, or None.
    """
    return null_components(step_norms, d, draws, seed, correlation).on(steps)


def permuted_steps_null(
    steps: np.ndarray, coefficients: np.ndarray, draws: int, seed: int | list[int]
) -> NullSample:
    """Score the coefficients against shuffled step numbers, which have no order in time.

    The mean of r2 over all permutations is 1 / (T - 1). Any series with a trend beats this null; a
    claim of linearity must also beat the random walk.

    Args:
        steps: Step numbers, shape (T,).
        coefficients: Shape (T,).
        draws: Number of permutations.
        seed: Seed, or list of seeds, of numpy's generator; equal seeds give equal samples.

    Returns:
        The scores; explained_variance is NaN because shuffling does not change it.
    """
    rows = np.tile(np.asarray(coefficients, dtype=np.float64), (draws, 1))
    line = linearity(steps, np.random.default_rng(seed).permuted(rows, axis=1))
    return NullSample(
        explained_variance=np.full(draws, np.nan),
        r2=line.r2,
        heldout_r2=line.heldout_r2,
        loo_r2=line.loo_r2,
    )
