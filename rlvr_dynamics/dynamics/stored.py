"""Gram matrix and combinations of updates, directly from stored weights.

Stored rows are widened and turned into updates in blocks of a few megabytes, never a whole tensor
at a time. Smaller blocks would fit the cache better, but two threads would then contend for the
GIL at every call and together be slower than one.

Columns that no step changed need not be given: they add nothing (`changes_of`).

The Gram matrix is symmetric: strips of a few rows are multiplied only with rows from the strip on.
The products of `RUN` columns are summed in the block's dtype, the runs in float64. Float32 blocks
are two to three times as fast. Updates of 16-bit weights are exact in float32 unless they differ
from the base by more than 2^16; the sums of a run lose about 1e-9 of σ1² (measured at 1e5 to 2.5e7
elements, T = 20), so a singular value loses 1e-9 σ1² / σ and never more than 4e-5 σ1, while the
16-bit weight itself is rounded to 4e-3 of its size. Float32 is used only for predictions of 16-bit
weights; all measurements use float64 products.

Legend: T observed steps, d elements of one tensor, c elements of a piece.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rlvr_dynamics.dynamics.changes import FEWEST_STEPS, increments_product
from rlvr_dynamics.dynamics.trajectory_svd import accumulate_gram_of_weights

RUN = 512
MANY = 1 << 16
"""Number of elements from which predictions of 16-bit weights use float32 products."""

_STRIP = 10
_BLOCK_BYTES = 12 << 20
_LARGEST_BLOCK = 1 << 17
_SAFE_SQUARES = (1e-24, 1e24)
_NARROW = (torch.bfloat16, torch.float16)

Rows = Sequence[Float[Tensor, " c"]]
"""W_0 and every W_t, T + 1 tensors of any float dtype."""

Pieces = Iterable[Sequence[Float[Tensor, " _"]]]
"""Rows of consecutive parts of a tensor, each of any length."""


def prediction_dtype(stored: torch.dtype, d: int) -> torch.dtype:
    """Return the dtype for products of a tensor's updates in a prediction.

    Args:
        stored: Dtype of the saved weights.
        d: Number of elements.
    """
    return torch.float32 if stored in _NARROW and d >= MANY else torch.float64


class UpdateBlocks:
    """Reusable memory for one block of W_0 and the updates W_t - W_0.

    Args:
        T: Number of steps.
        dtype: Dtype of the block, float32 or float64.
    """

    def __init__(self, T: int, dtype: torch.dtype) -> None:
        """Allocate the memory."""
        fitting = _BLOCK_BYTES // ((T + 1) * dtype.itemsize) // RUN * RUN
        self.columns = max(RUN, min(_LARGEST_BLOCK, fitting))
        self.dtype = dtype
        self._room = torch.empty(T + 1, self.columns, dtype=dtype)
        self._rows = self._room.unbind()

    def of(self, rows: Rows) -> Iterator[tuple[int, Tensor]]:
        """Yield (start, block of shape (T + 1, columns)): W_0 first, then the updates.

        Each block overwrites the previous one.
        """
        for index, parts in enumerate(zip(*(row.split(self.columns) for row in rows), strict=True)):
            count = len(parts[0])
            whole = count == self.columns
            block = self._room if whole else self._room[:, :count]
            for target, part in zip(self._rows if whole else block, parts, strict=True):
                target.copy_(part)
            block[1:].sub_(block[:1])
            yield index * self.columns, block


def gram_of_stored(pieces: Pieces, T: int, dtype: torch.dtype) -> Float64[Tensor, "T T"]:
    """Return M Mᵀ of the updates, float64, from all pieces of the saved weights.

    Args:
        pieces: W_0 and every W_t, piece by piece.
        T: Number of steps.
        dtype: Dtype of updates and products: float64, or float32 with runs summed in float64.
    """
    gram = torch.zeros(T, T, dtype=torch.float64)
    if dtype == torch.float64:
        for rows in pieces:
            accumulate_gram_of_weights(gram, torch.stack(tuple(rows)))
        return gram
    blocks = UpdateBlocks(T, dtype)
    sparse = torch.zeros_like(gram)
    for rows in pieces:
        found = increments_product(torch.stack(tuple(rows))) if T >= FEWEST_STEPS else None
        if found is not None:
            sparse += found
            continue
        for _, block in blocks.of(rows):
            _add_products(gram, block[1:])
    return gram.triu() + gram.triu(1).mT + sparse


def _add_products(gram: Tensor, updates: Tensor) -> None:
    """Add the products of each strip of rows with the rows from that strip on."""
    count = updates.shape[1]
    whole = count - count % RUN
    runs = updates[:, :whole].unflatten(1, (-1, RUN)).transpose(0, 1)
    for low in range(0, len(gram), _STRIP):
        strip = slice(low, low + _STRIP)
        if whole:
            products = torch.bmm(runs[:, strip], runs[:, low:].mT)
            gram[strip, low:] += products.sum(0, dtype=torch.float64)
        if whole < count:
            rest = updates[low:, whole:].to(gram)
            gram[strip, low:].addmm_(rest[:_STRIP], rest.mT)


def prediction_gram(
    pieces: Callable[[], Pieces], T: int, stored: torch.dtype, d: int
) -> Float64[Tensor, "T T"]:
    """Return M Mᵀ with the precision a prediction needs; see the module docstring.

    Args:
        pieces: Returns W_0 and every W_t, piece by piece; called twice if necessary.
        T: Number of steps.
        stored: Dtype of the saved weights.
        d: Number of elements.
    """
    if prediction_dtype(stored, d) == torch.float32:
        gram = gram_of_stored(pieces(), T, torch.float32)
        low, high = _SAFE_SQUARES
        # Float32 squares overflow above 1e38 and lose digits below 1e-38.
        if low < float(gram.diagonal().max()) / d < high:
            return gram
    return gram_of_stored(pieces(), T, torch.float64)


def combine_stored(weights: np.ndarray, rows: Rows, blocks: UpdateBlocks) -> Float[Tensor, "r c"]:
    """Return W_0 + A M for one piece, in the dtype of the blocks.

    Args:
        weights: A, shape (r, T).
        rows: W_0 and every W_t.
        blocks: Memory for the updates.
    """
    matrix = torch.from_numpy(np.ascontiguousarray(weights)).to(blocks.dtype)
    found = matrix.new_empty(len(matrix), len(rows[0]))
    for start, block in blocks.of(rows):
        part = found[:, start : start + block.shape[1]]
        torch.mm(matrix, block[1:], out=part)
        part.add_(block[:1])
    return found
