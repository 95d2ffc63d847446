"""The identity of a checkpoint, and the manifest that records it.

safetensors detects a truncated file but not a flipped bit, so hashes distinguish checkpoints and
reveal damage. The identity is built from a sha256 per file; the faster XXH3 of every header and
tensor, computed in the same pass, is checked when the tensor is read. Nothing here needs torch.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xxhash

from rlvr_dynamics.checkpoints.delta_names import number_of
from rlvr_dynamics.checkpoints.file_hashes import FileHashes, hash_folder, sha256_of
from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.checkpoints.weight_files import weight_file_names
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import write_sealed_json
from rlvr_dynamics.system.sealed import hash_of_file, unsealed_json

MANIFEST = "manifest.json"
FORMAT = 1
_KEYS = ("format", "step", "dtype", "source", "shards", "identity")
_KEYS_THAT_TELL = 4  # fewer than all, so that a damaged manifest of ours is still recognised
_TRUST = "delete this manifest if you trust the weights (they are then hashed anew)"


def combine(shards: dict[str, str]) -> str:
    """Return the identity of a checkpoint: sha256 over its sorted file names and hashes."""
    lines = "".join(f"{name}:{digest}\n" for name, digest in sorted(shards.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def companions_of(folder: Path) -> dict[str, str]:
    """Return the XXH3 of every file of a checkpoint folder except weights and manifest.

    Config, tokenizer, chat template and index affect the model's output, so they are recorded too.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix != ".safetensors" and name != MANIFEST:
            found[name] = hash_of_file(path)
    return found


def make_manifest(
    folder: Path,
    step: int,
    source: str,
    *,
    original_dtype: str | None = None,
    hashes: Mapping[str, str] | None = None,
    head_is_embedding: bool | None = None,
    jump: Mapping[str, Any] | None = None,
    companions: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Hash the files of a folder and return its manifest.

    Args:
        folder: A Hugging Face folder with safetensors weights.
        step: Training step, 0 for the base.
        source: Where the weights come from, in words.
        original_dtype: The source's dtype, where it is known and may differ.
        hashes: Known sha256 of weight files; the others are hashed.
        head_is_embedding: Whether a stored output head has the embedding's bytes, for weights that
            are not on this disk.
        jump: What is known of a jump of the weights between the step before and this one.
        companions: Paths below the folder of the files that belong to the weights; all by default.

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
        "companions": companions_of(folder)
        if companions is None
        else {name: hash_of_file(folder / name) for name in companions},
    }
    if original_dtype is not None:
        manifest["original_dtype"] = original_dtype
    if head_is_embedding is not None:
        manifest["head_is_embedding"] = head_is_embedding
    if jump is not None:
        manifest["jump"] = dict(jump)
    return manifest


def write_manifest(folder: Path, step: int, source: str, **facts: Any) -> dict[str, Any]:
    """Hash the files of a folder, write its `manifest.json` and return it; see `make_manifest`."""
    manifest = make_manifest(folder, step, source, **facts)
    write_sealed_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a folder; None if it has none written by this package.

    Other tools write a `manifest.json` too; one with few of our keys is ignored.

    Raises:
        UserError: The manifest is damaged, or does not list the files in the folder.
    """
    path = folder / MANIFEST
    manifest = parsed_manifest(path)
    if manifest is None or number_of(folder) is not None:  # a store has no whole weight files
        return manifest
    present = weight_file_names(folder)
    if sorted(manifest["shards"]) != present:
        missing = ", ".join(sorted(manifest["shards"].keys() ^ set(present))[:3])
        raise UserError(
            f"manifest and folder hold different weight files: {missing}",
            where=str(path),
            way_out=_TRUST,
        )
    return manifest


def parsed_manifest(path: Path) -> dict[str, Any] | None:
    """Return a manifest whatever lies beside it; None if it is none of this package.

    Raises:
        UserError: It is damaged, edited or of another format.
    """
    if not path.is_file():
        return None
    text = path.read_bytes()
    if sum(f'"{key}"'.encode() in text for key in _KEYS) < _KEYS_THAT_TELL:
        return None
    try:
        manifest = unsealed_json(text)
        shards = dict(manifest["shards"])
        consistent = manifest["identity"] == combine(shards)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"damaged manifest, or edited ({type(error).__name__})", where=str(path), way_out=_TRUST
        ) from error
    if manifest.get("format") != FORMAT or not consistent:
        raise UserError("manifest of another format, or edited", where=str(path), way_out=_TRUST)
    return manifest


def hashes_in(manifest: Mapping[str, Any]) -> dict[str, FileHashes]:
    """Return the hashes of the weight files whose tensors the manifest lists."""
    headers, tensors = manifest.get("headers", {}), manifest.get("tensors", {})
    return {
        name: FileHashes(digest, headers[name], tensors[name])
        for name, digest in manifest["shards"].items()
        if name in headers and name in tensors
    }


def file_is_proved(path: Path) -> bool | None:
    """Compare one weight file with its folder's manifest; None if the manifest does not list it."""
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
        UserError: One of them is missing or has changed.
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
    """Return the error for a weight file whose content differs from the recorded one.

    Args:
        folder: The checkpoint.
        file: The weight file in it.
        what: The part that differs: a tensor's name, or "the header".
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
    """Return how to restore a damaged checkpoint."""
    if "predictions" in folder.parts:
        return f"remove {folder}, which is derived, and run extrapolate again"
    return (
        f"copy or save this checkpoint again (step {manifest['step']}, from {manifest['source']})"
    )


def identity_of(folder: Path, cache: HashCache | Path | None = None) -> str:
    """Return the identity of a checkpoint: from its manifest, or else by hashing its files.

    Args:
        folder: The checkpoint.
        cache: Cache for the hashes of folders without a manifest.

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
    """Return the recorded or cached identity of a folder without reading weights, else None."""
    names = weight_file_names(folder)
    known = [cache.known((folder / name).resolve()) for name in names]
    shards = {name: each.sha256 for name, each in zip(names, known, strict=True) if each}
    return combine(shards) if len(shards) == len(names) else None


def hashes_of(folder: Path, cache: HashCache) -> dict[str, FileHashes] | None:
    """Return the hashes against which a folder's weights are verified while they are read.

    They come from the manifest, or from the cache of taken identities. If the manifest lacks hashes
    of the tensors, the files are read, compared with it and cached.

    Returns:
        Hashes by weight file; None if the folder has neither a manifest nor a taken identity.

    Raises:
        UserError: A header, a companion, or a file without tensor hashes is damaged.
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
        UserError: They differ.
    """
    if hash_of_header(folder / name) != hashes.header:
        raise damaged_weights(folder, name, "the header", manifest)


def hash_of_header(path: Path) -> str:
    """Return the XXH3 of what precedes the values in a weight file, of all of it if that is more.

    A damaged length is no reason to read more than the file has.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        file.seek(0)
        return xxhash.xxh3_128(file.read(min(8 + length, path.stat().st_size))).hexdigest()


def prove_folder(folder: Path, hashes: Mapping[str, FileHashes], threads: int = 2) -> None:
    """Verify every weight file in full, before an external program reads it.

    Raises:
        UserError: A file differs from its hash.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        check_companions(folder, manifest)
    for name, read in hash_folder(folder, hashes, threads).items():
        if read.sha256 != hashes[name].sha256:
            raise damaged_weights(folder, name, "the whole", manifest)
