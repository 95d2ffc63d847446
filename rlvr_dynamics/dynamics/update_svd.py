"""The singular value decomposition of one matrix's update, ΔW = W_t - W_0.

Source: AlphaRL, arXiv 2510.00553, equations 1 and 2. Large matrices: block Krylov iteration
(Musco and Musco, arXiv 1504.05477) with a final residual check.

There are three methods; the next is tried if one misses the tolerance:

- "krylov", if min(m, n) is above 256 and few triples are requested: products in float32,
  everything else in float64. Singular values are exact to about 1e-6 σ1.
- "gram": eigenvectors of the Gram matrix of the smaller side in float64, then the small
  decomposition of ΔW restricted to them. Singular values are exact to about 1e-16 σ1² / σ and
  never worse than 2e-8 σ1; float32 input limits them earlier.
- "full": the singular value decomposition in float64.

Legend: m x n a weight matrix, s = min(m, n), k rank, j start vectors, b matrices in a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rlvr_dynamics.dynamics.block_krylov import Products, block_krylov, rayleigh_ritz

GRAM_SIDE = 256
"""Largest smaller side for which the exact Gram method is used directly: it takes 5 ms."""

KRYLOV_SHARE = 64
"""If more than 1 in 64 triples is requested, "gram" is as fast (measured at 1024 x 4096)."""

FLOAT32_TOLERANCE = 2e-6
"""Float32 products cannot reach smaller tolerances."""

_BATCH_BYTES = 8 << 20
_TOO_SMALL_FOR_GRAM = 1e-6
_SAFE_TO_SQUARE = (1e-10, 1e10)


@dataclass(frozen=True)
class UpdateSVD:
    """Leading singular triples of one update, float64 on the CPU; k is at most min(m, n).

    Attributes:
        singular_values: Shape (k,), descending.
        u: Output-side vectors, orthonormal, shape (m, k).
        v: Input-side vectors, orthonormal, shape (n, k).
        frobenius: ‖ΔW‖_F, with relative error of about 1e-7 for entries of mixed size and sign.
        residual: max over i of ‖ΔW v_i - σ_i u_i‖ and ‖ΔWᵀ u_i - σ_i v_i‖, divided by σ1; computed
            from ΔW and the returned vectors. 0 for an update of zero.
        method: "krylov", "gram" or "full"; see the module docstring.
        passes: Products of ΔW or ΔWᵀ with a block of vectors in the Krylov iteration, residual
            checks excluded; also counted if another method gave the result, and 0 if the iteration
            was not tried.
    """

    singular_values: Float64[Tensor, " k"]
    u: Float64[Tensor, "m k"]
    v: Float64[Tensor, "n k"]
    frobenius: float
    residual: float
    method: str
    passes: int


def update_svd(
    delta: Float[Tensor, "m n"],
    k: int,
    *,
    start: Float[Tensor, "n j"] | None = None,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> UpdateSVD:
    """Return the k leading singular triples of an update.

    The error of a singular value is at most residual * σ1, usually far less; that of a vector's
    angle is about residual * σ1 / gap, where gap is the distance to the nearest singular value.

    Args:
        delta: The update, shape (m, n), float32 or wider, on any device.
        k: Number of triples, at least 1; at most min(m, n) are returned.
        start: Guesses of right singular vectors, shape (n, j), such as `v` of a neighbouring
            step: they save passes over a large matrix and do not change the result beyond the
            tolerance.
        tolerance: Largest residual, relative to σ1. The full decomposition is returned whatever
            its residual, typically about 1e-15.
        seed: Seed of the random start vectors; equal arguments give equal results.

    Raises:
        ValueError: k is below 1, or the update holds NaN or infinity.
    """
    if k < 1:
        raise ValueError(f"the number of singular triples must be at least 1, not {k}")
    m, n = delta.shape
    k = min(k, m, n)
    scaled, scale = _scaled(delta)
    if scale == 0.0:
        zeros = torch.zeros(k, dtype=torch.float64)
        u, v = (torch.eye(side, k, dtype=torch.float64) for side in (m, n))
        return UpdateSVD(zeros, u, v, 0.0, 0.0, "gram", 0)
    frobenius = scale * float(torch.linalg.vector_norm(_row_norms(scaled)))
    passes = 0
    if k * KRYLOV_SHARE <= min(m, n) > GRAM_SIDE and tolerance >= FLOAT32_TOLERANCE:
        products = Products(scaled.to(torch.float32))
        for u, sigma, v in block_krylov(products, k, start=start, tolerance=tolerance, seed=seed):
            residual = _residual(scaled, u, sigma, v, _own_products)
            if residual <= tolerance:
                passes = products.passes
                return _result(u, sigma * scale, v, frobenius, residual, "krylov", passes)
        passes = products.passes
    u, sigma, v = _by_gram(scaled, k)
    residual, method = _residual(scaled, u, sigma, v, _double_products), "gram"
    if not residual <= tolerance:
        u, sigma, vt = torch.linalg.svd(scaled.to(torch.float64), full_matrices=False)
        u, sigma, v = u[:, :k], sigma[:k], vt[:k].mT
        residual, method = _residual(scaled, u, sigma, v, _double_products), "full"
    return _result(u, sigma * scale, v, frobenius, residual, method, passes)


def update_spectrum(delta: Float[Tensor, "m n"]) -> Float64[Tensor, " s"]:
    """Return all singular values of an update, descending.

    Eigenvalues of the smaller side's Gram matrix, in float64, are always faster (measured on the
    CPU: 10 times at 1024 x 4096, twice at 1024 x 1024), so they are tried first. They are used if
    the smallest singular value is above 1e-6 σ1: all are then exact to about 1e-10 σ1. Otherwise
    a values-only singular value decomposition in float64 is computed, exact to about 1e-14 σ1.

    Args:
        delta: The update, shape (m, n), float32 or wider, on any device.

    Returns:
        Shape (min(m, n),), float64, on the CPU.

    Raises:
        ValueError: The update holds NaN or infinity.
    """
    scaled, scale = _scaled(delta)
    if scale == 0.0:
        return torch.zeros(min(delta.shape), dtype=torch.float64)
    squares = torch.linalg.eigvalsh(smaller_gram(scaled)).flip(0)
    if float(squares[-1]) > _TOO_SMALL_FOR_GRAM**2 * float(squares[0]):
        return squares.sqrt().cpu() * scale
    return torch.linalg.svdvals(scaled.to(torch.float64)).cpu() * scale


def smaller_gram(delta: Float[Tensor, "m n"]) -> Float64[Tensor, "s s"]:
    """Return A Aᵀ in float64, where A is the update with its smaller side as rows.

    The update is widened one block of columns at a time, never as a whole.
    """
    small = delta if delta.shape[0] <= delta.shape[1] else delta.mT
    side = len(small)
    gram = torch.zeros(side, side, dtype=torch.float64, device=delta.device)
    width = max(1, _BATCH_BYTES // (8 * side))
    for start in range(0, small.shape[1], width):
        part = small[:, start : start + width].to(torch.float64)
        gram.addmm_(part, part.mT)
    return gram


def _double_products(matrix: Tensor, vectors: Tensor) -> Tensor:
    """Return matrix @ vectors in float64, widening one block of rows at a time."""
    width = max(1, _BATCH_BYTES // (8 * matrix.shape[1]))
    parts = [
        matrix[start : start + width].to(torch.float64) @ vectors
        for start in range(0, len(matrix), width)
    ]
    return torch.cat(parts)


def _scaled(delta: Tensor) -> tuple[Tensor, float]:
    """Return ΔW / scale, whose squares neither underflow nor overflow, and the scale (0 for 0)."""
    low, high = torch.aminmax(delta)
    peak = max(-float(low), float(high))
    if not peak < float("inf"):
        raise ValueError(f"the update of shape {tuple(delta.shape)} holds NaN or infinity")
    if peak == 0.0 or _SAFE_TO_SQUARE[0] < peak < _SAFE_TO_SQUARE[1]:
        return delta, float(peak > 0.0)
    return delta.to(torch.float64) / peak, peak


def _row_norms(matrix: Tensor) -> Tensor:
    # Converting a large matrix to float64 costs more than a full Krylov pass.
    return torch.linalg.vector_norm(matrix, dim=1).to(torch.float64)


def _by_gram(delta: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    m, n = delta.shape
    near = torch.linalg.eigh(smaller_gram(delta)).eigenvectors.flip(1)[:, :k]
    image = _double_products(delta.mT if m <= n else delta, near)
    near, sigma, far = rayleigh_ritz(near, image)
    return (near, sigma, far) if m <= n else (far, sigma, near)


def _residual(
    delta: Tensor, u: Tensor, sigma: Tensor, v: Tensor, product: Callable[[Tensor, Tensor], Tensor]
) -> float:
    right = product(delta, v) - sigma * u
    left = product(delta.mT, u) - sigma * v
    worst = max(float(torch.linalg.vector_norm(side, dim=0).max()) for side in (right, left))
    return worst / float(sigma[0])


def _own_products(matrix: Tensor, vectors: Tensor) -> Tensor:
    """Return matrix @ vectors in the matrix's own precision."""
    return matrix @ vectors.to(matrix.dtype)


def _result(
    u: Tensor,
    sigma: Tensor,
    v: Tensor,
    frobenius: float,
    residual: float,
    method: str,
    passes: int,
) -> UpdateSVD:
    return UpdateSVD(sigma.cpu(), u.cpu(), v.cpu(), frobenius, residual, method, passes)
