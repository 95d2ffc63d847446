"""Read and write a range of a stored tensor."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.layout import ITEM_BYTES, Shard, TensorEntry
from rlvr_dynamics.errors import UserError

TORCH_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_KEPT_FILES = 128  # of the 1024 that a process may usually open

_in_use = threading.local()


class OpenFiles:
    """Files that a pass over a tensor keeps open from one block to the next."""

    def __init__(self) -> None:
        """Start with none."""
        self._descriptors: dict[Path, int] = {}

    def of(self, path: Path) -> int:
        """Return the descriptor of a file, open for reading."""
        if path not in self._descriptors:
            if len(self._descriptors) == _KEPT_FILES:  # the last one, as passes go round
                os.close(self._descriptors.popitem()[1])
            self._descriptors[path] = os.open(path, os.O_RDONLY)
        return self._descriptors[path]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let `read_stored` use them in this thread until the block ends."""
        before = getattr(_in_use, "files", None)
        _in_use.files = self
        try:
            yield
        finally:
            _in_use.files = before

    def close(self) -> None:
        """Close all."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


@contextmanager
def files_kept_open() -> Iterator[None]:
    """Keep the files open that this thread reads until the block ends."""
    with closing(OpenFiles()) as files, files.used():
        yield


def raw_bytes(values: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor, shape (c,), sharing its memory."""
    # numpy arrays support the buffer protocol; the type stubs know it only from Python 3.12 on.
    return memoryview(cast(bytes, values.view(torch.uint8).numpy()))


def read_stored(
    source: Shard | Path,
    entry: TensorEntry,
    start: int,
    stop: int,
    out: Tensor | None = None,
    what: str = "a tensor",
) -> Tensor:
    """Read elements `start` to `stop` of a flattened tensor, as stored.

    Args:
        source: The file, or its path.
        entry: The tensor's position in it.
        start: First element.
        stop: One past the last.
        out: Contiguous memory of the stored dtype, shape (stop - start,); allocated when None.
        what: The tensor in words, for error messages.

    Raises:
        UserError: The file is truncated, or the store that has it is damaged.
    """
    values = torch.empty(stop - start, dtype=TORCH_DTYPES[entry.dtype]) if out is None else out
    if values.numel():
        begin = entry.begin + start * ITEM_BYTES[entry.dtype]
        read_place(source, begin, raw_bytes(values), what)
    return values


def read_place(source: Shard | Path, begin: int, out: Any, what: str) -> None:
    """Fill memory with the bytes of a file from `begin` on, within one tensor.

    Args:
        source: The file, or its path.
        begin: Place of the first byte.
        out: Contiguous memory of bytes.
        what: What they are in words, for error messages.

    Raises:
        UserError: The file is truncated, or the store that has it is damaged.
    """
    if isinstance(source, Shard) and source.store is not None:
        source.store.read(source.step, source.path.name, begin, out)
    else:
        read_bytes(source.path if isinstance(source, Shard) else source, begin, out, what)


def read_bytes(path: Path, begin: int, out: Any, what: str) -> None:
    """Fill memory with the bytes of a file from `begin` on.

    Args:
        path: The file.
        begin: Place of the first byte.
        out: Contiguous memory of bytes.
        what: What they are in words, for error messages.

    Raises:
        UserError: The file is truncated.
    """
    room = memoryview(out)
    kept: OpenFiles | None = getattr(_in_use, "files", None)
    with closing(OpenFiles()) if kept is None else nullcontext(kept) as files:
        descriptor, done = files.of(path), 0
        while done < len(room):
            count = os.preadv(descriptor, [room[done:]], begin + done)
            if not count:
                raise UserError(
                    f"truncated while it was read: {what}",
                    where=str(path),
                    way_out="leave checkpoints alone while they are analysed, then run again",
                )
            done += count


def write_at(descriptor: int, data: bytes | memoryview, place: int) -> None:
    """Write all of some bytes at a place of an open file; one `pwrite` may write only a part."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], place + done)
