"""Proof of identity: a sha256 per weight file, a manifest beside the weights, a hash cache.

safetensors notices a truncated file but not a flipped bit, so the hashes are what tells two
checkpoints apart and what shows damage. Nothing here needs torch.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlvr_dynamics.atomic import write_json
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.checkpoints.weight_files import weight_file_names
from rlvr_dynamics.errors import UserError

MANIFEST = "manifest.json"
FORMAT = 1
_KEYS = ("format", "step", "dtype", "source", "shards", "identity")
_KEYS_THAT_TELL = 4  # so damage to some of them does not make a manifest of ours a stranger's
_BLOCK_BYTES = 1 << 20


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


def combine(shards: dict[str, str]) -> str:
    """Return the identity of a checkpoint: sha256 over its sorted file names and hashes."""
    lines = "".join(f"{name}:{digest}\n" for name, digest in sorted(shards.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def write_manifest(
    folder: Path,
    step: int,
    source: str,
    *,
    original_dtype: str | None = None,
    hashes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Hash the weight files of a folder and write `manifest.json` beside them.

    Args:
        folder: A Hugging Face folder with safetensors weights.
        step: Training step, 0 for the base.
        source: Where the weights come from, in words.
        original_dtype: What the source had them in, where that is known and may differ.
        hashes: sha256 of weight files that are known already; the others are hashed.

    Returns:
        The manifest: format, step, dtype, original_dtype, source, shards (file name to sha256),
        identity.

    Raises:
        UserError: The folder is not a whole checkpoint.
    """
    layout = read_layout(folder)
    names = sorted(layout.shards)
    shards = {name: hashes[name] for name in names if hashes and name in hashes}
    unknown = [name for name in names if name not in shards]
    shards |= zip(unknown, hash_files(folder / name for name in unknown), strict=True)
    manifest = {
        "format": FORMAT,
        "step": step,
        "dtype": layout.dtype,
        "source": source,
        "shards": shards,
        "identity": combine(shards),
    }
    if original_dtype is not None:
        manifest["original_dtype"] = original_dtype
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a folder, or None when it has none of ours.

    Other tools have a `manifest.json` too; one with few of our keys is theirs and is left alone.

    Raises:
        UserError: The manifest is damaged, or lists other files than the folder holds.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    text = path.read_bytes()
    if sum(f'"{key}"'.encode() in text for key in _KEYS) < _KEYS_THAT_TELL:
        return None
    way_out = "delete this manifest if you trust the weights (they are then hashed anew)"
    try:
        manifest = json.loads(text.decode("utf-8"))
        shards = dict(manifest["shards"])
        consistent = manifest["identity"] == combine(shards)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"damaged manifest ({type(error).__name__})", where=str(path), way_out=way_out
        ) from error
    if manifest.get("format") != FORMAT or not consistent:
        raise UserError("manifest of another format, or edited", where=str(path), way_out=way_out)
    present = weight_file_names(folder)
    if sorted(shards) != present:
        missing = ", ".join(sorted(shards.keys() ^ set(present))[:3])
        raise UserError(
            f"manifest and folder hold different weight files: {missing}",
            where=str(path),
            way_out=way_out,
        )
    return manifest


class HashCache:
    """Hashes of files, remembered by size, modification time and inode in one JSON file.

    Args:
        path: The cache file, or None to remember only as long as the process lives.
    """

    def __init__(self, path: Path | None) -> None:
        """Load the cache; an unreadable one counts as empty."""
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            try:
                self._known = dict(json.loads(path.read_text(encoding="utf-8")))
            except ValueError:
                self._known = {}

    @staticmethod
    def mark(path: Path) -> list[int]:
        """Return size, modification time and inode of a file."""
        status = os.stat(path)
        return [status.st_size, status.st_mtime_ns, status.st_ino]

    def sha256(self, paths: list[Path]) -> list[str]:
        """Return the hash of each file, reading only those that are new or have changed."""
        marks = {path: self.mark(path) for path in paths}
        stale = [
            path for path in paths if self._known.get(str(path), {}).get("mark") != marks[path]
        ]
        for path, digest in zip(stale, hash_files(stale), strict=True):
            self._known[str(path)] = {"mark": marks[path], "sha256": digest}
        if stale and self.path is not None:
            write_json(self.path, self._known)
        return [self._known[str(path)]["sha256"] for path in paths]


def identity_of(folder: Path, cache: HashCache | Path | None = None) -> str:
    """Return the identity of a checkpoint: from its manifest, or else by hashing its files.

    Args:
        folder: The checkpoint.
        cache: Where hashes of folders without a manifest are remembered.

    Raises:
        UserError: The folder is not a checkpoint, or its manifest is damaged.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        return str(manifest["identity"])
    known = cache if isinstance(cache, HashCache) else HashCache(cache)
    names = weight_file_names(folder)
    hashes = known.sha256([(folder / name).resolve() for name in names])
    return combine(dict(zip(names, hashes, strict=True)))


def verify_folder(folder: Path) -> bool:
    """Compare every weight file with the manifest.

    Returns:
        False when the folder has no manifest, so that nothing could be compared.

    Raises:
        UserError: A file differs from its recorded hash: a flipped bit, or another file.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    names = sorted(manifest["shards"])
    for name, digest in zip(names, hash_files(folder / name for name in names), strict=True):
        if digest != manifest["shards"][name]:
            raise UserError(
                f"damaged shard: the sha256 of {name} is not the one in its {MANIFEST}",
                where=str(folder / name),
                way_out="copy or save this checkpoint again (step "
                f"{manifest['step']}, from {manifest['source']})",
            )
    return True
