"""Hashes of weight files: of the whole file, the header and every tensor, in one pass.

The sha256 of the file goes into the identity of its checkpoint; the faster XXH3 of header and
tensors is checked when they are read. Nothing here needs torch.
"""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from rlvr_dynamics.checkpoints.shards import read_shard
from rlvr_dynamics.errors import UserError

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileHashes:
    """What one weight file contains.

    Attributes:
        sha256: Of the whole file.
        header: XXH3 of everything before the values.
        tensors: XXH3 of the bytes of every tensor, by the offset of its first byte in the file.
    """

    sha256: str
    header: str
    tensors: dict[str, str]


def hash_weights(path: Path) -> FileHashes:
    """Read a safetensors file once and return its hashes.

    Raises:
        UserError: It is not a complete safetensors file.
    """
    shard = read_shard(path)
    stored = (*shard.entries.values(), *shard.others.values())
    places = sorted((each.begin, each.end) for each in stored if each.begin < each.end)
    whole = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        header = _read_on(file, shard.data_start, whole, path)
        tensors = {str(begin): _read_on(file, end, whole, path) for begin, end in places}
    return FileHashes(whole.hexdigest(), header, tensors)


def _read_on(file: Any, end: int, whole: Any, path: Path) -> str:
    """Read a file from its current position up to `end`; return the XXH3 of that part."""
    part, block = xxhash.xxh3_128(), memoryview(bytearray(_BLOCK_BYTES))
    left = end - file.tell()
    while left > 0:
        count = file.readinto(block[: min(_BLOCK_BYTES, left)])
        if not count:
            raise UserError(
                "truncated while it was read",
                where=str(path),
                way_out="leave checkpoints alone while they are analysed, then run again",
            )
        whole.update(block[:count])
        part.update(block[:count])
        left -= count
    return part.hexdigest()


def mark_of(path: Path) -> list[int]:
    """Return size, modification and change time (ns), and inode of a file."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hex, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    block = memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()


def hash_files(paths: Iterable[Path], threads: int = 2) -> list[str]:
    """Return the sha256 of each file, hashing `threads` files at a time."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(sha256_of, paths))


def hash_folder(folder: Path, names: Iterable[str], threads: int = 2) -> dict[str, FileHashes]:
    """Return the hashes of some weight files of a folder, `threads` files at a time."""
    names = list(names)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return dict(
            zip(names, pool.map(lambda name: hash_weights(folder / name), names), strict=True)
        )
