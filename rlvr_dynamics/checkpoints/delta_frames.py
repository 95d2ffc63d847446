"""The zstd frames in which a delta store keeps the change of one tensor.

Every `BLOCK_BYTES` of a change are a frame of their own, and a table of their sizes follows. This
is zstd's seekable format (contrib/seekable_format in github.com/facebook/zstd): the table is a
frame that decoders skip, so they read a tensor as one piece. Any place is reached at once, and
between two reads nothing is held but some compressed bytes. A decoder that goes on in one long
frame holds 2 MB for each step, and needs more bytes where few values change.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from rlvr_dynamics.checkpoints.stored_values import read_bytes

BLOCK_BYTES = 1 << 17
LEVEL = 1
_READ_BYTES = 1 << 16
_CODEC = pa.Codec("zstd", compression_level=LEVEL)
_SKIPPED, _SEEKABLE = 0x184D2A5E, 0x8F92EAB1
_HEAD, _ENTRY, _FOOT = 8, 8, 9


@dataclass(frozen=True)
class Frame:
    """The compressed change of one tensor: bytes `begin` to `end` of a file."""

    path: Path
    begin: int
    end: int


def compressed(block: np.ndarray) -> bytes:
    """Return the frame of a block, shape (n,), uint8."""
    return _CODEC.compress(block, asbytes=True)


def seek_table(sizes: Iterable[tuple[int, int]]) -> bytes:
    """Return the table that follows the frames.

    Args:
        sizes: Compressed and decompressed bytes of every frame.
    """
    entries = np.array(list(sizes), dtype="<u4").reshape(-1, 2)
    head, foot = _ends(len(entries))
    return head + entries.tobytes() + foot


def _ends(count: int) -> tuple[bytes, bytes]:
    """Return what comes before and after the entries of a table."""
    length = _ENTRY * count + _FOOT
    head = _SKIPPED.to_bytes(4, "little") + length.to_bytes(4, "little")
    return head, count.to_bytes(4, "little") + b"\0" + _SEEKABLE.to_bytes(4, "little")


class FrameReader:
    """The blocks of a change, in any order; those that follow each other are read together.

    Args:
        frame: Where it is.
    """

    def __init__(self, frame: Frame) -> None:
        """Read nothing yet."""
        self._frame, self._size = frame, frame.end - frame.begin
        self._room, self._low = memoryview(b""), 0
        self._places: np.ndarray | None = None
        self._sizes = np.zeros(0, np.uint32)
        self._kept: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        """Return the number of blocks.

        Raises:
            OSError: The table is damaged.
        """
        if self._places is None:
            self._read_table()
        return len(self._sizes)

    def read(self, number: int, start: int, count: int) -> np.ndarray:
        """Return bytes of a block; the rest of it is kept until the next call.

        Args:
            number: Of the block.
            start: First byte in it.
            count: How many.

        Raises:
            OSError: The frame or the table is damaged.
            UserError: The file is truncated.
        """
        if self._kept is not None and self._kept[0] == number:
            block = self._kept[1]
        else:
            block = self.block(number)
        stop = start + count
        if stop > len(block):
            raise OSError("a block is too short")
        self._kept = (number, block) if stop < len(block) else None
        return block[start:stop]

    def block(self, number: int) -> np.ndarray:
        """Return a whole block, shape (n,), uint8; see `read`."""
        if number >= len(self) or self._places is None:
            raise OSError("there are too few blocks")
        frame = self._bytes(int(self._places[number]), int(self._places[number + 1]))
        size = int(self._sizes[number])
        return np.frombuffer(_CODEC.decompress(frame, decompressed_size=size), np.uint8)

    def _read_table(self) -> None:
        tail = self._bytes(max(0, self._size - _READ_BYTES), self._size)
        count = int.from_bytes(tail[-_FOOT : 4 - _FOOT], "little")
        length = _HEAD + _ENTRY * count + _FOOT
        if length > self._size:
            raise OSError("its table of blocks is damaged")
        table = self._bytes(self._size - length, self._size)
        entries = np.frombuffer(table[_HEAD:-_FOOT], "<u4").reshape(count, 2)
        places = np.concatenate([[0], entries[:, 0].cumsum(dtype=np.int64)])
        if (
            (bytes(table[:_HEAD]), bytes(table[-_FOOT:])) != _ends(count)
            or places[-1] + length != self._size
            or entries[:, 1].max(initial=0) > BLOCK_BYTES
        ):
            raise OSError("its table of blocks is damaged")
        self._places, self._sizes = places, entries[:, 1].copy()

    def _bytes(self, begin: int, end: int) -> memoryview:
        """Return some bytes, from memory if they were read with earlier ones."""
        if begin < self._low or end > self._low + len(self._room):
            room = bytearray(min(self._size, max(end, begin + _READ_BYTES)) - begin)
            read_bytes(self._frame.path, self._frame.begin + begin, room, "a frame")
            self._room, self._low = memoryview(room), begin
        return self._room[begin - self._low : end - self._low]
