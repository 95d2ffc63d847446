"""Memory-mapped tensors: values are read from the file's pages without a copy.

Pages are loaded in runs by a call that reports a truncated or unreadable file; touching such a
page directly would kill the process without a message.
"""

import errno
import mmap
import os
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.layout import ITEM_BYTES, TensorEntry

_POPULATE_READ = 22  # MADV_POPULATE_READ, Linux 5.14; Python has no name for it yet


@cache
def can_map() -> bool:
    """Return whether this system can load a file's pages and report a failure."""
    if not hasattr(mmap.mmap, "madvise"):
        return False
    try:
        with mmap.mmap(-1, mmap.PAGESIZE) as page:
            page.madvise(_POPULATE_READ)
    except OSError:
        return False
    return True


class MappedTensor:
    """One flattened tensor of a safetensors file, shape (d,); must not be written to.

    Args:
        path: The file.
        entry: The tensor's position in it; at least one element.
        dtype: Its dtype.

    Raises:
        OSError: The file cannot be mapped.
        ValueError: The tensor does not start at a multiple of its element's size.
    """

    def __init__(self, path: Path, entry: TensorEntry, dtype: torch.dtype) -> None:
        """Map the file; no value is read yet."""
        self._skip = entry.begin % mmap.ALLOCATIONGRANULARITY
        self._item = ITEM_BYTES[entry.dtype]
        if self._skip % self._item:
            raise ValueError(f"values of {path} are not aligned")
        place = entry.begin - self._skip
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # Private and writable, because torch has no read-only tensors; nothing writes to it.
            self._pages = mmap.mmap(
                descriptor, entry.end - place, access=mmap.ACCESS_COPY, offset=place
            )
        finally:
            os.close(descriptor)
        self._values = torch.frombuffer(
            self._pages, dtype=dtype, count=entry.numel, offset=self._skip
        )

    def elements(self, start: int, stop: int) -> Tensor:
        """Return elements `start` to `stop`, shape (stop - start,), shared with the file.

        Raises:
            OSError: The file is truncated or cannot be read.
        """
        first = self._skip + start * self._item
        first -= first % mmap.PAGESIZE
        length = self._skip + stop * self._item - first
        while True:
            try:
                self._pages.madvise(_POPULATE_READ, first, length)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    raise
        return self._values[start:stop]
