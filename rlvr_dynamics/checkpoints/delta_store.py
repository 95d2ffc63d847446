"""A trajectory as a chain of deltas: every step kept, at the cost of what changed.

`STORE/weight_v000012` holds what changed since the version that its index names: the step before,
or, every `anchor_every` steps, the first version of the chain, so that a step is reached from the
first one by at most that many deltas. The first version is an ordinary checkpoint: the base, in
`weight_v000000` or in a folder outside the store that `store.json` names. A step with other
tensors, shapes or dtypes than the first version is kept whole and starts a new chain.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from rlvr_dynamics.checkpoints.delta_files import (
    Version,
    damaged_version,
)
from rlvr_dynamics.checkpoints.delta_frames import BLOCK_BYTES, OPEN_BYTES
from rlvr_dynamics.checkpoints.delta_names import (
    BASE,
    version_name,
)
from rlvr_dynamics.checkpoints.delta_stream import Link, TensorReader
from rlvr_dynamics.checkpoints.file_hashes import FileHashes
from rlvr_dynamics.checkpoints.identity import hash_of_header, hashes_in
from rlvr_dynamics.checkpoints.layout import Layout, Shard, TensorEntry
from rlvr_dynamics.checkpoints.shards import layout_of, read_layout, read_shard
from rlvr_dynamics.checkpoints.step_names import shortened
from rlvr_dynamics.checkpoints.stored_values import files_kept_open
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.sealed import hash_of_file

_OPEN_FRAMES = 256  # of a thread, for one tensor; each holds `OPEN_BYTES`


class DeltaStore:
    """The versions of a store; weights are read on request.

    Attributes:
        folder: The store.
        anchor_every: A version whose number is a multiple of it follows the chain's first one.
        versions: By number, ascending; 0 is the base, if the store has it or names it.
        broken: Why the others in the folder cannot be read, by number.
        dense: Folders with whole copies of some versions, from which these are read.
    """

    def __init__(
        self,
        folder: Path,
        anchor_every: int,
        versions: dict[int, Version],
        outside: Path | None,
        broken: Mapping[int, UserError],
    ) -> None:
        """Take versions that were read; use `delta_open` instead."""
        self.folder, self.anchor_every = folder, anchor_every
        self.versions, self.outside, self.broken = versions, outside, broken
        self.dense: dict[int, Path] = {}
        self._shards: dict[int, dict[str, Shard]] = {}
        self._tensors: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
        self._hashes: dict[Path, str | None] = {}
        self._local = threading.local()

    @property
    def steps(self) -> list[int]:
        """Numbers of the steps, ascending, without the base."""
        return [step for step in self.versions if step != BASE]

    def chain(self, step: int) -> list[Version]:
        """Return the versions from the chain's first one to a step.

        Raises:
            UserError: One of them is missing or broken; names it, and the steps that are whole.
        """
        found: list[Version] = []
        at: int | None = step
        while at is not None:
            if at not in self.versions:
                raise self._missing(step, at)
            found.append(self.versions[at])
            at = self.versions[at].base
        return found[::-1]

    def _missing(self, step: int, link: int) -> UserError:
        if link in self.broken:
            follows = f"step {step} of a delta store follows version {link}: " * (step != link)
            what = follows + self.broken[link].what
        else:
            what = f"step {step} of a delta store follows version {link}, which is missing"
        whole = [each for each in self.steps if self.reaches(each)]
        return UserError(
            what,
            where=str(self.folder / version_name(link)),
            way_out="put it back from a copy, or pack all steps into a new store; whole are the "
            f"steps {shortened(whole) or '(none)'}",
        )

    def refuse_broken(self) -> None:
        """Check that every version can be read and has all that it follows; no frame is read.

        Raises:
            UserError: Names one that has not, and the steps that are whole.
        """
        for step in sorted({*self.versions, *self.broken}):
            self.chain(step)

    def reaches(self, step: int) -> bool:
        """Return whether a step and all that it follows are there and can be read."""
        at: int | None = step
        while at is not None:
            if at not in self.versions:
                return False
            at = self.versions[at].base
        return True

    def first(self, step: int) -> Version:
        """Return the whole checkpoint with which a step's chain begins."""
        return self.chain(step)[0]

    def shards(self, step: int) -> dict[str, Shard]:
        """Return the files of a step's checkpoint as they would be, by name.

        Raises:
            UserError: A header is damaged.
        """
        known = self._shards.get(step)
        if known is None:
            version = self.versions[step]
            files = version.manifest["shards"]
            known = self._shards[step] = {file: self._shard(version, file) for file in files}
        return known

    def _shard(self, version: Version, file: str) -> Shard:
        own = version.header(file)
        if version.base is None:
            return read_shard(version.folder / file)
        if own.exists():
            return replace(read_shard(own, header_only=True), path=version.folder / file)
        shard = self.shards(self.first(version.step).step).get(file)
        if shard is None:
            raise damaged_version(version.folder, f"the header of {file} is missing")
        return replace(shard, path=version.folder / file)

    def file(self, step: int, name: str) -> Path:
        """Return a companion of a step's checkpoint: its own, or that of the chain's first."""
        own = self.versions[step].own(name)
        return own if own.exists() else self.first(step).own(name)

    def check_beside(self, step: int) -> None:
        """Compare config, tokenizer and headers of a step with its manifest.

        Raises:
            UserError: One of them is missing or damaged; names the version that has it.
        """
        version, first = self.versions[step], self.first(step)
        for name, digest in version.manifest["companions"].items():
            shared = first.manifest["companions"].get(name) == digest
            holder = first if shared and not version.own(name).exists() else version
            if self._hash_of(holder.own(name)) != digest:
                raise damaged_version(holder.folder, f"{name} is not what was packed")
        for file, digest in version.manifest["headers"].items():
            shared = first.manifest["headers"].get(file) == digest
            holder = first if shared and not version.header(file).exists() else version
            if self._header_hash(holder, file) != digest:
                raise damaged_version(holder.folder, f"the header of {file} is not what was packed")

    def _header_hash(self, version: Version, file: str) -> str | None:
        """Return the hash of a header: of a file of its own, or of a whole checkpoint's file."""
        own, whole = version.header(file), version.folder / file
        if own.exists() or version.base is not None:
            return self._hash_of(own)
        if whole not in self._hashes:
            self._hashes[whole] = hash_of_header(whole) if whole.is_file() else None
        return self._hashes[whole]

    def _hash_of(self, path: Path) -> str | None:
        if path not in self._hashes:
            self._hashes[path] = hash_of_file(path) if path.is_file() else None
        return self._hashes[path]

    def hashes(self, step: int) -> dict[str, FileHashes]:
        """Return the hashes of a step's weight files."""
        return hashes_in(self.versions[step].manifest)

    def read(self, step: int, file: str, begin: int, out: Any) -> None:
        """Fill memory with bytes of a step's weight file, within one tensor.

        Going on where the last call of the same thread ended costs nothing; any other place is
        reached by decompressing from the tensor's first byte, and so is the place where another
        tensor was left.

        Args:
            step: Number of the version.
            file: Name of the weight file.
            begin: Place of the first byte in the file.
            out: Contiguous memory of bytes.

        Raises:
            UserError: A frame is damaged, or a link of the chain is missing.
        """
        self.read_together(step, file, begin, {step: out})

    def read_together(
        self, step: int, file: str, begin: int, out: Mapping[int, Any], first: Any = None
    ) -> np.ndarray | None:
        """Fill memory with the same bytes of several versions, as `read` does.

        Args:
            step: One of the versions.
            file: Name of the weight file.
            begin: Place of the first byte in that version's file.
            out: Version to contiguous memory of bytes, all of the same length.
            first: As many bytes with which all are compared.

        Returns:
            Where versions differ from `first`, if that comes for free; see `TensorReader.read`.
        """
        name, place, size = self._tensor_at(step, file, begin)
        rows = {number: np.frombuffer(each, np.uint8) for number, each in out.items()}
        key = (name, tuple(out))
        readers = self._open_readers()
        reader = readers.pop(key, None) or self.reader(name, out)
        beside = None if first is None else np.frombuffer(first, np.uint8)
        changed = reader.read(place, rows, beside)
        for other in [other for other in readers if other[0] != name]:
            del readers[other]
        if place + len(next(iter(rows.values()))) < size:
            readers[key] = reader
        while sum(len(each) for each in readers.values()) > max(_OPEN_FRAMES, len(reader)):
            readers.pop(next(iter(readers)))
        return changed

    def _open_readers(self) -> dict[tuple[str, tuple[int, ...]], TensorReader]:
        if not hasattr(self._local, "readers"):
            self._local.readers = {}
        return self._local.readers

    def _tensor_at(self, step: int, file: str, begin: int) -> tuple[str, int, int]:
        """Return the tensor in which a place of a file lies, the place in it, and its bytes."""
        key = (step, file)
        if key not in self._tensors:
            shard = self.shards(step)[file]
            every = (shard.entries | shard.others).items()
            self._tensors[key] = sorted(
                (entry.begin, entry.end, shard.stored.get(name, name))
                for name, entry in every
                if entry.begin < entry.end
            )
        found = self._tensors[key]
        start, end, name = found[bisect_right(found, begin, key=itemgetter(0)) - 1]
        return name, begin - start, end - start

    def damaged(self, step: int, file: str, begin: int) -> UserError:
        """Return the error for a tensor that is not what its manifest says.

        Names the first version of the chain that is not: those after it follow from it.

        Args:
            step: Number of the version.
            file: Name of the weight file.
            begin: Place of the tensor's first byte in it.
        """
        name, _, _ = self._tensor_at(step, file, begin)
        found = self.faults(name, [version.step for version in self.chain(step)])
        first = min(found, default=step)
        what = found.get(first, f"tensor {name} of step {step}")
        return damaged_version(self.versions[first].folder, what)

    def faults(self, name: str, steps: Sequence[int]) -> dict[int, str]:
        """Decompress a tensor of some versions; returns what is wrong, by version.

        Args:
            name: The tensor's name in the files.
            steps: Numbers of the versions.
        """
        ends = {step: self.place_of(step, name) for step in steps}
        if len({entry.end - entry.begin for _, entry in ends.values()}) == 1:
            try:
                return self._compared(name, ends)
            except UserError as error:
                if len(ends) == 1:
                    return dict.fromkeys(steps, error.what)
        alone = [self.faults(name, [step]) for step in steps]
        return {step: what for each in alone for step, what in each.items()}

    def _compared(self, name: str, ends: Mapping[int, tuple[str, TensorEntry]]) -> dict[int, str]:
        """Decompress a tensor of equal sizes together, and compare each with its manifest."""
        entry = next(iter(ends.values()))[1]
        size = entry.end - entry.begin
        if not size:  # it shares its place with the next tensor, whose hash is on record there
            return {}
        reader = self.reader(name, ends)
        digests = {step: xxhash.xxh3_128() for step in ends}
        rows = {step: np.empty(min(size, BLOCK_BYTES), np.uint8) for step in ends}
        with files_kept_open():
            for place in range(0, size, BLOCK_BYTES):
                parts = {step: row[: min(BLOCK_BYTES, size - place)] for step, row in rows.items()}
                reader.read(place, parts)
                for step, part in parts.items():
                    digests[step].update(part.data)
        known = {step: self.hash_at(step, file, each.begin) for step, (file, each) in ends.items()}
        return {
            step: f"tensor {name} of step {step} is not what was packed"
            for step, digest in digests.items()
            if known[step] not in (None, digest.hexdigest())
        }

    def place_of(self, step: int, name: str) -> tuple[str, TensorEntry]:
        """Return a tensor's file and its place there, by its name in the file.

        Raises:
            UserError: The version has no such tensor.
        """
        for file, shard in self.shards(step).items():
            entry = shard.entries.get(name) or shard.others.get(name)
            if entry is not None:
                return file, entry
        raise damaged_version(self.versions[step].folder, f"it has no tensor {name}")

    def hash_at(self, step: int, file: str, begin: int) -> str | None:
        """Return the XXH3 of the tensor whose first byte is at a place of a step's file."""
        known = self.hashes(step).get(file)
        return None if known is None else known.tensors.get(str(begin))

    def header(self, step: int, file: str) -> bytes:
        """Return everything before the values of a step's weight file."""
        own = self.versions[step].header(file)
        if own.exists():
            return own.read_bytes()
        path = self.first(step).folder / file
        with path.open("rb") as whole:
            return whole.read(self.shards(step)[file].data_start)

    def layout(self, step: int) -> Layout:
        """Return the layout of a step, whose files are read from the store.

        Raises:
            UserError: A header is damaged, or a link of the chain is missing.
        """
        version = self.chain(step)[-1]
        if version.base is None:
            return read_layout(version.folder)
        shards = {
            file: replace(shard, store=self, step=step) for file, shard in self.shards(step).items()
        }
        return layout_of(version.folder, shards)

    def __getstate__(self) -> dict[str, Any]:
        """Drop the readers: another process opens its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore everything but the readers."""
        self.__dict__.update(state)
        self._local = threading.local()

    def reader(self, name: str, steps: Iterable[int]) -> TensorReader:
        """Read one tensor at some versions together.

        Args:
            name: Its name in the files.
            steps: Numbers of the versions; 0 is the base.

        Raises:
            UserError: A link of a chain is missing.
        """
        wanted = list(steps)
        links = [self._link(version, name) for version in self._needed(wanted)]
        _, entry = self.place_of(wanted[0], name)
        return TensorReader(name, links, wanted, entry.end - entry.begin)

    def reading_bytes(self, steps: Iterable[int]) -> int:
        """Return the memory that reading a tensor at some versions together takes."""
        return OPEN_BYTES * sum(version.base is not None for version in self._needed(steps))

    def _needed(self, steps: Iterable[int]) -> list[Version]:
        """Return some versions and those that they follow, ascending."""
        needed: dict[int, Version] = {}
        for step in steps:
            for version in reversed(self.chain(step)):
                needed[version.step] = version
                if version.step in self.dense:
                    break
        return [needed[step] for step in sorted(needed)]

    def _link(self, version: Version, name: str) -> Link:
        folder = self.dense.get(version.step, version.folder)
        if version.base is not None and version.step not in self.dense:
            return Link(version.step, version.base, version.frames.get(name))
        file, entry = self.place_of(version.step, name)
        return Link(version.step, None, stored=(folder / file, entry.begin))
