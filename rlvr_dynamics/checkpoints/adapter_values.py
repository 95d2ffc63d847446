"""Values of a tensor changed by an adapter, and the change alone, in float32.

Legend: m x n a weight as stored, r the rank of its adapter.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.layout import Adapter, Change, TensorEntry
from rlvr_dynamics.checkpoints.stored_values import read_stored

ReadBase = Callable[[int, int], Tensor]


def merged_elements(
    adapter: Adapter, name: str, columns: int, start: int, stop: int, read_base: ReadBase
) -> Tensor:
    """Return elements of a changed tensor, W_0 + s B A, rounded once to float32.

    Args:
        adapter: The adapter.
        name: A tensor that it changes.
        columns: n, the length of the tensor's rows.
        start: First element of the flattened tensor.
        stop: One past the last.
        read_base: Function from (start, stop) to the base's elements in any float dtype.

    Returns:
        Shape (stop - start,), float32.
    """
    change = adapter.changes[name]
    values = _start(adapter.path, change, start, stop, read_base).double()
    return values.add_(_added(adapter.path, change, columns, start, stop)).float()


def update_elements(
    adapter: Adapter, name: str, columns: int, start: int, stop: int, read_base: ReadBase
) -> Tensor:
    """Return elements of the change alone, s B A, free of the merged weight's rounding.

    See `merged_elements`.
    """
    change = adapter.changes[name]
    update = _added(adapter.path, change, columns, start, stop)
    if change.replacement is not None:
        update += _start(adapter.path, change, start, stop, read_base).double()
        update -= read_base(start, stop)
    return update.float()


def _start(path: Path, change: Change, start: int, stop: int, read_base: ReadBase) -> Tensor:
    if change.replacement is not None:
        return read_stored(path, change.replacement, start, stop)
    return read_base(start, stop)


def _added(path: Path, change: Change, columns: int, start: int, stop: int) -> Tensor:
    """Return elements of the added term, shape (stop - start,), float64."""
    added = torch.zeros(stop - start, dtype=torch.float64)
    if change.addition is not None:
        added += change.scale * read_stored(path, change.addition, start, stop).double()
    if change.left is None or change.right is None:
        return added
    low, high = start // columns, -(-stop // columns)
    if change.transposed:  # the weight's rows are the columns of A
        left = _whole(path, change.left)[:, low:high].mT
        right = _whole(path, change.right).mT
    else:
        rank = change.left.shape[1]
        left = read_stored(path, change.left, low * rank, high * rank).double().view(-1, rank)
        right = _whole(path, change.right)
    product = (left @ right).mul_(change.scale).reshape(-1)
    skip = start - low * columns
    return added.add_(product[skip : skip + stop - start])


def _whole(path: Path, entry: TensorEntry) -> Tensor:
    return read_stored(path, entry, 0, entry.numel).double().view(entry.shape)
