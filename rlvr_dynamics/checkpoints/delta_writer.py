"""Add steps to a delta store, each from a folder with a whole checkpoint."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from rlvr_dynamics.checkpoints.delta_files import (
    FrameFile,
    Version,
    damaged_version,
    manifest_of,
    read_version,
)
from rlvr_dynamics.checkpoints.delta_frames import BLOCK_BYTES, Frame, compressor
from rlvr_dynamics.checkpoints.delta_names import version_name
from rlvr_dynamics.checkpoints.delta_store import DeltaStore
from rlvr_dynamics.checkpoints.delta_stream import TensorReader, change_hash
from rlvr_dynamics.checkpoints.header import BITS
from rlvr_dynamics.checkpoints.identity import (
    MANIFEST,
    check_companions,
    check_header,
    damaged_weights,
    hashes_in,
    prove_folder,
)
from rlvr_dynamics.checkpoints.layout import DTYPES, Shard, TensorEntry
from rlvr_dynamics.checkpoints.model_config import CONFIG
from rlvr_dynamics.checkpoints.shards import read_shard
from rlvr_dynamics.checkpoints.stored_values import files_kept_open, read_bytes
from rlvr_dynamics.system.atomic import atomic_folder, write_sealed_json
from rlvr_dynamics.system.copies import copy_file
from rlvr_dynamics.system.threads import Memory

ANCHOR_EVERY = 16
_BUDGET_BYTES = 1 << 30
_TAGS = {name: tag for tag, name in DTYPES.items()}


@dataclass(frozen=True)
class _Place:
    """Where a tensor of a checkpoint is, and the XXH3 of its bytes."""

    path: Path
    entry: TensorEntry
    hash: str | None

    @property
    def size(self) -> int:
        return self.entry.end - self.entry.begin

    @property
    def item(self) -> int:
        return BITS[_TAGS.get(self.entry.dtype, self.entry.dtype)] // 8


@dataclass(frozen=True)
class _Change:
    """What changed in a tensor: a frame in parts, or nothing."""

    name: str
    frame: tuple[bytes, ...] = ()
    proof: str = ""
    changed: int = 0


def _places(shards: Mapping[str, Shard], manifest: Mapping[str, Any]) -> dict[str, _Place]:
    """Return the places of all tensors by their names in the files."""
    hashes = hashes_in(manifest)
    return {
        shard.stored.get(name, name): _Place(
            shard.path, entry, hashes[file].tensors.get(str(entry.begin))
        )
        for file, shard in shards.items()
        for name, entry in (shard.entries | shard.others).items()
    }


def _shapes(shards: Iterable[Shard]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        name: (entry.dtype, entry.shape)
        for shard in shards
        for name, entry in (shard.entries | shard.others).items()
    }


def add_whole(store: DeltaStore, step: int, folder: Path) -> Version:
    """Keep a checkpoint as it is, as the first version of a chain.

    Raises:
        UserError: It is damaged, or the disk is full.
    """
    manifest = manifest_of(folder, step)
    with atomic_folder(store.folder / version_name(step)) as target:
        for name in (*manifest["shards"], *manifest["companions"]):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copy_file(folder / name, target / name, folder)
        write_sealed_json(target / MANIFEST, manifest)
        prove_folder(target, hashes_in(manifest))
    return _take(store, step)


def add_step(store: DeltaStore, step: int, folder: Path, *, threads: int = 2) -> Version:
    """Add what changed in a checkpoint since the version before it.

    The values are compared with the manifest in the pass that reads them, and every frame is read
    back from the disk before the version is published.

    Args:
        store: The store; `store.dense` may name a folder with the newest version's checkpoint,
            which is otherwise decompressed.
        step: Number of the step, above that of every version.
        folder: Its Hugging Face folder.
        threads: Tensors compared at a time.

    Raises:
        UserError: The checkpoint is damaged or an adapter, or the disk is full.
        ValueError: The store has this step or a later one.
    """
    newest = max(store.versions, default=None)
    if newest is not None and step <= newest:
        raise ValueError(f"the store has step {newest} and cannot take {step}")
    manifest = manifest_of(folder, step)
    check_companions(folder, manifest)
    for file, hashes in hashes_in(manifest).items():
        check_header(folder, file, hashes, manifest)
    shards = {file: read_shard(folder / file) for file in manifest["shards"]}
    if newest is None or _shapes(shards.values()) != _shapes(store.shards(newest).values()):
        return add_whole(store, step, folder)
    first = store.first(newest)
    base = first.step if step % store.anchor_every == 0 else newest
    places = _places(shards, manifest)
    known = _places(store.shards(newest), store.versions[newest].manifest)
    names = sorted(places, key=lambda name: (-places[name].size, name))
    memory = Memory(_BUDGET_BYTES)

    def compare(name: str) -> _Change:
        place = places[name]
        if not place.size:
            return _Change(name)
        with memory.hold(place.size):  # at most: if all bytes change, the frame is as large
            same = place.hash == known[name].hash and base == newest
            reader = None if same else store.reader(name, {newest, base})
            with files_kept_open():
                found = _changes(name, place, reader, (newest, base))
        if found is None:
            raise damaged_weights(folder, place.path.name, f"tensor {name}", manifest)
        return found

    with atomic_folder(store.folder / version_name(step)) as target:
        frames = FrameFile(target)
        with ThreadPoolExecutor(max_workers=threads) as pool:
            changes = []
            for change in pool.map(compare, names):
                if change.frame:
                    frames.add(change.name, change.frame, places[change.name].hash or "")
                changes.append(replace(change, frame=()))
            elements = sum(place.entry.numel for place in places.values())
            frames.finish(step, base, sum(each.changed for each in changes), elements)
            write_sealed_json(target / MANIFEST, manifest)
            made = read_version(target, step)
            _copy_extras(folder, made, first)
            proofs = {each.name: each.proof for each in changes if each.proof}
            check = partial(_read_back, made.frames, places)
            for name, found in zip(proofs, pool.map(check, proofs), strict=True):
                if found != proofs[name]:
                    raise damaged_version(target, f"tensor {name} was not written as it was meant")
    return _take(store, step)


def _changes(
    name: str, place: _Place, reader: TensorReader | None, versions: tuple[int, int]
) -> _Change | None:
    """Compare a tensor with the store, a block at a time.

    Args:
        name: The tensor.
        place: Where its new values are.
        reader: The old values; None if they are known to be the same.
        versions: The version before, and the one that the frame is to follow.

    Returns:
        None if the new values are not those of the manifest.
    """
    digest, proof, changed, differs = xxhash.xxh3_128(), xxhash.xxh3_128(), 0, False
    newest, base = versions
    frame, parts = compressor(place.size), list[bytes]()
    new = np.empty(min(place.size, BLOCK_BYTES), np.uint8)
    difference = np.empty_like(new)
    rows = {step: np.empty_like(new) for step in set(versions)}
    for low in range(0, place.size, BLOCK_BYTES):
        block = new[: min(BLOCK_BYTES, place.size - low)]
        read_bytes(place.path, place.entry.begin + low, block, f"tensor {name}")
        digest.update(block.data)
        if reader is None:
            continue
        old = {step: row[: len(block)] for step, row in rows.items()}
        reader.read(low, old)
        part = difference[: len(block)]
        np.bitwise_xor(block, old[newest], out=part)
        changed += _nonzero(part, place.item)
        if base != newest:
            np.bitwise_xor(block, old[base], out=part)
        differs = differs or bool(part.any())
        proof.update(part.data)
        parts.append(frame.compress(part.data))
    if place.hash is not None and digest.hexdigest() != place.hash:
        return None
    if not differs:
        return _Change(name, changed=changed)
    parts.append(frame.flush())
    return _Change(name, tuple(parts), proof.hexdigest(), changed)


def _nonzero(part: np.ndarray, item: int) -> int:
    """Count the elements of `item` bytes that are not zero."""
    whole = len(part) - len(part) % item
    values = part[:whole].view(f"u{item}") if item in (1, 2, 4, 8) else part[:whole]
    return int(np.count_nonzero(values))


def _read_back(frames: Mapping[str, Frame], places: Mapping[str, _Place], name: str) -> str:
    with files_kept_open():
        return change_hash(name, frames[name], places[name].size)


def _copy_extras(folder: Path, version: Version, first: Version) -> None:
    """Copy the config, and companions and headers that differ from the first version's."""
    manifest = version.manifest
    for name, digest in manifest["companions"].items():
        if name == CONFIG or first.manifest["companions"].get(name) != digest:
            place = version.own(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            copy_file(folder / name, place, folder)
    for file, digest in manifest["headers"].items():
        if first.manifest.get("headers", {}).get(file) != digest:
            place = version.header(file)
            place.parent.mkdir(parents=True, exist_ok=True)
            with (folder / file).open("rb") as whole:
                place.write_bytes(whole.read(read_shard(folder / file).data_start))


def _take(store: DeltaStore, step: int) -> Version:
    version = read_version(store.folder / version_name(step))
    store.versions[step] = version
    return version
