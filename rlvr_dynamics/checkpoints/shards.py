"""The tensors of one Hugging Face folder, found by reading safetensors headers only.

Reading the headers ourselves costs no torch import, shows a damaged file before any value is used,
and gives byte offsets, so that a reader may fetch any run of elements.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.buffers import is_buffer, placeholders_error
from rlvr_dynamics.checkpoints.header import BITS, NEW_COPY, Stored, read_header
from rlvr_dynamics.checkpoints.model_config import read_config
from rlvr_dynamics.checkpoints.weight_files import check_index, weight_file_names
from rlvr_dynamics.checkpoints.wrappers import unwrapped
from rlvr_dynamics.errors import UserError

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.adapters import Adapter

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_QUANTISED = ("F8", "F6", "F4")


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
    """One safetensors file.

    Attributes:
        path: The file.
        data_start: Where its values start.
        size: Its size in bytes.
        entries: Its weights.
        others: What is no weight, by its stored name; `dtype` may be any of the format's.
        stored: The names in the file of those weights whose names were changed.
    """

    path: Path
    data_start: int
    size: int
    entries: dict[str, TensorEntry]
    others: dict[str, TensorEntry] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """The weights of one checkpoint folder: its files, and the file of every tensor.

    With an `adapter` the files are the base's, changed by it.

    Attributes:
        folder: The checkpoint.
        shards: Its files by name.
        home: The file of every tensor, copies included.
        adapter: What changes the tensors, where the step is an adapter.
        copies: Stored tensors that repeat another one, and which; they are no tensors of their own.
        lent: Tensors that are not stored, and the stored one in whose place they are read.
    """

    folder: Path
    shards: dict[str, Shard]
    home: dict[str, str]
    adapter: "Adapter | None" = None
    copies: dict[str, str] = field(default_factory=dict)
    lent: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Tensor names, sorted, copies left out."""
        return sorted(self.home.keys() - self.copies.keys())

    def sharing(self, lent: Mapping[str, str], copies: Mapping[str, str]) -> "Layout":
        """Return this layout with tensors that lie where others do.

        Args:
            lent: Names that are not stored, and the stored tensor whose place is theirs.
            copies: Names that repeat another tensor; those that are not stored are passed over.
        """
        shards, home = dict(self.shards), dict(self.home)
        for name, stored in lent.items():
            shard = shards[home[stored]]
            entries = shard.entries | {name: shard.entries[stored]}
            shards[home[stored]] = replace(shard, entries=entries)
            home[name] = home[stored]
        repeated = {name: other for name, other in copies.items() if name in home}
        return replace(self, shards=shards, home=home, copies=repeated, lent=dict(lent))

    @property
    def stores_all(self) -> bool:
        """Whether every tensor has a place of its own, so that a checkpoint can be written so."""
        return all(stored in self.copies for stored in self.lent.values())

    def entry(self, name: str) -> TensorEntry:
        """Return the place of a tensor."""
        return self.shards[self.home[name]].entries[name]

    def dtype_of(self, name: str) -> str:
        """Return the dtype in which a tensor is read: what an adapter changes, in float32."""
        changed = self.adapter is not None and name in self.adapter.changes
        return "float32" if changed else self.entry(name).dtype

    def renamed(self, names: Mapping[str, str]) -> "Layout":
        """Return this layout with some tensors, those of `names`, under other names."""
        every = {name: names.get(name, name) for name in self.home}
        shards = {file: _renamed(shard, every) for file, shard in self.shards.items()}
        home = {every[name]: file for name, file in self.home.items()}
        return replace(self, shards=shards, home=home)

    @property
    def dtype(self) -> str:
        """The stored dtype, joined by `+` when tensors differ."""
        return "+".join(sorted({self.entry(name).dtype for name in self.names}))

    @property
    def files(self) -> list[Path]:
        """The files that hold the weights, with an adapter its own."""
        if self.adapter is not None:
            return [self.adapter.path, self.adapter.settings]
        return [shard.path for shard in self.shards.values()]

    @property
    def data_bytes(self) -> int:
        """Size of all weight files in bytes."""
        if self.adapter is not None:
            return self.adapter.size
        return sum(shard.size for shard in self.shards.values())


