"""The bytes of one tensor at some versions of a delta store, read together.

A version's bytes are those of the version that it follows XOR its own change. The changes of all
versions are decompressed side by side, a block at a time, so that each is read once and nothing but
the block is held.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from zstandard import ZstdError

from rlvr_dynamics.checkpoints.delta_files import damaged_version
from rlvr_dynamics.checkpoints.delta_frames import BLOCK_BYTES, Frame, FrameReader
from rlvr_dynamics.checkpoints.stored_values import read_bytes


@dataclass(frozen=True)
class Link:
    """What a reader needs of one version.

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


class TensorReader:
    """The bytes of one tensor at several versions.

    Args:
        name: The tensor, for messages.
        links: The versions to read and all that they follow, each after the one it follows.
        wanted: Numbers of the versions to return.
        size: Bytes of the tensor.
    """

    def __init__(self, name: str, links: Sequence[Link], wanted: Iterable[int], size: int) -> None:
        """Read nothing yet."""
        self.name = name
        self._links = links
        wanted = frozenset(wanted)
        self._frames = {
            link.step: FrameReader(link.frame, size) for link in links if link.frame is not None
        }
        self._scratch = {
            link.step: np.empty(BLOCK_BYTES, np.uint8) for link in links if link.step not in wanted
        }
        whole = [link.step for link in links if link.base is None]
        self._one_chain = len(whole) == 1 and {*self._scratch} <= {*whole}

    def __len__(self) -> int:
        """Return the number of its changes."""
        return len(self._frames)

    def read(
        self, place: int, out: Mapping[int, np.ndarray], first: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Read the same bytes of every wanted version.

        Going on where the last call ended costs nothing; see `FrameReader` for other places.

        Args:
            place: The first byte of the tensor to read.
            out: Version to memory, shape (n,), uint8, contiguous; the same n for all.
            first: Bytes of which is asked where all versions have them, shape (n,).

        Returns:
            Shape (n,), uint8: the versions' changes OR-ed, 0 exactly where all have the bytes of
            `first`. None if this is not known: these are not the bytes of the whole checkpoint that
            all versions follow, or not all that the versions follow are read.

        Raises:
            UserError: A frame is damaged or a file truncated; names the version.
        """
        total = len(next(iter(out.values())))
        known = first is not None and self._one_chain
        changed = np.zeros(total if known else 0, np.uint8)
        for low in range(0, total, BLOCK_BYTES):
            here = slice(low, min(low + BLOCK_BYTES, total))
            count = here.stop - low
            rows: dict[int, np.ndarray] = {}
            for link in self._links:
                memory = out[link.step][here] if link.step in out else None
                row = self._scratch[link.step][:count] if memory is None else memory
                rows[link.step] = row
                if link.base is None:
                    self._read_stored(link, place + low, row)
                    known = known and first is not None and np.array_equal(row, first[here])
                elif link.frame is None:
                    row[:] = rows[link.base]
                else:
                    self._read_change(link, place + low, row)
                    if known:
                        np.bitwise_or(changed[here], row, out=changed[here])
                    np.bitwise_xor(row, rows[link.base], out=row)
        return changed if known else None

    def _read_stored(self, link: Link, place: int, row: np.ndarray) -> None:
        path, begin = link.stored or (Path(), 0)
        read_bytes(path, begin + place, row, f"tensor {self.name} of step {link.step}")

    def _read_change(self, link: Link, place: int, row: np.ndarray) -> None:
        try:
            self._frames[link.step].read(place, row)
        except ZstdError as error:
            folder = link.frame.path.parent if link.frame is not None else Path()
            what = f"tensor {self.name} of step {link.step}: {error}"
            raise damaged_version(folder, what) from error


def change_hash(name: str, frame: Frame, size: int) -> str:
    """Return the XXH3 of a tensor's change.

    Args:
        name: The tensor.
        frame: Its change.
        size: Bytes of the tensor.

    Raises:
        UserError: It cannot be decompressed.
    """
    found, reader = xxhash.xxh3_128(), FrameReader(frame, size)
    block = np.empty(min(size, BLOCK_BYTES), np.uint8)
    try:
        for place in range(0, size, BLOCK_BYTES):
            part = block[: min(BLOCK_BYTES, size - place)]
            reader.read(place, part)
            found.update(part.data)
    except ZstdError as error:
        raise damaged_version(frame.path.parent, f"tensor {name}: {error}") from error
    return found.hexdigest()
