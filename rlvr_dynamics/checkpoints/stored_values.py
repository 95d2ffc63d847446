"""Read and write a range of a stored tensor."""

import os
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.layout import ITEM_BYTES, TensorEntry
from rlvr_dynamics.errors import UserError

TORCH_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def raw_bytes(values: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor, shape (c,), sharing its memory."""
    # numpy arrays support the buffer protocol; the type stubs know it only from Python 3.12 on.
    return memoryview(cast(bytes, values.view(torch.uint8).numpy()))


def read_stored(
    path: Path,
    entry: TensorEntry,
    start: int,
    stop: int,
    out: Tensor | None = None,
    what: str = "a tensor",
) -> Tensor:
    """Read elements `start` to `stop` of a flattened tensor, as stored.

    Args:
        path: The file.
        entry: The tensor's position in it.
        start: First element.
        stop: One past the last.
        out: Contiguous memory of the stored dtype, shape (stop - start,); allocated when None.
        what: The tensor in words, for error messages.

    Raises:
        UserError: The file is truncated.
    """
    values = torch.empty(stop - start, dtype=TORCH_DTYPES[entry.dtype]) if out is None else out
    if values.numel() == 0:
        return values
    room = raw_bytes(values)
    with path.open("rb", buffering=0) as file:
        file.seek(entry.begin + start * ITEM_BYTES[entry.dtype])
        done = 0
        while done < len(room):
            count = file.readinto(room[done:])
            if not count:
                raise UserError(
                    f"truncated while it was read: {what}",
                    where=str(path),
                    way_out="leave checkpoints alone while they are analysed, then run again",
                )
            done += count
    return values


def write_at(descriptor: int, data: bytes | memoryview, place: int) -> None:
    """Write all of some bytes at a place of an open file; one `pwrite` may write only a part."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], place + done)