def read_shard(path: Path) -> Shard:
    """Read the header of one safetensors file.

    Raises:
        UserError: The file is cut short or too long, its header is damaged, or its dtype is not a
            float that can be analysed.
    """
    header = read_header(path)
    shard = Shard(path=path, data_start=header.data_start, size=header.size, entries={})
    for name, stored in header.tensors.items():
        entry = _entry(name, stored, path)
        buffer = is_buffer(name, entry.dtype, entry.shape, ITEM_BYTES)
        (shard.others if buffer else shard.entries)[name] = entry
    return shard


def _entry(name: str, stored: Stored, path: Path) -> TensorEntry:
    no_float = stored.dtype not in DTYPES
    if stored.dtype.startswith(_QUANTISED) or (no_float and name.endswith(".weight")):
        raise UserError(
            f"tensor {name} has dtype {stored.dtype}; only {', '.join(DTYPES)} can be analysed",
            where=str(path),
            way_out="save the checkpoint unquantised in float32, bfloat16 or float16",
        )
    dtype = DTYPES.get(stored.dtype, stored.dtype)
    return TensorEntry(dtype, stored.shape, stored.begin, stored.end)


def create_shard(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: str | Mapping[str, str] = "float32",
    words: Mapping[str, str] | None = None,
) -> Shard:
    """Create a safetensors file of the given tensors, all zero, to be filled later.

    Args:
        path: The file.
        shapes: Name and shape of each tensor, in the file's order.
        dtype: Their dtype, or the dtype of each.
        words: What the header says besides.
    """
    tags = {known: tag for tag, known in DTYPES.items()}
    # transformers asks for the format
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(words or {})}}
    offset = 0
    for name, shape in shapes.items():
        kind = dtype if isinstance(dtype, str) else dtype[name]
        tag = tags.get(kind, kind)
        end = offset + math.prod(shape) * BITS[tag] // 8
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

    Wrappers' names are taken off the tensors' (see `wrappers`).

    Raises:
        UserError: The folder is missing, empty, holds no safetensors, lacks a shard of its index,
            or its index points outside the folder; its weights are quantised, or hold an adapter.
    """
    shards = {file: read_shard(folder / file) for file in weight_file_names(folder)}
    places: dict[str, str] = {}
    for file, shard in shards.items():
        for name in (*shard.entries, *shard.others):
            if name in places:
                raise _twice(name, places[name], file, folder)
            places[name] = file
    check_index(folder, places)
    _refuse_what_is_no_plain_model(folder, shards)
    names = unwrapped(name for shard in shards.values() for name in shard.entries)
    home: dict[str, str] = {}
    for stored, name in names.items():
        if name in home:
            raise _twice(name, home[name], places[stored], folder)
        home[name] = places[stored]
    if not home:
        empty = sorted(name for name, file in places.items() if not shards[file].others[name].numel)
        if empty:
            raise placeholders_error("", empty, folder)
        raise UserError("a checkpoint without tensors", where=str(folder), way_out=NEW_COPY)
    if any(stored != name for stored, name in names.items()):
        shards = {file: _renamed(shard, names) for file, shard in shards.items()}
    return Layout(folder=folder, shards=shards, home=home)


def _renamed(shard: Shard, names: Mapping[str, str]) -> Shard:
    return replace(
        shard,
        entries={names[stored]: entry for stored, entry in shard.entries.items()},
        stored={names[stored]: shard.stored.get(stored, stored) for stored in shard.entries},
    )


def _twice(name: str, first: str, second: str, folder: Path) -> UserError:
    return UserError(
        f"tensor {name} is stored twice, in {first} and in {second}",
        where=str(folder),
        way_out=NEW_COPY,
    )


def _refuse_what_is_no_plain_model(folder: Path, shards: Mapping[str, Shard]) -> None:
    for shard in shards.values():
        for name in shard.entries:
            if ".lora_A." in name or ".lora_B." in name or ".base_layer." in name:
                raise UserError(
                    f"weights with an adapter that is not merged into them: {name}",
                    where=str(folder),
                    way_out="merge it with peft's merge_and_unload(), or give the adapters "
                    "(adapter_model.safetensors) of the steps",
                )
    integers = [name for shard in shards.values() for name in shard.others]
    if integers and "quantization_config" in read_config(folder):
        raise UserError(
            f"the weights are quantised ({integers[0]}), and config.json says so",
            where=str(folder),
            way_out="give the unquantised model, in float32, bfloat16 or float16",
        )
