"""The singular value decomposition of one matrix's update, ΔW = W_t - W_0.

Source: AlphaRL, arXiv 2510.00553, equations 1 and 2.

Accuracy: through the Gram matrix of the smaller side in float64. Singular values are exact to
about 1e-16 σ1² / σ and never worse than 2e-8 σ1; float32 input limits them earlier.

Legend: m x n a weight matrix, s = min(m, n), k rank, b matrices in a batch.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

_BATCH_BYTES = 8 << 20
_TOO_SMALL_FOR_GRAM = 1e-6


@dataclass(frozen=True)
class UpdateSVD:
    """Leading singular triples of one update, all float64; k is at most min(m, n).

    Attributes:
        singular_values: Shape (k,), falling.
        u: Output-side vectors, shape (m, k).
        v: Input-side vectors, shape (n, k).
        frobenius: ‖ΔW‖_F.
    """

    singular_values: Float64[Tensor, " k"]
    u: Float64[Tensor, "m k"]
    v: Float64[Tensor, "n k"]
    frobenius: float


def update_svd(delta: Float[Tensor, "m n"], k: int) -> UpdateSVD:
    """Return the k leading singular triples of an update.

    The Gram matrix of the smaller side is decomposed. Its vectors lose their meaning where σ is
    below 1e-6 σ1; when such a one is asked for, the full decomposition answers instead, so u and v
    are orthonormal always.

    Args:
        delta: The update, shape (m, n), float32 or wider.
        k: How many; at most min(m, n) come back.
    """
    wide = delta.to(torch.float64)
    frobenius = float(torch.linalg.vector_norm(wide))
    m, n = wide.shape
    small = wide if m <= n else wide.mT
    values, vectors = torch.linalg.eigh(small @ small.mT)
    sigma = values.flip(0)[:k].clamp(min=0.0).sqrt()
    if len(sigma) == 0 or float(sigma[-1]) <= _TOO_SMALL_FOR_GRAM * float(sigma[0]):
        u, sigma, vt = torch.linalg.svd(wide, full_matrices=False)
        return UpdateSVD(sigma[:k], u[:, :k], vt[:k].mT, frobenius)
    near = vectors.flip(1)[:, :k]
    far = (small.mT @ near) / sigma
    u, v = (near, far) if m <= n else (far, near)
    return UpdateSVD(sigma, u, v, frobenius)


def update_singular_values(
    deltas: Float[Tensor, "b m n"], k: int
) -> tuple[Float64[Tensor, "b k"], Float64[Tensor, " b"]]:
    """Return the k leading singular values and the Frobenius norm of many updates.

    Args:
        deltas: Updates of one matrix at many steps, shape (b, m, n), float32 or wider.
        k: How many; at most min(m, n) come back.

    Returns:
        Singular values, shape (b, min(k, m, n)), falling, and norms, shape (b,), both float64.
    """
    b, m, n = deltas.shape
    k = min(k, m, n)
    sigma = torch.empty(b, k, dtype=torch.float64)
    frobenius = torch.empty(b, dtype=torch.float64)
    size = max(1, _BATCH_BYTES // max(1, 8 * m * n))
    for start in range(0, b, size):
        wide = deltas[start : start + size].to(torch.float64)
        small = wide if m <= n else wide.mT
        values = torch.linalg.eigvalsh(small @ small.mT)
        sigma[start : start + size] = values.flip(1)[:, :k].clamp(min=0.0).sqrt()
        frobenius[start : start + size] = torch.linalg.vector_norm(wide, dim=(1, 2))
    return sigma, frobenius
