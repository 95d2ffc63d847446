"""Rank-k recovery of an update, rescaled to the norm of the whole.

Source: AlphaRL, arXiv 2510.00553, equation 3. The text says "L2 norm"; the released code takes
the Frobenius norm, and with the spectral norm the factor would always be 1.

Legend: m x n a weight matrix, k rank.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def rank_k_update(delta: Float[Tensor, "m n"], k: int) -> Float64[Tensor, "m n"]:
    """Return (‖ΔW‖_F / ‖ΔW_k‖_F) ΔW_k, where ΔW_k is the best rank-k approximation.

    ΔW_k is formed by projecting ΔW on the leading vectors of its smaller side, which stay
    orthonormal however small their singular values are.

    Args:
        delta: The update, shape (m, n), float32 or wider.
        k: Rank, at least 1; min(m, n) and more give the update itself.

    Returns:
        Shape (m, n), float64. An update of zero gives zero.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"rank must be at least 1, not {k}")
    wide = delta.to(torch.float64)
    m, n = wide.shape
    if k >= min(m, n):
        return wide.clone()
    small = wide if m <= n else wide.mT
    _, vectors = torch.linalg.eigh(small @ small.mT)
    top = vectors[:, -k:]
    low = top @ (top.mT @ small)
    norm = torch.linalg.vector_norm(low)
    if float(norm) == 0.0:
        return torch.zeros_like(wide)
    low = low * (torch.linalg.vector_norm(wide) / norm)
    return low if m <= n else low.mT.contiguous()
