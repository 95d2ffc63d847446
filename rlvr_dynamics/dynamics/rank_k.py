"""Parts of an update along its singular vectors, and their share of its norm.

Source: AlphaRL, arXiv 2510.00553, equation 3 and figures 4a and 11. The text of equation 3 says
"L2 norm"; the released code uses the Frobenius norm, and with the spectral norm the factor would
always be 1.

Legend: m x n a weight matrix, s = min(m, n), k rank, σ singular values.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rlvr_dynamics.dynamics.update_svd import smaller_gram, update_svd

RANKS = ("1", "1%", "5%", "10%", "20%", "30%", "40%", "50%", "60%", "70%", "80%", "90%")
"""Ranks at which norm shares are reported; percentages are of min(m, n)."""

_BLOCK_COLUMNS = 1024
_EXACT = 1e-9
_NO_DIRECTION = 1e-12


def rank_of_percent(m: int, n: int, percent: float) -> int:
    """Return ceil(percent / 100 min(m, n)), at least 1.

    The percentage is taken as the decimal number written: 0.1 per cent of 1000 is exactly 1.

    Args:
        m: Rows.
        n: Columns.
        percent: Above 0, at most 100.

    Raises:
        ValueError: percent is outside that range.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"a share of the rank lies above 0 and at most at 100 %, not {percent}")
    return max(1, math.ceil(Fraction(str(percent)) * min(m, n) / 100))


def ranks_of(m: int, n: int) -> dict[str, int]:
    """Return the rank k of every label in `RANKS` for an m x n matrix."""
    return {
        label: rank_of_percent(m, n, int(label[:-1])) if label.endswith("%") else int(label)
        for label in RANKS
    }


def rank_shares(
    sigma: Float[np.ndarray, "... s"] | Float[Tensor, "... s"], ks: Sequence[int]
) -> np.ndarray:
    """Return the norm shares ‖ΔW_k‖_F / ‖ΔW‖_F of the best rank-k approximations.

    Args:
        sigma: All singular values, descending, shape (..., s).
        ks: Ranks, each at least 1; the share is 1 from s on.

    Returns:
        Shape (..., len(ks)), float64; NaN for an update of zero.

    Raises:
        ValueError: A rank is below 1.
    """
    if min(ks, default=1) < 1:
        raise ValueError(f"ranks must be at least 1, not {min(ks)}")
    values = np.asarray(sigma, dtype=np.float64)
    # Only ratios matter, and tiny values would underflow when squared.
    top = values[..., :1]
    relative = np.divide(values, top, where=top > 0.0, out=np.full(values.shape, np.nan))
    held = np.cumsum(relative**2, axis=-1)
    index = np.minimum(np.asarray(ks, dtype=int), values.shape[-1]) - 1
    return np.sqrt(held[..., index] / held[..., -1:])


def subspace_update(delta: Float[Tensor, "m n"], index: int) -> Float64[Tensor, "m n"]:
    """Return ‖ΔW‖_F u_i v_iᵀ: one singular direction with the norm of the full update.

    Source: AlphaRL, figures 4a and 11.

    Args:
        delta: The update, shape (m, n), float32 or wider.
        index: i, from 1 (the leading direction) to min(m, n).

    Returns:
        Shape (m, n), float64, on the CPU. Zero if σ_i is at most 1e-12 σ1, because the update then
        has no i-th direction.

    Raises:
        ValueError: The index is outside its range.
    """
    s = min(delta.shape)
    if not 1 <= index <= s:
        raise ValueError(f"the index of a singular direction must be 1 to {s}, not {index}")
    # Minor directions have close neighbours, which only the exact methods separate.
    svd = update_svd(delta, index, tolerance=_EXACT)
    if float(svd.singular_values[-1]) <= _NO_DIRECTION * float(svd.singular_values[0]):
        return torch.zeros(delta.shape, dtype=torch.float64)
    return svd.frobenius * torch.outer(svd.u[:, -1], svd.v[:, -1])


def rank_k_update(delta: Float[Tensor, "m n"], k: int) -> Float64[Tensor, "m n"]:
    """Return (‖ΔW‖_F / ‖ΔW_k‖_F) ΔW_k, where ΔW_k is the best rank-k approximation.

    ΔW_k is the projection of ΔW on the leading vectors of its smaller side, which stay orthonormal
    however small their singular values are.

    Args:
        delta: The update, shape (m, n), float32 or wider.
        k: Rank, at least 1; from min(m, n) on, the update itself is returned.

    Returns:
        Shape (m, n), float64. An update of zero gives zero.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"rank must be at least 1, not {k}")
    m, n = delta.shape
    if k >= min(m, n):
        return delta.to(torch.float64, copy=True)
    values, vectors = torch.linalg.eigh(smaller_gram(delta))
    top = vectors[:, -k:]
    kept, whole = float(values[-k:].clamp(min=0.0).sum()), float(values.clamp(min=0.0).sum())
    if kept == 0.0:
        return torch.zeros(m, n, dtype=torch.float64)
    # Projected a block at a time: the result is the only float64 matrix of this size.
    low = torch.empty(m, n, dtype=torch.float64, device=delta.device)
    far, place = (delta, low) if m <= n else (delta.mT, low.mT)
    projector = top * (whole / kept) ** 0.5
    for start in range(0, far.shape[1], _BLOCK_COLUMNS):
        part = far[:, start : start + _BLOCK_COLUMNS].to(torch.float64)
        place[:, start : start + _BLOCK_COLUMNS] = projector @ (top.mT @ part)
    return low
