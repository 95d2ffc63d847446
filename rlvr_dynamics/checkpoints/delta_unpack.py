"""Whole checkpoints from a delta store, byte for byte as they were packed."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from rlvr_dynamics.checkpoints.delta_store import DeltaStore
from rlvr_dynamics.checkpoints.identity import MANIFEST, hashes_in, prove_folder, read_manifest
from rlvr_dynamics.checkpoints.layout import TensorEntry
from rlvr_dynamics.checkpoints.stored_values import files_kept_open, write_at
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import atomic_folder, write_sealed_json
from rlvr_dynamics.system.copies import copy_file

_BLOCK_BYTES = 1 << 20


def unpack_step(store: DeltaStore, step: int, target: Path, *, threads: int = 2) -> Path:
    """Write the folder of a step: weight files, config, tokenizer and manifest.

    Every tensor is compared with the manifest in the pass that writes it.

    Args:
        store: The store.
        step: Number of the version.
        target: The folder to publish; an existing one is replaced.
        threads: Tensors written at a time.

    Returns:
        `target`.

    Raises:
        UserError: The store is damaged, a link of the chain is missing, or the disk is full.
    """
    version = store.chain(step)[-1]
    store.check_beside(step)
    with atomic_folder(target) as folder, ThreadPoolExecutor(max_workers=threads) as pool:
        for name in version.manifest.get("companions", {}):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            own = store.file(step, name)
            copy_file(own, folder / name, own.parent)
        for file, shard in store.shards(step).items():
            path = folder / file
            path.write_bytes(store.header(step, file))
            os.truncate(path, shard.size)
            every = (shard.entries | shard.others).values()
            largest_first = sorted(every, key=lambda entry: entry.end - entry.begin, reverse=True)
            descriptor = os.open(path, os.O_WRONLY)
            write = partial(_write, store, step, file, descriptor)
            try:
                for _ in pool.map(write, largest_first):
                    pass
            finally:
                os.close(descriptor)
        write_sealed_json(folder / MANIFEST, dict(version.manifest))
    return target


def is_unpacked(store: DeltaStore, step: int, target: Path) -> bool:
    """Return whether a folder has a step already, all of it as it was packed."""
    known = store.chain(step)[-1].manifest
    try:
        if not target.is_dir() or read_manifest(target) != known:
            return False
        prove_folder(target, hashes_in(known))
    except UserError:
        return False
    return True


def _write(store: DeltaStore, step: int, file: str, descriptor: int, entry: TensorEntry) -> None:
    size = entry.end - entry.begin
    expected = store.hash_at(step, file, entry.begin)
    digest, block = xxhash.xxh3_128(), np.empty(min(size, _BLOCK_BYTES), np.uint8)
    with files_kept_open():
        for place in range(0, size, _BLOCK_BYTES):
            part = block[: min(_BLOCK_BYTES, size - place)]
            store.read(step, file, entry.begin + place, part)
            digest.update(part.data)
            write_at(descriptor, part.data, entry.begin + place)
    if size and expected is not None and digest.hexdigest() != expected:
        raise store.damaged(step, file, entry.begin)
