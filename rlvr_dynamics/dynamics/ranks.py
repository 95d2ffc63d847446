"""How many dimensions an update uses, compared with a Gaussian matrix of the same shape.

Legend: m x n a weight matrix, s = min(m, n), σ its singular values in any order unless stated
otherwise, `...` any leading axes, such as the draws of a null.
"""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

Spectrum = Float[np.ndarray, "*lead s"] | Float[Tensor, "*lead s"]
Values = Float[np.ndarray, "*lead"] | np.floating
Counts = Int[np.ndarray, "*lead"] | np.integer
"""A numpy scalar if the spectrum has no leading axes."""


def stable_rank(sigma: Spectrum) -> Values:
    """Return ‖ΔW‖_F² / ‖ΔW‖₂² = Σσ² / σ1², shape (...,), from 1 to s; NaN for zero.

    Source: Rudelson and Vershynin, arXiv math/0503442.
    """
    return np.sum(_relative(sigma) ** 2, axis=-1)


def effective_rank(sigma: Spectrum) -> Values:
    """Return exp(-Σ p log p) with p = σ / Σσ, shape (...,), from 1 to s; NaN for zero.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007, definition 1.
    """
    relative = _relative(sigma)
    share = relative / relative.sum(axis=-1, keepdims=True)
    logarithm = np.log(share, where=share > 0.0, out=np.zeros_like(share))
    return np.exp(-np.sum(share * logarithm, axis=-1))


def rounding_floor(m: int, n: int, eps: float, norm: float) -> float:
    """Return the largest singular value that rounding of the stored weights alone would produce.

    It is that of a matrix of independent errors, uniform within one unit in the last place of
    weights with the same root mean square: eps / sqrt(3) * norm / sqrt(m n) * (sqrt(m) + sqrt(n)).

    Source: the edge of random spectra, Bai and Yin, Annals of Probability 21, 1993.

    Args:
        m: Rows.
        n: Columns.
        eps: Spacing of stored numbers relative to their size, such as 2**-7 for bfloat16.
        norm: Frobenius norm of the stored weights.
    """
    return float(eps / np.sqrt(3.0) * norm / np.sqrt(m * n) * (np.sqrt(m) + np.sqrt(n)))


def numerical_rank(sigma: Spectrum, floor: float) -> Counts:
    """Return how many σ are above a floor, shape (...,), integers.

    Args:
        sigma: Singular values, shape (..., s).
        floor: The level of noise alone, see `rounding_floor`.
    """
    return np.sum(np.asarray(sigma, dtype=np.float64) > floor, axis=-1)


def gaussian_spectrum(
    m: int, n: int, draws: int, seed: int | list[int]
) -> Float[np.ndarray, "draws s"]:
    """Draw the singular values of matrices of independent standard normals.

    Householder reflections make such a matrix bidiagonal without changing its singular values. Its
    entries are independent: with p = max(m, n), χ_p, χ_{p-1}, ..., χ_{p-s+1} on the diagonal and
    χ_{s-1}, ..., χ_1 next to it. The distribution is exact and a draw costs 2s - 1 numbers.
    Singular values from its tridiagonal Gram matrix are exact to about 1e-16 σ1² / σ.

    Source: Dumitriu and Edelman, "Matrix models for beta ensembles", arXiv math-ph/0206043;
    Silverstein, Annals of Probability 13, 1985, for the real case.

    Args:
        m: Rows.
        n: Columns; n x m has the same distribution and gives the same draws.
        draws: Number of matrices.
        seed: Seed, or list of seeds, of numpy's generator; equal seeds give equal samples.

    Returns:
        Shape (draws, s), float64, each row descending.
    """
    from scipy.linalg import eigvalsh_tridiagonal  # slow to import, and only nulls need it

    long, short = max(m, n), min(m, n)
    generator = np.random.default_rng(seed)
    spectra = np.empty((draws, short))
    for row in spectra:
        along = generator.chisquare(long - np.arange(short))
        beside = generator.chisquare(np.arange(short - 1, 0, -1))
        # B Bᵀ of the upper bidiagonal B: these entries are already squared.
        diagonal = along.copy()
        diagonal[:-1] += beside
        squares = eigvalsh_tridiagonal(diagonal, np.sqrt(beside * along[1:]), lapack_driver="sterf")
        row[:] = np.sqrt(np.maximum(squares[::-1], 0.0))
    return spectra


def _relative(sigma: Spectrum) -> Float[np.ndarray, "*lead s"]:
    values = np.asarray(sigma, dtype=np.float64)
    top = values.max(axis=-1, keepdims=True)
    return np.divide(values, top, where=top > 0.0, out=np.full(values.shape, np.nan))
