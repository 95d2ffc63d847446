"""The bytes of one tensor at some versions of a delta store, read together.

A version's bytes are those of the version that it follows XOR its own frame. All frames are
decompressed side by side, a block at a time, so that each is read once and nothing but the block is
held.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
import zstandard

from rlvr_dynamics.checkpoints.delta_files import Frame, damaged_version, read_blocks
from rlvr_dynamics.checkpoints.stored_values import read_bytes

BLOCK_BYTES = 1 << 17
_READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Link:
    """What a stream needs of one version.

    Attributes:
        step: Its number.
        base: Number of the version that it follows; None for a whole checkpoint.
        frame: What changed of the tensor; None if nothing did.
        stored: File of the values of a whole checkpoint, and the place of its first byte there.
    """

    step: int
    base: int | None
    frame: Frame | None = None
    stored: tuple[Path, int] | None = None


class _Slice(io.RawIOBase):
    """A frame as a file for the decompressor."""

    def __init__(self, frame: Frame) -> None:
        self._blocks = read_blocks(frame, _READ_BYTES)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self._left:
            self._left = next(self._blocks, b"")
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _decompressed(frame: Frame) -> zstandard.ZstdDecompressionReader:
    return zstandard.ZstdDecompressor().stream_reader(_Slice(frame), read_size=_READ_BYTES)


class TensorStream:
    """The bytes of one tensor at several versions, from its first byte to its last.

    Args:
        name: The tensor, for messages.
        links: The versions to read and all that they follow, each after the one it follows.
        wanted: Numbers of the versions to return.
    """

    def __init__(self, name: str, links: Sequence[Link], wanted: Iterable[int]) -> None:
        """Open the frames; nothing is decompressed yet."""
        self.name, self.place = name, 0
        self._links = links
        self._wanted = frozenset(wanted)
        self._frames = {
            link.step: _decompressed(link.frame) for link in links if link.frame is not None
        }
        self._scratch = {
            link.step: np.empty(BLOCK_BYTES, np.uint8)
            for link in links
            if link.step not in self._wanted
        }

    def __len__(self) -> int:
        """Return the number of frames that are open."""
        return len(self._frames)

    def read(self, out: Mapping[int, np.ndarray]) -> None:
        """Read the next bytes of every wanted version.

        Args:
            out: Version to memory, shape (n,), uint8, contiguous; the same n for all.

        Raises:
            UserError: A frame is damaged or a file truncated; names the version.
        """
        total = len(next(iter(out.values())))
        for low in range(0, total, BLOCK_BYTES):
            count = min(BLOCK_BYTES, total - low)
            rows: dict[int, np.ndarray] = {}
            for link in self._links:
                memory = out[link.step][low : low + count] if link.step in out else None
                row = self._scratch[link.step][:count] if memory is None else memory
                rows[link.step] = row
                if link.base is None:
                    self._read_stored(link, row)
                elif link.frame is None:
                    row[:] = rows[link.base]
                else:
                    self._decompress(link, row)
                    np.bitwise_xor(row, rows[link.base], out=row)
            self.place += count

    def skip(self, count: int) -> None:
        """Go on without returning anything."""
        size = min(count, BLOCK_BYTES)
        memory = {step: np.empty(size, np.uint8) for step in self._wanted}
        while count > 0:
            part = min(count, size)
            self.read({step: room[:part] for step, room in memory.items()})
            count -= part

    def _read_stored(self, link: Link, row: np.ndarray) -> None:
        path, begin = link.stored or (Path(), 0)
        read_bytes(path, begin + self.place, row, f"tensor {self.name} of step {link.step}")

    def _decompress(self, link: Link, row: np.ndarray) -> None:
        stream, done = self._frames[link.step], 0
        while done < len(row):
            try:
                count = stream.readinto(row.data[done:])
            except zstandard.ZstdError as error:
                raise self._damaged(link, str(error)) from error
            if not count:
                raise self._damaged(link, "a frame ends early")
            done += count

    def _damaged(self, link: Link, what: str) -> Exception:
        folder = link.frame.path.parent if link.frame is not None else Path()
        return damaged_version(folder, f"tensor {self.name} of step {link.step}: {what}")


def frame_hash(name: str, frame: Frame) -> str:
    """Return the XXH3 of a frame's decompressed bytes.

    Raises:
        UserError: It cannot be decompressed.
    """
    found, block = xxhash.xxh3_128(), memoryview(bytearray(BLOCK_BYTES))
    try:
        with _decompressed(frame) as stream:
            while count := stream.readinto(block):
                found.update(block[:count])
    except zstandard.ZstdError as error:
        raise damaged_version(frame.path.parent, f"tensor {name}: {error}") from error
    return found.hexdigest()
