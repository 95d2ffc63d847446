"""A trajectory as a chain of deltas: every step kept, at the cost of what changed.

`STORE/weight_v000012` holds what changed since the version that its index names: the step before,
or, every `anchor_every` steps, the first version of the chain, so that a step is reached from the
first one by at most that many deltas. The first version is an ordinary checkpoint: the base, in
`weight_v000000` or in a folder outside the store that `store.json` names. A step with other
tensors, shapes or dtypes than the first version is kept whole and starts a new chain.
"""

import os
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
    manifest_of,
    read_version,
)
from rlvr_dynamics.checkpoints.delta_names import (
    BASE,
    STORE,
    is_store,
    version_folders,
    version_name,
)
from rlvr_dynamics.checkpoints.delta_stream import BLOCK_BYTES, Link, TensorStream
from rlvr_dynamics.checkpoints.file_hashes import FileHashes
from rlvr_dynamics.checkpoints.identity import hashes_in, identity_of
from rlvr_dynamics.checkpoints.layout import Layout, Shard, TensorEntry
from rlvr_dynamics.checkpoints.shards import layout_of, read_layout, read_shard
from rlvr_dynamics.checkpoints.step_names import shortened
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import write_sealed_json
from rlvr_dynamics.system.sealed import hash_of_file, read_sealed_json

FORMAT = 1
_OPEN_FRAMES = 256  # of a thread; each holds a window of half a megabyte


