"""Gram matrix and combinations of updates, directly from stored weights.

Stored rows are widened and turned into updates in blocks of a few megabytes, never a whole tensor
at a time. Smaller blocks would fit the cache better, but two threads would then contend for the
GIL at every call and together be slower than one.

Columns that no step changed need not be given: they add nothing (`changes_of`).

Gram matrices are products in float64. Float32 products of 16-bit weights' updates, which are exact,
took 0.6 of the time and lost 1e-9 of σ1²: 3e-8 of σ1 in a singular value that is a thousandth of it
(T = 64). The predictions of large 16-bit tensors are combined in float32, as they are rounded to
4e-3 of the weight afterwards.

Legend: T observed steps, d elements of one tensor, c elements of a piece.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rlvr_dynamics.dynamics.trajectory_svd import accumulate_gram_of_weights

MANY = 1 << 16
"""Number of elements from which predictions of 16-bit weights are combined in float32."""

_STEP = 512
_BLOCK_BYTES = 12 << 20
_LARGEST_BLOCK = 1 << 17
_NARROW = (torch.bfloat16, torch.float16)

Rows = Sequence[Float[Tensor, " c"]]
"""W_0 and every W_t, T + 1 tensors of any float dtype."""

Pieces = Iterable[Sequence[Float[Tensor, " _"]]]
"""Rows of consecutive parts of a tensor, each of any length."""


def prediction_dtype(stored: torch.dtype, d: int) -> torch.dtype:
    """Return the dtype in which the updates of a tensor are combined to predictions.

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
        fitting = _BLOCK_BYTES // ((T + 1) * dtype.itemsize) // _STEP * _STEP
        self.columns = max(_STEP, min(_LARGEST_BLOCK, fitting))
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


def gram_of_stored(pieces: Pieces, T: int) -> Float64[Tensor, "T T"]:
    """Return M Mᵀ of the updates, float64, from all pieces of the saved weights.

    Args:
        pieces: W_0 and every W_t, piece by piece.
        T: Number of steps.
    """
    gram = torch.zeros(T, T, dtype=torch.float64)
    for rows in pieces:
        accumulate_gram_of_weights(gram, rows)
    return gram


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
