"""Verify while reading: a tensor's bytes are hashed in the same pass that uses them.

Every pass over a tensor reads it from its first byte to its last, in pieces of any size. The hash
is compared after the last piece, before any result from the tensor is published. So each byte is
read once, and the verified bytes are those that were used.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

from rlvr_dynamics.checkpoints.file_hashes import FileHashes
from rlvr_dynamics.checkpoints.identity import damaged_weights, read_manifest
from rlvr_dynamics.checkpoints.layout import Layout, Shard, TensorEntry
from rlvr_dynamics.checkpoints.stored_values import read_place
from rlvr_dynamics.errors import UserError

_BLOCK_BYTES = 1 << 20


class Proofs:
    """The known hashes of a trajectory's files, and how far each tensor has been read."""

    def __init__(self) -> None:
        """Start without hashes: nothing is verified."""
        self._expected: dict[Path, FileHashes] = {}
        self._passes: dict[tuple[Path, str], tuple[int, Any, TensorEntry, Shard]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Drop the passes in progress: another process starts its own."""
        return {"expected": self._expected}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the known hashes."""
        self.__init__()
        self._expected = state["expected"]

    def expect(self, layout: Layout, hashes: Mapping[str, FileHashes]) -> None:
        """Verify the tensors of a checkpoint from now on."""
        for file, each in hashes.items():
            self._expected[layout.shards[file].path] = each

    def folders(self, layouts: Iterable[Layout]) -> Iterator[tuple[Path, dict[str, FileHashes]]]:
        """Yield the folders with known hashes, and their hashes by file."""
        for layout in layouts:
            known = {
                file: self._expected[shard.path]
                for file, shard in layout.shards.items()
                if shard.path in self._expected
            }
            if known:
                yield layout.folder, known

    def feed(self, shard: Shard, name: str, entry: TensorEntry, start: int, data: Any) -> None:
        """Hash bytes that were read.

        Args:
            shard: The weight file.
            name: The tensor.
            entry: Its position in the file.
            start: Offset of the first byte in the tensor.
            data: The bytes.

        Raises:
            UserError: They complete a pass and the tensor differs from its hash.
        """
        path = shard.path
        known = self._expected.get(path)
        expected = known.tensors.get(str(entry.begin)) if known is not None else None
        if expected is None:
            return
        key, size = (path, name), entry.end - entry.begin
        with self._lock:
            place, digest, *_ = self._passes.get(key, (0, None))
        if start + len(data) <= place:
            return  # this pass has already seen the piece
        if digest is None:
            digest = xxhash.xxh3_128()
        if start != place:  # out of order: `settle` continues from here
            with self._lock:
                self._passes[key] = (place, digest, entry, shard)
            return
        digest.update(data)
        place += len(data)
        with self._lock:
            if place < size:
                self._passes[key] = (place, digest, entry, shard)
                return
            self._passes.pop(key, None)
        if digest.hexdigest() != expected:
            raise _damaged(shard, name, entry)

    def settle(self, name: str | None = None) -> None:
        """Read the remainder of a tensor, or of every tensor, that was only partly used.

        Raises:
            UserError: It differs from its hash.
        """
        with self._lock:
            begun = list(self._passes.items())
        for (_, each), (place, _, entry, shard) in begun:
            if name not in (None, each):
                continue
            block = memoryview(bytearray(_BLOCK_BYTES))
            while place < entry.end - entry.begin:
                data = block[: min(_BLOCK_BYTES, entry.end - entry.begin - place)]
                read_place(shard, entry.begin + place, data, f"tensor {each}")
                self.feed(shard, each, entry, place, data)
                place += len(data)


def _damaged(shard: Shard, name: str, entry: TensorEntry) -> UserError:
    if shard.store is not None:
        return shard.store.damaged(shard.step, shard.path.name, entry.begin)
    folder = shard.path.parent
    return damaged_weights(folder, shard.path.name, f"tensor {name}", read_manifest(folder))
