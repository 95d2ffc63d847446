"""Streams published steps, so that only some tensors are on disk at a time.

Each step has an ordinary folder whose weight files have their real headers and full length but no
content (sparse files); the byte ranges of some tensors are fetched into place, and the files are
emptied again. Names, shapes and identities are the hub's, so statistics are the same as for a fully
downloaded trajectory.

A range cannot be checked against the hash of its file, so the hash is computed along the way: a
file is verified once all its bytes have arrived in this process, in order.
"""

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.header import HEADER_LIMIT
from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.checkpoints.layout import Layout
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.checkpoints.stored_values import write_at
from rlvr_dynamics.checkpoints.tying import STREAMED, stored_pair
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.download import Advance, Job, download
from rlvr_dynamics.hub.http import Hub
from rlvr_dynamics.hub.pinned import Pinned, RemoteFile
from rlvr_dynamics.system.atomic import atomic_folder, full_disk_is_a_user_error
from rlvr_dynamics.system.progress import bar

_FIRST_BYTES = 1 << 17
_COMPARED_BYTES = 1 << 24


def write_headers(hub: Hub, pinned: Mapping[int, Pinned], checkpoints: Path) -> None:
    """Publish a folder per step with everything except the weights' values.

    Raises:
        UserError: The hub does not deliver, or a header is damaged.
    """
    for step, each in bar(pinned.items(), total=len(pinned), desc="headers", unit="step"):
        with atomic_folder(checkpoints / f"step_{step}") as folder:
            companions = [
                Job(each, file, folder / file.name) for file in each.files if not file.is_weights
            ]
            for _ in download(hub, companions, lambda _: None):
                pass
            for file in each.files:
                if file.is_weights:
                    _write_header(hub, each, file, folder / file.name)
            hashes = {file.name: file.sha256 or "" for file in each.files if file.is_weights}
            unproved = sorted(name for name, digest in hashes.items() if not digest)
            if unproved:
                raise UserError(
                    f"the hub gives no sha256 for {unproved[0]}",
                    where=each.source,
                    way_out="source.published.stream=false",
                )
            write_manifest(
                folder,
                step,
                f"{each.source}{STREAMED}",
                hashes=hashes,
                head_is_embedding=_head_is_embedding(hub, each, folder),
            )


def _head_is_embedding(hub: Hub, pinned: Pinned, folder: Path) -> bool | None:
    """Compare output head and embedding on the hub; None if they are not both stored.

    They are read up to the first difference and not kept: a model's tensors must be known before
    any of them is measured.
    """
    layout = read_layout(folder)
    pair = stored_pair(layout)
    if pair is None:
        return None
    files = [next(f for f in pinned.files if f.name == layout.home[name]) for name in pair]
    starts = [layout.entry(name).begin for name in pair]
    size = layout.entry(pair[0]).end - starts[0]
    place, block = 0, _FIRST_BYTES
    while place < size:
        stop = min(size, place + block)
        one, other = (
            b"".join(hub.blocks(pinned, file, start + place, start + stop))
            for file, start in zip(files, starts, strict=True)
        )
        if one != other:
            return False
        place, block = stop, _COMPARED_BYTES
    return True


def _write_header(hub: Hub, pinned: Pinned, file: RemoteFile, path: Path) -> None:
    where = f"{pinned.source}: {file.name}"
    data = b"".join(hub.blocks(pinned, file, 0, min(file.size, _FIRST_BYTES)))
    length = 8 + int.from_bytes(data[:8], "little")
    if length > min(file.size, HEADER_LIMIT):
        raise UserError(
            "damaged safetensors header: it is longer than the file",
            where=where,
            way_out="take another step; this one cannot be read",
        )
    if length > len(data):
        data += b"".join(hub.blocks(pinned, file, len(data), length))
    with path.open("wb") as sparse:
        sparse.write(data[:length])
        sparse.truncate(file.size)


@dataclass
class _Proof:
    """Running hash of a file's first `place` bytes, valid while they arrive in order."""

    place: int
    digest: Any


class Streamer:
    """Fetches byte ranges of tensors into the sparse files of all steps, and empties these."""

    def __init__(
        self, hub: Hub, pinned: Mapping[int, Pinned], layouts: Mapping[int, Layout]
    ) -> None:
        """Start with every file unverified."""
        self.hub, self.pinned, self.layouts = hub, pinned, layouts
        self.lock = threading.Lock()
        self.proofs: dict[tuple[int, str], _Proof] = {}
        self.proved: set[tuple[int, str]] = set()
        self.wrong: list[tuple[int, str]] = []
        for step, layout in layouts.items():
            for name, shard in layout.shards.items():
                with shard.path.open("rb") as file:
                    header = file.read(shard.data_start)
                self.proofs[step, name] = _Proof(shard.data_start, hashlib.sha256(header))

    def fill(self, names: Sequence[str], advance: Advance) -> None:
        """Fetch the values of some tensors of every step."""
        tasks = [
            (step, file, names_there)
            for step, layout in self.layouts.items()
            for file, names_there in _by_file(layout, names).items()
        ]
        for _ in self.hub.in_parallel(lambda task: self._fill_file(*task, advance), tasks):
            pass

    def _fill_file(self, step: int, name: str, names: list[str], advance: Advance) -> None:
        shard = self.layouts[step].shards[name]
        file = next(each for each in self.pinned[step].files if each.name == name)
        proof = self.proofs[step, name]
        with full_disk_is_a_user_error(shard.path), shard.path.open("r+b", buffering=0) as sparse:
            for place, stop in _joined([shard.entries[each] for each in names]):
                for block in self.hub.blocks(self.pinned[step], file, place, stop):
                    write_at(sparse.fileno(), block, place)
                    if proof.place == place:
                        proof.digest.update(block)
                        proof.place += len(block)
                    place += len(block)
                    with self.lock:
                        advance(len(block))
        if proof.place == file.size and (step, name) not in self.proved:
            self.proved.add((step, name))
            if proof.digest.hexdigest() != file.sha256:
                self.wrong.append((step, name))

    def empty(self) -> None:
        """Free the disk space: keep only the headers and lengths of all files."""
        for layout in self.layouts.values():
            for shard in layout.shards.values():
                os.truncate(shard.path, shard.data_start)
                os.truncate(shard.path, shard.size)


def _by_file(layout: Layout, names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: layout.entry(name).begin):
        found.setdefault(layout.home[name], []).append(name)
    return found


def _joined(entries: Sequence[Any]) -> list[tuple[int, int]]:
    """Return the byte ranges of tensors, with adjacent ranges merged."""
    ranges: list[tuple[int, int]] = []
    for entry in sorted(entries, key=lambda entry: entry.begin):
        if ranges and ranges[-1][1] == entry.begin:
            ranges[-1] = (ranges[-1][0], entry.end)
        elif entry.end > entry.begin:
            ranges.append((entry.begin, entry.end))
    return ranges
