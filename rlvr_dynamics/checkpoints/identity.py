"""Proof of identity: hashes of every weight file and tensor, a manifest, a hash cache.

safetensors notices a truncated file but not a flipped bit, so the hashes are what tells two
checkpoints apart and what shows damage. A sha256 per file is the identity; the faster XXH3 of every
header and tensor, formed in the same pass, is checked by whoever reads the tensor. Nothing here
needs torch.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from rlvr_dynamics.checkpoints.shards import read_layout, read_shard
from rlvr_dynamics.checkpoints.weight_files import weight_file_names
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.records import read_sealed_json, unsealed_json, write_sealed_json
from rlvr_dynamics.sealed import hash_of_file

MANIFEST = "manifest.json"
FORMAT = 1
_KEYS = ("format", "step", "dtype", "source", "shards", "identity")
_KEYS_THAT_TELL = 4  # so damage to some of them does not make a manifest of ours a stranger's
_BLOCK_BYTES = 1 << 20
_FLUSH_SECONDS = 10.0


@dataclass(frozen=True)
class FileHashes:
    """What one weight file contains.

    Attributes:
        sha256: Of the whole file.
        header: XXH3 of all before the values.
        tensors: XXH3 of the bytes of every tensor, by the place of its first byte in the file.
    """

    sha256: str
    header: str
    tensors: dict[str, str]


def hash_weights(path: Path) -> FileHashes:
    """Read a safetensors file once and return its hashes.

    Raises:
        UserError: It is no whole safetensors file.
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
    """Read a file from where it stands up to `end`; return the XXH3 of that part."""
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
    """Return size, times of modification and of change (ns), and inode of a file."""
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


