"""The zstd frame in which a delta store keeps the change of one tensor.

A frame is compressed and decompressed a block at a time, in increasing places. Its window is 64
KiB: an open frame then holds little, and where few values change it is smaller than with a larger
one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import zstandard
from zstandard import ZstdError

from rlvr_dynamics.checkpoints.stored_values import read_bytes

BLOCK_BYTES = 1 << 17
OPEN_BYTES = 300_000
"""Memory of an open frame; of one with a window of 512 KiB, as earlier versions wrote, 870 000."""

_LEVEL, _WINDOW_LOG = 1, 16
_LARGEST_WINDOW = 1 << 23  # what RFC 8878 asks of every decoder
_READ_BYTES = 1 << 15
_LONGEST_HEADER = 18
_RLE, _BLOCK_HEADER, _CHECKSUM_BYTES = 1, 3, 4


@dataclass(frozen=True)
class Frame:
    """The compressed change of one tensor: bytes `begin` to `end` of a file."""

    path: Path
    begin: int
    end: int


class Compressor(Protocol):
    """What `compressor` returns."""

    def compress(self, data: memoryview, /) -> bytes:
        """Take the next bytes; return what of the frame is ready."""
        ...

    def flush(self) -> bytes:
        """Return the rest of the frame."""
        ...


def compressor(size: int) -> Compressor:
    """Return a compressor for a frame that holds `size` bytes, and says so."""
    settings = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, source_size=size, window_log=_WINDOW_LOG
    )
    return zstandard.ZstdCompressor(compression_params=settings).compressobj(size=size)


class FrameReader:
    """The bytes of a change; going on where the last call ended costs nothing.

    Any other place is reached by decompressing, from the first byte if it lies before that.

    Args:
        frame: Where it is.
        size: Bytes that it holds when decompressed.
    """

    def __init__(self, frame: Frame, size: int) -> None:
        """Read nothing yet."""
        self._frame, self._size, self._place = frame, size, 0
        self._source: _Source | None = None
        self._stream: zstandard.ZstdDecompressionReader | None = None

    def read(self, place: int, out: np.ndarray) -> None:
        """Fill memory; after the last byte the frame is closed.

        Args:
            place: The first byte to read.
            out: Shape (n,), uint8, contiguous.

        Raises:
            ZstdError: The frame is damaged.
            UserError: The file is truncated.
        """
        if self._stream is None or place < self._place:
            self._open()
        if place > self._place:
            room = np.empty(min(place - self._place, BLOCK_BYTES), np.uint8)
            while place > self._place:
                self._fill(room[: place - self._place])
        self._fill(out)
        if self._place == self._size:
            self._finish()

    def _open(self) -> None:
        self._source, self._place = _Source(self._frame, self._size), 0
        decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        self._stream = decompressor.stream_reader(self._source, read_size=_READ_BYTES)

    def _fill(self, out: np.ndarray) -> None:
        done = 0
        while done < len(out):
            count = self._stream.readinto(out.data[done:]) if self._stream is not None else 0
            if not count:
                raise ZstdError("a frame ends early")
            done += count
        self._place += done

    def _finish(self) -> None:
        """Check that the frame ends where its bytes end, and close it."""
        more = self._stream.readinto(bytearray(1)) if self._stream is not None else 0
        if more or self._source is None or not self._source.ended:
            raise ZstdError("a frame does not end where it should")
        self._source = self._stream = None


class _Source:
    """The bytes of a frame for the decompressor, which does not tell whether it reached the end.

    So the headers of the frame's blocks are followed here (RFC 8878, 3.1.1).

    Args:
        frame: Where it is.
        size: Bytes that it must hold.
    """

    def __init__(self, frame: Frame, size: int) -> None:
        self._frame, self._holds = frame, size
        self._size, self._place = frame.end - frame.begin, 0
        self._next, self._tail = 0, 0
        self._last = False
        self._left = b""

    @property
    def ended(self) -> bool:
        """Whether the frame's last block was read, and nothing follows it."""
        return self._last and self._next + self._tail == self._place == self._size

    def read(self, size: int) -> bytes:
        """Return the next bytes; none after the last."""
        room = bytearray(min(size, self._size - self._place))
        if room:
            begin = self._frame.begin + self._place
            read_bytes(self._frame.path, begin, room, "a frame")
            if not self._place:
                self._begin(room)
            self._place += len(room)
            self._follow(room)
        return bytes(room)

    def _begin(self, start: bytearray) -> None:
        head = bytes(start[:_LONGEST_HEADER])
        said = zstandard.get_frame_parameters(head)
        if said.content_size != self._holds:
            raise ZstdError("a frame says that it holds other than the tensor's bytes")
        self._next = zstandard.frame_header_size(head)
        self._tail = _CHECKSUM_BYTES if said.has_checksum else 0

    def _follow(self, room: bytearray) -> None:
        """Go on to the first block header that is not within what was read."""
        known = self._left + room
        low = self._place - len(known)
        while not self._last and self._next + _BLOCK_HEADER <= self._place:
            at = self._next - low
            header = int.from_bytes(known[at : at + _BLOCK_HEADER], "little")
            self._last = bool(header & 1)
            length = 1 if header >> 1 & 3 == _RLE else header >> 3
            self._next += _BLOCK_HEADER + length
        self._left = bytes(known[-_BLOCK_HEADER + 1 :])
