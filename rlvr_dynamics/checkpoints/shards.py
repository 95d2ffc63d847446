"""The tensors of one Hugging Face folder, found by reading safetensors headers only.

Reading the headers ourselves avoids importing torch, detects a damaged file before any value is
used, and gives byte offsets, so that a reader can fetch any range of elements.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.buffers import is_buffer, placeholders_error
from rlvr_dynamics.checkpoints.header import BITS, NEW_COPY, Stored, read_header
from rlvr_dynamics.checkpoints.layout import DTYPES, Layout, Shard, TensorEntry
from rlvr_dynamics.checkpoints.model_config import read_config
from rlvr_dynamics.checkpoints.weight_files import check_index, weight_file_names
from rlvr_dynamics.checkpoints.wrappers import unwrapped
from rlvr_dynamics.errors import UserError

_QUANTISED = ("F8", "F6", "F4")


def read_shard(path: Path, *, header_only: bool = False) -> Shard:
    """Read the header of one safetensors file.

    Args:
        path: The file.
        header_only: Whether it holds the header of a file and no values.

    Raises:
        UserError: The file is truncated or too long, its header is damaged, or its dtype is not a
            supported float.
    """
    header = read_header(path, alone=header_only)
    shard = Shard(path=path, data_start=header.data_start, size=header.size, entries={})
    for name, stored in header.tensors.items():
        entry = _entry(name, stored, path)
        (shard.others if is_buffer(name, entry) else shard.entries)[name] = entry
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
    """Create a safetensors file of zero tensors, to be filled later.

    Args:
        path: The file.
        shapes: Name and shape of each tensor, in the file's order.
        dtype: Their dtype, or the dtype of each.
        words: Additional metadata for the header.
    """
    tags = {known: tag for tag, known in DTYPES.items()}
    # transformers requires the format
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

    Wrapper prefixes are removed from tensor names (see `wrappers`).

    Raises:
        UserError: The folder is missing or empty, has no safetensors, lacks a shard of its index,
            has an index that points outside it, or holds quantised weights or an adapter.
    """
    shards = {file: read_shard(folder / file) for file in weight_file_names(folder)}
    layout = layout_of(folder, shards)
    places = {name: file for file, each in shards.items() for name in (*each.entries, *each.others)}
    check_index(folder, places)
    return layout


def layout_of(folder: Path, shards: Mapping[str, Shard]) -> Layout:
    """Find every tensor of a checkpoint in its files; see `read_layout`.

    Args:
        folder: The checkpoint.
        shards: Its weight files by name, as read.

    Raises:
        UserError: They hold a tensor twice or none, quantised weights or an adapter.
    """
    places: dict[str, str] = {}
    for file, shard in shards.items():
        for name in (*shard.entries, *shard.others):
            if name in places:
                raise _twice(name, places[name], file, folder)
            places[name] = file
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
        shards = {file: shard.renamed(names) for file, shard in shards.items()}
    return Layout(folder=folder, shards=dict(shards), home=home)


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