class DeltaStore:
    """The versions of a store; weights are read on request.

    Attributes:
        folder: The store.
        anchor_every: A version whose number is a multiple of it follows the chain's first one.
        versions: By number, ascending; 0 is the base, if the store has it or names it.
        dense: Folders with whole copies of some versions, from which these are read.
    """

    def __init__(
        self, folder: Path, anchor_every: int, versions: dict[int, Version], outside: Path | None
    ) -> None:
        """Take versions that were read; use `open` or `create` instead."""
        self.folder, self.anchor_every = folder, anchor_every
        self.versions, self.outside = versions, outside
        self.dense: dict[int, Path] = {}
        self._shards: dict[int, dict[str, Shard]] = {}
        self._tensors: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
        self._hashes: dict[Path, str | None] = {}
        self._local = threading.local()

    @classmethod
    def create(cls, folder: Path, anchor_every: int, base: Path | None = None) -> "DeltaStore":
        """Create an empty store, or open the one that is there.

        Args:
            folder: The store.
            anchor_every: See the class.
            base: Folder of the base, if it stays outside of the store.
        """
        if not is_store(folder):
            folder.mkdir(parents=True, exist_ok=True)
            settings: dict[str, Any] = {"format": FORMAT, "anchor_every": anchor_every}
            if base is not None:
                settings["base"] = os.path.relpath(base, folder)
                settings["base_identity"] = identity_of(base)
            write_sealed_json(folder / STORE, settings)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path, base: Path | None = None) -> "DeltaStore":
        """Read what the versions of a store say about themselves.

        Args:
            folder: The store.
            base: Where the base may be, if it is not in the store and has moved.

        Raises:
            UserError: It is no store, a version is damaged, or the base outside is missing.
        """
        if not is_store(folder):
            raise UserError(
                f"not a delta store: it has no {STORE}",
                where=str(folder),
                way_out="python -m rlvr_dynamics.store pack FOLDER STORE makes one",
            )
        try:
            settings = read_sealed_json(folder / STORE)
            known = settings["format"] == FORMAT
            anchor_every = int(settings["anchor_every"])
            outside = folder / settings["base"] if "base" in settings else None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"damaged {STORE} ({type(error).__name__})",
                where=str(folder / STORE),
                way_out="put it back from a copy of the store",
            ) from error
        if not known or anchor_every < 1:
            raise UserError(
                f"a delta store of format {settings['format']}, and this version reads {FORMAT}",
                where=str(folder / STORE),
                way_out="use the version of rlvr_dynamics that wrote it",
            )
        versions = {step: read_version(path) for step, path in version_folders(folder).items()}
        if outside is not None and BASE not in versions:
            found = _base_outside(settings, [outside, *([base] if base is not None else [])])
            versions = {BASE: found, **versions}
        return cls(folder, anchor_every, versions, outside)

    @property
    def steps(self) -> list[int]:
        """Numbers of the steps, ascending, without the base."""
        return [step for step in self.versions if step != BASE]

    def chain(self, step: int) -> list[Version]:
        """Return the versions from the chain's first one to a step.

        Raises:
            UserError: One of them is missing; names it, and the steps that are whole.
        """
        found, at = [self.versions[step]], self.versions[step].base
        while at is not None:
            if at not in self.versions:
                raise self._missing(step, at)
            found.append(self.versions[at])
            at = self.versions[at].base
        return found[::-1]

    def _missing(self, step: int, link: int) -> UserError:
        whole = [each for each in self.steps if self._reaches(each)]
        return UserError(
            f"step {step} of a delta store follows version {link}, which is missing",
            where=str(self.folder / version_name(link)),
            way_out=f"put it back from a copy, or pack it again; whole are the steps "
            f"{shortened(whole) or '(none)'}",
        )

    def _reaches(self, step: int) -> bool:
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
        first = self.first(version.step)
        return replace(self.shards(first.step)[file], path=version.folder / file)

    def file(self, step: int, name: str) -> Path:
        """Return a companion of a step's checkpoint: its own, or that of the chain's first."""
        own = self.versions[step].own(name)
        return own if own.exists() else self.first(step).own(name)

    def check_beside(self, step: int) -> None:
        """Compare config, tokenizer and headers of a step with its manifest.

        Raises:
            UserError: One of them is missing or damaged.
        """
        version = self.versions[step]
        for name, digest in version.manifest.get("companions", {}).items():
            if self._hash_of(self.file(step, name)) != digest:
                raise damaged_version(version.folder, f"{name} is not what was packed")
        for file, digest in version.manifest.get("headers", {}).items():
            own = version.header(file)
            first = self.first(step)
            known = self._hash_of(own) if own.exists() else first.manifest["headers"].get(file)
            if known != digest:
                raise damaged_version(
                    version.folder, f"the header of {file} is not what was packed"
                )

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
        reached by decompressing from the tensor's first byte.

        Args:
            step: Number of the version.
            file: Name of the weight file.
            begin: Place of the first byte in the file.
            out: Contiguous memory of bytes.

        Raises:
            UserError: A frame is damaged, or a link of the chain is missing.
        """
        self.read_together(step, file, begin, {step: out})

    def read_together(self, step: int, file: str, begin: int, out: Mapping[int, Any]) -> None:
        """Fill memory with the same bytes of several versions, as `read` does.

        Args:
            step: One of the versions.
            file: Name of the weight file.
            begin: Place of the first byte in that version's file.
            out: Version to contiguous memory of bytes, all of the same length.
        """
        name, place, size = self._tensor_at(step, file, begin)
        key = (name, tuple(out))
        streams = self._open_streams()
        stream = streams.pop(key, None)
        if stream is None or stream.place > place:
            stream = self.stream(name, out)
        stream.skip(place - stream.place)
        stream.read({number: np.frombuffer(each, np.uint8) for number, each in out.items()})
        if stream.place < size:
            streams[key] = stream
        while sum(len(each) for each in streams.values()) > max(_OPEN_FRAMES, len(stream)):
            streams.pop(next(iter(streams)))

    def _open_streams(self) -> dict[tuple[str, tuple[int, ...]], TensorStream]:
        if not hasattr(self._local, "streams"):
            self._local.streams = {}
        return self._local.streams

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
        for version in self.chain(step):
            what = self.fault(version.step, name)
            if what is not None:
                return damaged_version(version.folder, what)
        return damaged_version(self.versions[step].folder, f"tensor {name} of step {step}")

    def fault(self, step: int, name: str) -> str | None:
        """Decompress a tensor of a version; returns what is wrong with it, or None.

        Args:
            step: Number of the version.
            name: The tensor's name in the files.
        """
        file, entry = self.place_of(step, name)
        found, left = xxhash.xxh3_128(), entry.end - entry.begin
        stream, block = self.stream(name, [step]), np.empty(BLOCK_BYTES, np.uint8)
        try:
            while left:
                part = block[: min(left, BLOCK_BYTES)]
                stream.read({step: part})
                found.update(part.data)
                left -= len(part)
        except UserError as error:
            return error.what
        expected = self.hash_at(step, file, entry.begin)
        if expected in (None, found.hexdigest()):
            return None
        return f"tensor {name} of step {step} is not what was packed"

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
        version = self.versions[step]
        self.chain(step)
        if version.base is None:
            return read_layout(version.folder)
        shards = {
            file: replace(shard, store=self, step=step) for file, shard in self.shards(step).items()
        }
        return layout_of(version.folder, shards)

    def __getstate__(self) -> dict[str, Any]:
        """Drop the streams: another process opens its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore everything but the streams."""
        self.__dict__.update(state)
        self._local = threading.local()

    def stream(self, name: str, steps: Iterable[int]) -> TensorStream:
        """Read one tensor at some versions together.

        Args:
            name: Its name in the files.
            steps: Numbers of the versions; 0 is the base.

        Raises:
            UserError: A link of a chain is missing.
        """
        wanted, needed = list(steps), dict[int, Version]()
        for step in wanted:
            for version in reversed(self.chain(step)):
                needed[version.step] = version
                if version.step in self.dense:
                    break
        links = [self._link(needed[step], name) for step in sorted(needed)]
        return TensorStream(name, links, wanted)

    def _link(self, version: Version, name: str) -> Link:
        folder = self.dense.get(version.step, version.folder)
        if version.base is not None and version.step not in self.dense:
            return Link(version.step, version.base, version.frames.get(name))
        file, entry = self.place_of(version.step, name)
        return Link(version.step, None, stored=(folder / file, entry.begin))


def _base_outside(settings: Mapping[str, Any], places: Sequence[Path]) -> Version:
    """Return a base outside of its store, from the first place that has it.

    Raises:
        UserError: None of them has.
    """
    for folder in places:
        there = folder.is_dir() and identity_of(folder) == settings["base_identity"]
        manifest = manifest_of(folder, BASE) if there else None
        if manifest is not None:
            size = sum((folder / name).stat().st_size for name in manifest["shards"])
            return Version(folder, BASE, None, {}, manifest, 0, 0, size)
    raise UserError(
        "the base of a delta store is not where the store says",
        where=str(places[0]),
        way_out="put the base back, or give it: source.base=DIR",
    )
