"""One version of a delta store on disk: a folder with what changed since another version.

The layout is that of slime's weight updates on disk (github.com/THUDM/slime, PR #1806), which is
an ordinary Hugging Face folder: an index, and safetensors files with one U8 tensor for each tensor
that changed. Its bytes are a zstd frame of new XOR old bytes (`delta_frames`). The index says
`version`, `base_version` and the encoding; the metadata of a weight file has the XXH3 of every new
tensor.

Beside them lie the checkpoint's manifest and config, and what else a byte-equal copy needs where it
differs from the chain's first version: tokenizer, index and headers of the weight files.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from rlvr_dynamics.checkpoints.companions import companion_files
from rlvr_dynamics.checkpoints.delta_frames import Frame
from rlvr_dynamics.checkpoints.delta_names import number_of
from rlvr_dynamics.checkpoints.header import read_header
from rlvr_dynamics.checkpoints.identity import (
    MANIFEST,
    damaged_weights,
    hashes_in,
    make_manifest,
    parsed_manifest,
    read_manifest,
)
from rlvr_dynamics.checkpoints.weight_files import INDEX, holds_adapter, weight_file_names
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import write_sealed_json
from rlvr_dynamics.system.sealed import read_sealed_json

FRAMES = "model-00001-of-00001.safetensors"
EXTRA = "files"
_HIDDEN = frozenset({INDEX})  # a version with frames has one of its own
_FORMAT = {
    "delta_encoding": "xor",
    "compression_format": "zstd",
    "checksum_format": "xxh3-128",
}
_COPY_BYTES = 1 << 22


@dataclass(frozen=True)
class Version:
    """One step of a store.

    Attributes:
        folder: Its folder.
        step: Its number.
        base: Number of the version that its frames change; None for a whole checkpoint.
        frames: The changed tensors, by their names in the step's files.
        manifest: The manifest of the checkpoint.
        changed: Elements that differ from the version before; 0 for a whole checkpoint.
        elements: All elements of the checkpoint; 0 for a whole one.
        size: Bytes of the weight files.
    """

    folder: Path
    step: int
    base: int | None
    frames: Mapping[str, Frame]
    manifest: Mapping[str, Any]
    changed: int
    elements: int
    size: int

    @property
    def share(self) -> float:
        """Share of the elements that differ from the version before; 0 for a whole checkpoint."""
        return self.changed / self.elements if self.elements else 0.0

    def own(self, name: str) -> Path:
        """Return the place of a file of the checkpoint that the version itself has."""
        hidden = name in _HIDDEN and self.base is not None
        return self.folder / EXTRA / name if hidden else self.folder / name

    def header(self, file: str) -> Path:
        """Return the place of a weight file's header, if it differs from the first version's."""
        return self.folder / EXTRA / f"{file}.header"


def manifest_of(folder: Path, step: int) -> dict[str, Any]:
    """Return the manifest of a checkpoint with hashes of all tensors, made if there is none.

    Raises:
        UserError: It is an adapter or no checkpoint, or its manifest is damaged.
    """
    if holds_adapter(folder):
        raise UserError(
            f"step {step} is an adapter, which is smaller than a delta",
            where=str(folder),
            way_out="keep adapters as they are: source.checkpoints takes them",
        )
    weight_file_names(folder)
    manifest = read_manifest(folder)
    if manifest is not None and hashes_in(manifest).keys() == manifest["shards"].keys():
        return manifest
    index = [INDEX] if (folder / INDEX).exists() else []
    source = manifest["source"] if manifest is not None else "packed"
    made = make_manifest(folder, step, source, companions=[*companion_files(folder), *index])
    if manifest is not None and manifest["identity"] != made["identity"]:
        raise damaged_weights(folder, "a weight file", "the whole", manifest)
    return made


def damaged_version(folder: Path, what: str) -> UserError:
    """Return the error for a version that cannot be used."""
    return UserError(
        f"damaged version of a delta store: {what}",
        where=str(folder),
        way_out="put this folder back from a copy, or pack all steps into a new store; "
        "`python -m rlvr_dynamics.store verify` lists the steps that are whole",
    )


def read_version(folder: Path, step: int | None = None) -> Version:
    """Read what a version says about itself; no frame is read.

    Args:
        folder: Its folder.
        step: Its number, if the folder does not have its name yet.

    Raises:
        UserError: It is damaged, or has another encoding than this package writes.
    """
    step = number_of(folder) if step is None else step
    if step is None:
        raise ValueError(f"{folder} is not a version of a store")
    manifest = _manifest_in(folder)
    try:
        index = read_sealed_json(folder / INDEX) if (folder / INDEX).is_file() else {}
        said = dict(index.get("metadata", {}))
        if "base_version" not in said:
            files = [folder / name for name in manifest["shards"]]
            size = sum(path.stat().st_size for path in files)
            return Version(folder, step, None, {}, manifest, 0, 0, size)
        wrong = {key: said.get(key) for key, value in _FORMAT.items() if said.get(key) != value}
        if wrong or int(said["version"]) != step:
            raise damaged_version(folder, f"its index says {wrong or said['version']}")
        frames, size = _frames(folder, index["weight_map"], said["header"])
        numbers = int(said["changed"]), int(said["elements"])
        base = int(said["base_version"])
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise damaged_version(folder, f"its index cannot be read ({error})") from error
    if base >= step:
        raise damaged_version(folder, f"it says that it follows version {base}")
    return Version(folder, step, base, frames, manifest, *numbers, size)


def _manifest_in(folder: Path) -> dict[str, Any]:
    """Return the manifest of a version, which must have the hashes of all its tensors."""
    try:
        manifest = parsed_manifest(folder / MANIFEST)
    except UserError as error:
        raise damaged_version(folder, error.what) from error
    if manifest is None:
        raise damaged_version(folder, f"it has no {MANIFEST}")
    parts = ("shards", "companions", "headers", "tensors")
    if not all(isinstance(manifest.get(part), dict) for part in parts):
        raise damaged_version(folder, f"its {MANIFEST} does not list {', '.join(parts)}")
    if hashes_in(manifest).keys() != manifest["shards"].keys():
        raise damaged_version(folder, f"its {MANIFEST} has no hashes of the tensors")
    _check_names((*manifest["shards"], *manifest["companions"]), folder)
    return manifest


def _check_names(names: Iterable[str], folder: Path) -> None:
    """Refuse names that lead out of a folder."""
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts or "\\" in name:
            raise damaged_version(folder, f"its manifest names {name!r}, which lies outside of it")


def _frames(
    folder: Path, weight_map: Mapping[str, str], header_hash: str
) -> tuple[dict[str, Frame], int]:
    """Return the places of a version's frames, and the bytes of its file."""
    path = folder / FRAMES
    if not weight_map and not path.exists():
        return {}, 0
    if set(weight_map.values()) != {FRAMES}:
        raise damaged_version(folder, f"its index names other files than {FRAMES}")
    header = read_header(path)
    with path.open("rb") as file:
        if xxhash.xxh3_128(file.read(header.data_start)).hexdigest() != header_hash:
            raise damaged_version(folder, f"the header of {FRAMES} is not what was written")
    found = {name: Frame(path, each.begin, each.end) for name, each in header.tensors.items()}
    if found.keys() != weight_map.keys():
        raise damaged_version(folder, "its index and its file list different tensors")
    return found, header.size


