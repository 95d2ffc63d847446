"""Proof while reading: the bytes of a tensor are hashed in the pass that uses them.

Every pass over a tensor reads it from its first byte to its last, in pieces of any size. The
hash of what came is compared when the last piece is in, before anything that was made from the
tensor is published. So each byte is read once, and it is the byte that was used which is proved.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

from rlvr_dynamics.checkpoints.file_hashes import FileHashes
from rlvr_dynamics.checkpoints.identity import damaged_weights, read_manifest
from rlvr_dynamics.checkpoints.layout import Layout, TensorEntry

_BLOCK_BYTES = 1 << 20


class Proofs:
    """What is known of the files of a trajectory, and how far each tensor has come."""

    def __init__(self) -> None:
        """Nothing is known: nothing is proved."""
        self._expected: dict[Path, FileHashes] = {}
        self._passes: dict[tuple[Path, str], tuple[int, Any, TensorEntry]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the passes behind: another process begins its own."""
        return {"expected": self._expected}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what is known."""
        self.__init__()
        self._expected = state["expected"]

    def expect(self, layout: Layout, hashes: Mapping[str, FileHashes]) -> None:
        """Prove the tensors of a checkpoint from now on."""
        for file, each in hashes.items():
            self._expected[layout.shards[file].path] = each

    def folders(self, layouts: Iterable[Layout]) -> Iterator[tuple[Path, dict[str, FileHashes]]]:
        """Yield the folders of which the hashes are known, with these by file."""
        for layout in layouts:
            known = {
                file: self._expected[shard.path]
                for file, shard in layout.shards.items()
                if shard.path in self._expected
            }
            if known:
                yield layout.folder, known

    def feed(self, path: Path, name: str, entry: TensorEntry, start: int, data: Any) -> None:
        """Take note of bytes that were read.

        Args:
            path: The weight file.
            name: The tensor.
            entry: Its place.
            start: Position of the first byte in the tensor.
            data: The bytes.

        Raises:
            UserError: They complete a pass, and the tensor is not the recorded one.
        """
        known = self._expected.get(path)
        expected = known.tensors.get(str(entry.begin)) if known is not None else None
        if expected is None:
            return
        key, size = (path, name), entry.end - entry.begin
        with self._lock:
            place, digest, _ = self._passes.get(key, (0, None, entry))
        if start + len(data) <= place:
            return  # a piece that this pass has had
        if digest is None:
            digest = xxhash.xxh3_128()
        if start != place:  # not in order: `settle` reads on from where it stands
            with self._lock:
                self._passes[key] = (place, digest, entry)
            return
        digest.update(data)
        place += len(data)
        with self._lock:
            if place < size:
                self._passes[key] = (place, digest, entry)
                return
            self._passes.pop(key, None)
        if digest.hexdigest() != expected:
            raise damaged_weights(
                path.parent, path.name, f"tensor {name}", read_manifest(path.parent)
            )

    def settle(self, name: str | None = None) -> None:
        """Read the rest of a tensor, or of every one, of which only a part was used.

        Raises:
            UserError: It is not the recorded one.
        """
        with self._lock:
            begun = list(self._passes.items())
        for (path, each), (place, _, entry) in begun:
            if name not in (None, each):
                continue
            with path.open("rb") as file:
                file.seek(entry.begin + place)
                while place < entry.end - entry.begin:
                    data = file.read(min(_BLOCK_BYTES, entry.end - entry.begin - place))
                    if not data:
                        manifest = read_manifest(path.parent)
                        raise damaged_weights(path.parent, path.name, f"tensor {each}", manifest)
                    self.feed(path, each, entry, place, data)
                    place += len(data)