def combine(shards: dict[str, str]) -> str:
    """Return the identity of a checkpoint: sha256 over its sorted file names and hashes."""
    lines = "".join(f"{name}:{digest}\n" for name, digest in sorted(shards.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def hash_folder(folder: Path, names: Iterable[str], threads: int = 2) -> dict[str, FileHashes]:
    """Return the hashes of some weight files of a folder, `threads` files at a time."""
    names = list(names)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return dict(
            zip(names, pool.map(lambda name: hash_weights(folder / name), names), strict=True)
        )


def companions_of(folder: Path) -> dict[str, str]:
    """Return the XXH3 of every file of a checkpoint folder that holds neither weights nor hashes.

    Config, tokenizer, chat template and index change what the weights do, so they belong to it.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix != ".safetensors" and name != MANIFEST:
            found[name] = hash_of_file(path)
    return found


def write_manifest(
    folder: Path,
    step: int,
    source: str,
    *,
    original_dtype: str | None = None,
    hashes: Mapping[str, str] | None = None,
    head_is_embedding: bool | None = None,
) -> dict[str, Any]:
    """Hash the files of a folder and write `manifest.json` beside them.

    Args:
        folder: A Hugging Face folder with safetensors weights.
        step: Training step, 0 for the base.
        source: Where the weights come from, in words.
        original_dtype: What the source had them in, where that is known and may differ.
        hashes: sha256 of weight files that are known already; the others are hashed.
        head_is_embedding: Whether a stored output head has the embedding's bytes, for weights that
            are not here to be compared.

    Returns:
        The manifest: format, step, dtype, original_dtype, source, shards (file name to sha256),
        identity; headers and tensors (XXH3 by file, of the files hashed here), companions.

    Raises:
        UserError: The folder is not a whole checkpoint.
    """
    layout = read_layout(folder)
    names = sorted(layout.shards)
    known = {name: hashes[name] for name in names if hashes and name in hashes}
    read = hash_folder(folder, (name for name in names if name not in known))
    shards = known | {name: each.sha256 for name, each in read.items()}
    manifest = {
        "format": FORMAT,
        "step": step,
        "dtype": layout.dtype,
        "source": source,
        "shards": shards,
        "identity": combine(shards),
        "headers": {name: each.header for name, each in read.items()},
        "tensors": {name: each.tensors for name, each in read.items()},
        "companions": companions_of(folder),
    }
    if original_dtype is not None:
        manifest["original_dtype"] = original_dtype
    if head_is_embedding is not None:
        manifest["head_is_embedding"] = head_is_embedding
    write_sealed_json(folder / MANIFEST, manifest)
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
        manifest = unsealed_json(text)
        shards = dict(manifest["shards"])
        consistent = manifest["identity"] == combine(shards)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"damaged manifest, or edited ({type(error).__name__})",
            where=str(path),
            way_out=way_out,
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


def hashes_in(manifest: Mapping[str, Any]) -> dict[str, FileHashes]:
    """Return the hashes of the weight files of which a manifest has those of every tensor."""
    headers, tensors = manifest.get("headers", {}), manifest.get("tensors", {})
    return {
        name: FileHashes(digest, headers[name], tensors[name])
        for name, digest in manifest["shards"].items()
        if name in headers and name in tensors
    }


def file_is_proved(path: Path) -> bool | None:
    """Compare one weight file with the manifest beside it; None where that does not list it."""
    try:
        manifest = read_manifest(path.parent)
    except UserError:
        return False
    if manifest is None or path.name not in manifest["shards"]:
        return None
    return sha256_of(path) == manifest["shards"][path.name]


def check_companions(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Compare config, tokenizer and chat template with the manifest.

    Raises:
        UserError: One of them is gone or has another content.
    """
    for name, digest in manifest.get("companions", {}).items():
        path = folder / name
        if not path.is_file() or hash_of_file(path) != digest:
            what = "damaged" if path.is_file() else "missing"
            raise UserError(
                f"{what} file of a checkpoint: {name} is not what its {MANIFEST} lists",
                where=str(path),
                way_out=way_out_of(folder, manifest),
            )


def damaged_weights(
    folder: Path, file: str, what: str, manifest: Mapping[str, Any] | None
) -> UserError:
    """Return the error that names a weight file whose content is not the recorded one.

    Args:
        folder: The checkpoint.
        file: The weight file in it.
        what: Which part of it: a tensor's name, or "the header".
        manifest: The folder's, if it has one.
    """
    if manifest is None:
        return UserError(
            f"{file} changed after its identity had been taken: {what} has another hash",
            where=str(folder / file),
            way_out="leave checkpoints alone while they are analysed, then run again; if nobody "
            "wrote to it, the disk or the memory is faulty",
        )
    return UserError(
        f"damaged shard: {what} in {file} does not have the hash in its {MANIFEST}",
        where=str(folder / file),
        way_out=way_out_of(folder, manifest),
    )


def way_out_of(folder: Path, manifest: Mapping[str, Any]) -> str:
    """Say how a damaged checkpoint can be had again."""
    if "predictions" in folder.parts:
        return f"remove {folder}, which is derived, and run extrapolate again"
    return (
        f"copy or save this checkpoint again (step {manifest['step']}, from {manifest['source']})"
    )


class HashCache:
    """Hashes of files, remembered by size, times and inode in one JSON file.

    Args:
        path: The cache file, or None to remember only as long as the process lives.
    """

    def __init__(self, path: Path | None) -> None:
        """Load the cache; an unreadable one counts as empty."""
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        self._unwritten, self._written = False, time.monotonic()
        if path is not None and path.exists():
            try:
                self._known = read_sealed_json(path)
            except (OSError, ValueError, RecursionError):
                self._known = {}

    @staticmethod
    def mark(path: Path) -> list[int]:
        """Return size, modification time and inode of a file."""
        status = os.stat(path)
        return [status.st_size, status.st_mtime_ns, status.st_ino]

    def known(self, path: Path) -> FileHashes | None:
        """Return the hashes of a file that has not changed since they were formed, else None."""
        entry = self._known.get(str(path))
        if entry is None or entry.get("mark") != mark_of(path):
            return None
        try:
            return FileHashes(**{key: value for key, value in entry.items() if key != "mark"})
        except TypeError:  # of an earlier version
            return None

    def hashes(self, paths: list[Path], threads: int = 2) -> list[FileHashes]:
        """Return the hashes of each file, reading only those that are new or have changed.

        Raises:
            UserError: A file is no whole safetensors file.
        """
        found = {path: self.known(path) for path in paths}
        stale = [path for path, each in found.items() if each is None]
        marks = {path: mark_of(path) for path in stale}
        with ThreadPoolExecutor(max_workers=threads) as pool:
            for path, each in zip(stale, pool.map(hash_weights, stale), strict=True):
                self._known[str(path)] = {"mark": marks[path], **asdict(each)}
                found[path] = each
        if stale:
            self._unwritten = True
            if time.monotonic() - self._written > _FLUSH_SECONDS:
                self.flush()
        return [each for each in found.values() if each is not None]

    def __contains__(self, path: str) -> bool:
        """Whether the hashes of a file were taken, of its present content or of an earlier one."""
        return path in self._known

    def flush(self) -> None:
        """Write what is not in the cache file yet."""
        if self._unwritten and self.path is not None:
            write_sealed_json(self.path, self._known)
        self._unwritten, self._written = False, time.monotonic()

    def recall(self, key: str, paths: list[Path], find: Callable[[], bool]) -> bool:
        """Return a fact about some files, found anew only when one of them has changed."""
        marks = [mark_of(path) for path in paths]
        known = self._known.get(key, {})
        if known.get("mark") != marks or not isinstance(known.get("fact"), bool):
            known = {"mark": marks, "fact": find()}
            self._known[key] = known
            self._unwritten = True
        return bool(known["fact"])


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
    hashes = known.hashes([(folder / name).resolve() for name in names])
    if known is not cache:
        known.flush()
    return combine({name: each.sha256 for name, each in zip(names, hashes, strict=True)})


def known_identity(folder: Path, cache: HashCache) -> str | None:
    """Return the identity of a folder without reading its weights; None where it was not taken."""
    names = weight_file_names(folder)
    known = [cache.known((folder / name).resolve()) for name in names]
    shards = {name: each.sha256 for name, each in zip(names, known, strict=True) if each}
    return combine(shards) if len(shards) == len(names) else None


def hashes_of(folder: Path, cache: HashCache) -> dict[str, FileHashes] | None:
    """Return the hashes by which the weights of a folder are proved while they are read.

    From its manifest, or as they were when its identity was taken. Where the manifest has none of
    the tensors, the files are read, compared with it and remembered.

    Returns:
        By weight file; None where the folder has no manifest and no identity was taken.

    Raises:
        UserError: A header or a companion is damaged, or a file without hashes of its tensors.
    """
    manifest = read_manifest(folder)
    names = weight_file_names(folder)
    paths = {name: (folder / name).resolve() for name in names}
    if manifest is None:
        if any(str(path) not in cache for path in paths.values()):
            return None
        return dict(zip(names, cache.hashes(list(paths.values())), strict=True))
    check_companions(folder, manifest)
    found = hashes_in(manifest)
    unlisted = [name for name in names if name not in found]
    found |= zip(unlisted, cache.hashes([paths[name] for name in unlisted]), strict=True)
    for name, each in found.items():
        if each.sha256 != manifest["shards"][name]:
            raise damaged_weights(folder, name, "the whole", manifest)
        check_header(folder, name, each, manifest)
    return found


def check_header(
    folder: Path, name: str, hashes: FileHashes, manifest: Mapping[str, Any] | None
) -> None:
    """Compare the header of a weight file with its hash.

    Raises:
        UserError: It has another content.
    """
    with (folder / name).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        file.seek(0)
        if xxhash.xxh3_128(file.read(8 + length)).hexdigest() != hashes.header:
            raise damaged_weights(folder, name, "the header", manifest)


def prove_folder(folder: Path, hashes: Mapping[str, FileHashes], threads: int = 2) -> None:
    """Read every weight file and compare all of it, for a reader that is not ours.

    Raises:
        UserError: A file has another content.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        check_companions(folder, manifest)
    for name, read in hash_folder(folder, hashes, threads).items():
        if read.sha256 != hashes[name].sha256:
            raise damaged_weights(folder, name, "the whole", manifest)
