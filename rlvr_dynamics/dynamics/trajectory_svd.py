"""The singular value decomposition of a tensor's trajectory, through its T x T Gram matrix.

M (T x d) has the flattened updates W_t - W_0 as rows and is not centred. With G = M Mᵀ = U S² Uᵀ,
the singular values are sqrt(λ), the coefficients c_t = σ u[t], and the directions v = Mᵀ u / σ.
Source: RELEX, arXiv 2605.21468.

Precision: differences in float32 or wider, everything after them in float64. An eigenvalue of G is
exact to about 1e-16 σ1², so a singular value to about 1e-16 σ1² / σ, and never worse than 2e-8 σ1.

Legend: T observed steps, d elements of one tensor, k rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rlvr_dynamics.dynamics.changes import increments_product

COLUMNS = 8192
"""Columns converted to float64 at a time: 10 MB for 150 steps."""

_PIECES = 32
_STRIP = 64
"""Rows of a symmetric product that are multiplied with the rows from there on."""

NEGLIGIBLE = 1e-6
"""Directions with σ up to this share of σ1 are treated as noise, that is zero (as in RELEX)."""


@dataclass(frozen=True)
class TrajectorySVD:
    """The leading part of a trajectory's decomposition; k is at most T.

    Attributes:
        singular_values: Shape (k,), float64, descending.
        u: Left vectors, shape (T, k), float64, each with the sign that makes it increase.
        explained_variance: Shape (k,): share of ‖M‖_F² in the first 1, 2, ... k components; NaN
            when nothing moved.
    """

    singular_values: np.ndarray
    u: np.ndarray
    explained_variance: np.ndarray

    @property
    def coefficients(self) -> np.ndarray:
        """The coordinates c_t = σ u[t] of every step, shape (T, k), float64."""
        return self.u * self.singular_values

    @property
    def rows_to_directions(self) -> np.ndarray:
        """The matrix A (k x T) with directions v = A M; zero rows where σ is negligible."""
        top = self.singular_values[0] if len(self.singular_values) else 0.0
        kept = self.singular_values > NEGLIGIBLE * top
        inverse = np.divide(1.0, self.singular_values, where=kept, out=np.zeros(len(kept)))
        return self.u.T * inverse[:, None]


def accumulate_gram(gram: Float64[Tensor, "T T"], updates: Float[Tensor, "T c"]) -> None:
    """Add the contribution of some columns to a Gram matrix, in place.

    Args:
        gram: Running sum of M Mᵀ, shape (T, T), float64.
        updates: Columns of M, shape (T, c), float32 or wider.
    """
    accumulate_products(gram, updates, updates)


def accumulate_gram_of_weights(
    gram: Float64[Tensor, "T T"],
    weights: Float[Tensor, "rows c"] | Sequence[Float[Tensor, " c"]],
) -> None:
    """Add the contribution of some columns to a Gram matrix, from saved weights, in place.

    The differences are computed in float64, where those of float32 and narrower weights are exact
    to 1e-16; only one cache-sized block is widened at a time. Where few steps change a column, they
    are the products of the increments (`increments_product`).

    Args:
        gram: Running sum of M Mᵀ, shape (T, T), float64.
        weights: The same columns of W_0 and of every W_t, shape (T + 1, c) or a tensor a row, any
            float dtype.
    """
    rows = list(weights)
    sparse = increments_product(rows) if rows[0].device.type == "cpu" else None
    if sparse is not None:
        gram += sparse
        return
    count = len(rows[0])
    whole = count - count % COLUMNS
    if whole:
        wide = gram.new_empty(_PIECES, len(rows), COLUMNS // _PIECES)
        updates = wide[:, 1:]
        sums = gram.new_zeros(_PIECES, *gram.shape)
        for start in range(0, whole, COLUMNS):
            for place, row in enumerate(rows):
                wide[:, place].copy_(row[start : start + COLUMNS].view(_PIECES, -1))
            updates.sub_(wide[:, :1])
            _add_symmetric(sums, updates)
        gram += _whole(sums.sum(0))
    if whole < count:
        rest = torch.stack([row[whole:] for row in rows]).to(gram)
        rest[1:].sub_(rest[:1])
        gram.addmm_(rest[1:], rest[1:].mT)


def accumulate_products(
    products: Float64[Tensor, "T new"],
    old_updates: Float[Tensor, "T c"],
    new_updates: Float[Tensor, "new other"],
) -> None:
    """Add the contribution of some columns to the products of old and new rows, in place.

    Args:
        products: Running sum of M Nᵀ, shape (T, new), float64.
        old_updates: Columns of M, shape (T, c), float32 or wider.
        new_updates: The same columns of N, shape (new, c), float32 or wider.

    Raises:
        ValueError: The two have different numbers of columns.
    """
    count = old_updates.shape[1]
    if count != new_updates.shape[1]:
        raise ValueError(f"{count} columns of old updates, {new_updates.shape[1]} of new ones")
    whole = count - count % COLUMNS
    if whole:
        # A product of few rows and many columns runs on one core; a batch of narrower products
        # uses all cores.
        width = COLUMNS // _PIECES
        old = products.new_empty(_PIECES, len(old_updates), width)
        same = new_updates is old_updates
        new = old if same else products.new_empty(_PIECES, len(new_updates), width)
        sums = products.new_zeros(_PIECES, *products.shape)
        for start in range(0, whole, COLUMNS):
            _fill(old, old_updates[:, start : start + COLUMNS])
            if same:
                _add_symmetric(sums, old)
            else:
                _fill(new, new_updates[:, start : start + COLUMNS])
                sums.baddbmm_(old, new.mT)
        products += _whole(sums.sum(0)) if same else sums.sum(0)
    if whole < count:
        products.addmm_(old_updates[:, whole:].to(products), new_updates[:, whole:].to(products).mT)


def _add_symmetric(sums: Float64[Tensor, "p T T"], updates: Float64[Tensor, "p T w"]) -> None:
    """Add M Mᵀ of every piece; left of the diagonal only within a strip."""
    for low in range(0, updates.shape[1], _STRIP):
        strip = slice(low, low + _STRIP)
        sums[:, strip, low:] += updates[:, strip] @ updates[:, low:].mT


def _whole(upper: Float64[Tensor, "T T"]) -> Float64[Tensor, "T T"]:
    """Complete a symmetric matrix of strips."""
    return upper if len(upper) <= _STRIP else upper.triu() + upper.triu(1).mT


def _fill(pieces: Float64[Tensor, "p T w"], columns: Float[Tensor, "T c"]) -> None:
    pieces.copy_(columns.unflatten(1, (len(pieces), -1)).transpose(0, 1))


def extend_gram(
    gram: Float64[Tensor, "T T"],
    products: Float64[Tensor, "T new"],
    corner: Float64[Tensor, "new new"],
) -> Float64[Tensor, "all all"]:
    """Extend a Gram matrix by new steps.

    Args:
        gram: M Mᵀ of the earlier steps, shape (T, T), float64.
        products: M Nᵀ, earlier times new steps, shape (T, new), float64.
        corner: N Nᵀ of the new steps, shape (new, new), float64.

    Returns:
        Shape (T + new, T + new), float64; the new steps come last.
    """
    above = torch.cat([gram, products], dim=1)
    below = torch.cat([products.mT, corner], dim=1)
    return torch.cat([above, below])


def trajectory_gram(updates: Float[Tensor, "T d"]) -> Float64[Tensor, "T T"]:
    """Return M Mᵀ in float64 for a stack of updates, shape (T, d)."""
    gram = torch.zeros(len(updates), len(updates), dtype=torch.float64)
    accumulate_gram(gram, updates)
    return gram


def svd_of_gram(gram: Float64[Tensor, "T T"], k: int, steps: np.ndarray) -> TrajectorySVD:
    """Decompose a trajectory from its Gram matrix.

    The sign of each component is chosen so that its least-squares line on the step number rises;
    without a slope (T = 1, or exactly zero) the sum of the coefficients is positive.

    Args:
        gram: M Mᵀ, shape (T, T), float64.
        k: Number of components; at most T are returned.
        steps: Step numbers, shape (T,), for the sign.

    Returns:
        The decomposition. A trajectory that never moved has σ = 0, coefficients 0 and explained
        variance NaN.
    """
    values, vectors = torch.linalg.eigh(gram)
    squares = values.flip(0)[:k].clamp(min=0.0).numpy()
    u = vectors.flip(1)[:, :k].numpy()
    centred = steps - np.mean(steps)
    growth = centred @ u
    growth = np.where(growth == 0.0, u.sum(axis=0), growth)
    total = float(torch.trace(gram))
    explained = np.cumsum(squares) / total if total > 0.0 else np.full(len(squares), np.nan)
    return TrajectorySVD(
        singular_values=np.sqrt(squares),
        u=u * np.where(growth < 0.0, -1.0, 1.0),
        explained_variance=np.minimum(explained, 1.0),
    )


def trajectory_svd(
    updates: Float[Tensor, "T d"], k: int, steps: np.ndarray | None = None
) -> TrajectorySVD:
    """Decompose a trajectory held in memory.

    Args:
        updates: Rows vec(W_t - W_0), shape (T, d), float32 or wider.
        k: Number of components; at most T are returned.
        steps: Step numbers, shape (T,); 1 ... T when None.
    """
    numbers = np.arange(1, len(updates) + 1) if steps is None else np.asarray(steps)
    return svd_of_gram(trajectory_gram(updates), k, numbers)


def row_combination(weights: np.ndarray, updates: Float[Tensor, "T c"]) -> Float64[Tensor, "r c"]:
    """Return A M for some columns of M, computed in float64.

    Directions, reconstructions and every extrapolation that is linear in the observed updates
    have this form, so one pass over the files serves them all.

    Args:
        weights: A, shape (r, T).
        updates: Columns of M, shape (T, c); the result is on the same device.
    """
    matrix = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float64)).to(updates.device)
    result = matrix.new_empty(len(matrix), updates.shape[1])
    room = matrix.new_empty(len(updates), min(COLUMNS, updates.shape[1]))
    for start in range(0, updates.shape[1], COLUMNS):
        columns = updates[:, start : start + COLUMNS]
        part = room[:, : columns.shape[1]].copy_(columns)
        torch.mm(matrix, part, out=result[:, start : start + COLUMNS])
    return result