class FrameFile:
    """Write the frames of a version one after the other, then the file and its index.

    Args:
        folder: Temporary folder of the version.
    """

    def __init__(self, folder: Path) -> None:
        """Open a file for the frames; the header, which lists them, comes before them later."""
        self.folder = folder
        self._body = (folder / f".{FRAMES}").open("w+b")
        self._places: dict[str, tuple[int, int]] = {}
        self._hashes: dict[str, str] = {}

    def add(self, name: str, frame: Iterable[bytes], new_hash: str) -> None:
        """Append the change of a tensor.

        Args:
            name: The tensor's name in the checkpoint.
            frame: zstd frame of new XOR old bytes, in parts.
            new_hash: XXH3 of the new bytes.
        """
        begin = self._body.tell()
        self._body.writelines(frame)
        self._places[name], self._hashes[name] = (begin, self._body.tell()), new_hash

    def finish(self, step: int, base: int, changed: int, elements: int) -> None:
        """Write the file and the index.

        Args:
            step: Number of the version.
            base: Number of the version that the frames change.
            changed: Elements that differ from the version before.
            elements: All elements of the checkpoint.
        """
        header: dict[str, Any] = {"__metadata__": self._hashes}
        for name, (begin, end) in self._places.items():
            header[name] = {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        start = len(text).to_bytes(8, "little") + text
        if self._places:
            with (self.folder / FRAMES).open("wb") as file:
                file.write(start)
                self._body.seek(0)
                while block := self._body.read(_COPY_BYTES):
                    file.write(block)
        self._body.close()
        os.unlink(self._body.name)
        said = {
            "version": f"{step:06d}",
            "base_version": f"{base:06d}",
            **_FORMAT,
            "header": xxhash.xxh3_128(start).hexdigest(),
            "changed": str(changed),
            "elements": str(elements),
        }
        places = dict.fromkeys(self._places, FRAMES)
        write_sealed_json(self.folder / INDEX, {"metadata": said, "weight_map": places})
