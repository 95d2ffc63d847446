"""Angles between subspaces, their null distribution, and sign alignment along a trajectory.

Legend: k and j dimensions of two subspaces, T observed steps, m length of a vector.
"""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

Columns = Float[np.ndarray, "m k"] | Float[Tensor, "m k"]


def principal_cosines(
    a: Columns, b: Float[np.ndarray, "m j"] | Float[Tensor, "m j"]
) -> Float[np.ndarray, " r"]:
    """Return the cosines of the principal angles between the spans of two sets of columns.

    Source: Bjorck and Golub, Mathematics of Computation 27, 1973. Angles below about 1e-8 appear
    as zero, because the cosine is then 1 to the last digit.

    Args:
        a: Linearly independent columns, not necessarily orthonormal, shape (m, k), k at most m.
        b: The same, shape (m, j).

    Returns:
        Shape (min(k, j),), float64, descending, from 0 to 1.
    """
    one, two = (np.linalg.qr(np.asarray(columns, dtype=np.float64))[0] for columns in (a, b))
    return np.minimum(np.linalg.svd(one.T @ two, compute_uv=False), 1.0)


def random_cosine(
    dimension: int, k: int, j: int, draws: int, seed: int | list[int]
) -> Float[np.ndarray, " draws"]:
    """Draw the largest principal cosine between a k- and a j-dimensional random subspace.

    Without loss of generality one subspace is the first j axes. The other is spanned by a Gaussian
    X with k columns: with A its first j rows, XᵀX = AᵀA + W, where W is Wishart with
    `dimension` - j degrees of freedom, drawn through its triangular factor (Bartlett 1933). The
    cosines are the singular values of A R⁻¹, RᵀR = XᵀX. The distribution is exact and the cost of
    a draw does not depend on the dimension.

    Args:
        dimension: Dimension of the space.
        k: Dimension of one subspace, 1 to `dimension`.
        j: Dimension of the other, 1 to `dimension`.
        draws: Number of pairs.
        seed: Seed, or list of seeds, of numpy's generator; equal seeds give equal samples.

    Returns:
        Shape (draws,), float64. 1 where k + j exceeds the dimension: such subspaces intersect.

    Raises:
        ValueError: k or j is outside its range.
    """
    from scipy.linalg import solve_triangular  # slow to import, and only nulls need it

    if not (1 <= k <= dimension and 1 <= j <= dimension):
        raise ValueError(f"subspaces of {dimension} dimensions cannot have {k} and {j}")
    if k + j > dimension:
        return np.ones(draws)
    k, j = min(k, j), max(k, j)
    generator = np.random.default_rng(seed)
    cosines = np.empty(draws)
    for draw in range(draws):
        first = generator.standard_normal((j, k))
        factor = np.triu(generator.standard_normal((k, k)), 1)
        np.fill_diagonal(factor, np.sqrt(generator.chisquare(dimension - j - np.arange(k))))
        triangle = np.linalg.qr(np.concatenate([first, factor]))[1]
        inside = solve_triangular(triangle.T, first.T, lower=True)
        cosines[draw] = np.linalg.svd(inside, compute_uv=False)[0]
    return np.minimum(cosines, 1.0)


def align_signs(
    vectors: Float[np.ndarray, "T m"] | Float[Tensor, "T m"],
) -> tuple[Float[np.ndarray, "T m"], Bool[np.ndarray, " T"]]:
    """Make the signs of singular vectors agree from step to step.

    From the last step to the first, a vector is flipped if its cosine with the next, already
    aligned one is negative. Zero vectors are skipped: their neighbours are compared with each
    other.

    Source: AlphaRL, arXiv 2510.00553, and its released code.

    Args:
        vectors: One vector per step, in ascending order of steps, shape (T, m).

    Returns:
        The aligned vectors, shape (T, m), float64, and a mask of the flipped ones, shape (T,).
    """
    aligned = np.asarray(vectors).astype(np.float64)
    flipped = np.zeros(len(aligned), dtype=bool)
    following = None
    for step in reversed(range(len(aligned))):
        if following is not None and aligned[step] @ following < 0.0:
            aligned[step] *= -1.0
            flipped[step] = True
        if aligned[step].any():
            following = aligned[step]
    return aligned, flipped
