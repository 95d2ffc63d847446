"""The tensors of one Hugging Face folder, found by reading safetensors headers only.

Reading the headers ourselves costs no torch import, shows a damaged file before any value is used,
and gives byte offsets, so that a reader may fetch any run of elements.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.header import NEW_COPY, Stored, read_header
from rlvr_dynamics.checkpoints.names import EMBEDDING_SUFFIX, HEAD
from rlvr_dynamics.checkpoints.weight_files import check_index, weight_file_names
from rlvr_dynamics.errors import UserError

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies in its file: bytes `begin` to `end`, counted from the file's start."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Shard:
    """One safetensors file: where its values start, its size in bytes, its tensors."""

    path: Path
    data_start: int
    size: int
    entries: dict[str, TensorEntry]


@dataclass(frozen=True)
class Layout:
    """The weights of one checkpoint folder: its files, and the file of every tensor.

    `tied` says that the output head is the embedding; a stored copy of a tied head is listed in
    `home` but not in `names`.
    """

    folder: Path
    shards: dict[str, Shard]
    home: dict[str, str]
    tied: bool

    @property
    def names(self) -> list[str]:
        """Tensor names, sorted, a tied head left out."""
        return sorted(name for name in self.home if not (self.tied and name == HEAD))

    def entry(self, name: str) -> TensorEntry:
        """Return the place of a tensor."""
        return self.shards[self.home[name]].entries[name]

    @property
    def dtype(self) -> str:
        """The stored dtype, joined by `+` when tensors differ."""
        return "+".join(sorted({self.entry(name).dtype for name in self.names}))

    @property
    def data_bytes(self) -> int:
        """Size of all weight files in bytes."""
        return sum(shard.size for shard in self.shards.values())

    def embedding_of_tied_head(self) -> str | None:
        """Return the embedding's name, which a stored copy of a tied head must repeat."""
        return next((name for name in self.names if name.endswith(EMBEDDING_SUFFIX)), None)


def read_shard(path: Path) -> Shard:
    """Read the header of one safetensors file.

    Raises:
        UserError: The file is cut short or too long, its header is damaged, or its dtype is not a
            float that can be analysed.
    """
    header = read_header(path)
    entries = {name: _entry(name, stored, path) for name, stored in header.tensors.items()}
    return Shard(path=path, data_start=header.data_start, size=header.size, entries=entries)


def _entry(name: str, stored: Stored, path: Path) -> TensorEntry:
    if stored.dtype not in DTYPES:
        raise UserError(
            f"tensor {name} has dtype {stored.dtype}; only {', '.join(DTYPES)} can be analysed",
            where=str(path),
            way_out="save the checkpoint unquantised in float32, bfloat16 or float16",
        )
    return TensorEntry(DTYPES[stored.dtype], stored.shape, stored.begin, stored.end)


def create_shard(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str = "float32"
) -> Shard:
    """Create a safetensors file of the given tensors, all zero, to be filled later."""
    tag = next(tag for tag, known in DTYPES.items() if known == dtype)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    offset = 0
    for name, shape in shapes.items():
        end = offset + math.prod(shape) * ITEM_BYTES[dtype]
        header[name] = {"dtype": tag, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    return read_shard(path)


def read_layout(folder: Path) -> Layout:
    """Find every tensor of a Hugging Face folder, sharded or not.

    Raises:
        UserError: The folder is missing, empty, holds no safetensors, lacks a shard of its index,
            or its index points outside the folder.
    """
    files = weight_file_names(folder)
    shards = {file: read_shard(folder / file) for file in files}
    home: dict[str, str] = {}
    for file, shard in shards.items():
        for name in shard.entries:
            if name in home:
                raise UserError(
                    f"tensor {name} is stored twice, in {home[name]} and in {file}",
                    where=str(folder),
                    way_out=NEW_COPY,
                )
            home[name] = file
    check_index(folder, home)
    if not home:
        raise UserError("a checkpoint without tensors", where=str(folder), way_out=NEW_COPY)
    return Layout(folder=folder, shards=shards, home=home, tied=_is_tied(folder, home))


def _is_tied(folder: Path, home: dict[str, str]) -> bool:
    if HEAD not in home:
        return True
    config = folder / "config.json"
    if not config.exists():
        return False
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
        return bool(settings.get("tie_word_embeddings", False))
    except (ValueError, AttributeError) as error:
        raise UserError("damaged config.json", where=str(config), way_out=NEW_COPY) from error
