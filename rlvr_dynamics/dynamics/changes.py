"""What a run changed in a range of columns, and products of its increments.

Between two steps of reinforcement learning most stored values stay the same, bit for bit. A column
that is equal in the base and in every step adds nothing to M Mᵀ and moves in no prediction, so both
need the other columns alone, the active ones: exactly, and in proportion to their number.

Whether a column is active costs T comparisons (0.1 ns each on one core of an EPYC with AVX-512), to
gather an active one T + 1 copies (0.5 ns), to multiply it T² products (0.03 ns in float32, 0.09 in
float64), and a column of a dense block a conversion (0.07 ns a value) and the same products. With
T = 20 the active columns are faster up to about half of all, with more steps beyond; from `DENSE`
on a block is taken whole.

Many steps are in a dense product what few are in a sparse one: where M = L D with the increments D
and lower triangular ones L, M Mᵀ = L (D Dᵀ) Lᵀ, and D has k of T entries in a column that changed
in k steps. The sparse product takes 1.3 ns for each of Σ k² pairs, the dense one 0.04 ns for each
of T² (float64, T = 64 to 500, half of it by symmetry). It pays below `SPARSE`, a mean k² of 1.2 %
of T²: 11 % of the steps, if all columns change alike.

Legend: T observed steps, c elements of a piece, n active columns in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

DENSE = 0.5
"""Share of active columns from which a block is taken whole."""

SPARSE = 0.012
"""Mean square of the share of steps in which a column changes, below which D Dᵀ is sparse."""

FEWEST_STEPS = 48
"""With fewer steps the dense product is as fast as counting the changes."""

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Changes:
    """What a run changed in consecutive columns.

    Attributes:
        base: W_0 of all columns, shape (c,), as stored.
        columns: The active ones, shape (n,), int64, ascending; None if all count as active.
        rows: W_0 and every W_t there, T + 1 tensors of shape (n,), as stored.
    """

    base: Float[Tensor, " c"]
    columns: Int64[Tensor, " n"] | None
    rows: Sequence[Float[Tensor, " n"]]

    @property
    def nbytes(self) -> int:
        """Bytes of all that is not shared with the rows it was made from, and of the base."""
        kept = 0 if self.columns is None else self.columns.nbytes
        return kept + self.base.nbytes + sum(row.nbytes for row in self.rows)

    def spread(self, values: Float[Tensor, " n"]) -> Float[Tensor, " c"]:
        """Return all columns: the given values in the active ones, else the bits of the base.

        Args:
            values: In the dtype of the base.
        """
        if self.columns is None:
            return values
        whole = self.base.clone()
        _bits(whole)[self.columns.numpy()] = _bits(values)
        return whole


class ActiveColumns:
    """Finds the active columns of a piece from one row after the other, while it is in the cache.

    Values are compared as bits, so that a change from 0 to -0 counts and NaN is equal to itself.

    Args:
        base: W_0, shape (c,), on the CPU, of any float dtype; it may be filled later.
    """

    def __init__(self, base: Float[Tensor, " c"]) -> None:
        """Start with no active column."""
        self._base, self._bits = base, _bits(base)
        self._active = np.zeros(len(base), dtype=bool)
        self._differs = np.empty(len(base), dtype=bool)
        self._dense = False

    def add(self, row: Float[Tensor, " c"]) -> None:
        """Take W_t of a step into account."""
        if not self._dense:
            np.not_equal(_bits(row), self._bits, out=self._differs)
            np.bitwise_or(self._active, self._differs, out=self._active)
            self._dense = np.count_nonzero(self._active) > DENSE * len(self._active)

    def add_changes(self, changed: np.ndarray) -> None:
        """Take all rows into account at once.

        Args:
            changed: As many bytes as the base has, 0 in all bytes of a column exactly where every
                row has the bits of the base.
        """
        self._active |= changed.view(self._bits.dtype) != 0
        self._dense = np.count_nonzero(self._active) > DENSE * len(self._active)

    def of(self, rows: Sequence[Float[Tensor, " c"]]) -> Changes:
        """Return the changes.

        Args:
            rows: The base and every row that was added, T + 1 tensors.
        """
        if self._dense:
            return Changes(self._base, None, rows)
        columns = np.flatnonzero(self._active)
        found = np.empty((len(rows), len(columns)), dtype=self._bits.dtype)
        for row, kept in zip(rows, found, strict=True):
            np.take(_bits(row), columns, out=kept, mode="clip")
        values = torch.from_numpy(found).view(self._base.dtype)
        return Changes(self._base, torch.from_numpy(columns), values.unbind())


def changes_of(rows: Sequence[Float[Tensor, " c"]]) -> Changes:
    """Return what changed in stored weights on the CPU.

    Args:
        rows: W_0 and every W_t, T + 1 tensors of one float dtype.

    Returns:
        The changes; the base, and the rows if all columns count, share memory with the input.
    """
    active = ActiveColumns(rows[0])
    for row in rows[1:]:
        active.add(row)
    return active.of(rows)


def _bits(values: Float[Tensor, "..."]) -> np.ndarray:
    return values.view(_BITS[values.element_size()]).numpy()


def increments_product(
    weights: Float[Tensor, "rows c"] | Sequence[Float[Tensor, " c"]],
) -> Float64[Tensor, "T T"] | None:
    """Return M Mᵀ through the increments of stored weights, or None if the dense product is faster.

    Increments of float32 and narrower weights are computed in float64, where they are exact to
    1e-16.

    Args:
        weights: W_0 and every W_t, shape (T + 1, c) or a tensor a row, on the CPU.
    """
    count = len(weights) - 1
    if count < FEWEST_STEPS:
        return None
    rows = list(weights)
    bits = [_bits(row) for row in rows]
    changes = np.zeros(len(bits[0]), dtype=np.int32)
    differs = np.empty(len(bits[0]), dtype=bool)
    for before, after in zip(bits[:-1], bits[1:], strict=True):
        changes += np.not_equal(before, after, out=differs)
    if float(np.square(changes, dtype=np.float64).sum()) > SPARSE * count**2 * len(changes):
        return None
    from scipy import sparse

    places, values = [], []
    for before, after, left, right in zip(bits[:-1], bits[1:], rows[:-1], rows[1:], strict=True):
        moved = np.flatnonzero(np.not_equal(before, after, out=differs))
        chosen = torch.from_numpy(moved)
        values.append((right[chosen].double() - left[chosen].double()).numpy())
        places.append(moved.astype(np.int32))
    ends = np.cumsum([0, *map(len, places)]).astype(np.int32)
    increments = sparse.csr_matrix(
        (np.concatenate(values), np.concatenate(places), ends), shape=(count, len(changes))
    )
    products = (increments @ increments.T).toarray().cumsum(axis=0).cumsum(axis=1)
    return torch.from_numpy((products + products.T) / 2.0)
