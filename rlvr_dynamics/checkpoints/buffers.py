"""Tensors in a checkpoint that are not weights: positions, masks, rotary tables, empty tensors.

They follow from the config, so they are not analysed. They must be the same in the base and in
every step; a buffer that changes means that something else, or another model, was saved.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from rlvr_dynamics.checkpoints.layout import ITEM_BYTES, Layout, Shard, TensorEntry
from rlvr_dynamics.errors import UserError

_TABLE = re.compile(
    r"(?:^|\.)(?:inv_freq|original_inv_freq|cos_cached|sin_cached|freqs_cis|masked_bias"
    r"|position_ids|token_type_ids)$"
)
_MASK = re.compile(r"(?:^|\.)attn\.bias$")  # GPT-2's causal mask, of shape (1, 1, n, n)
_SHOWN = 3


def is_buffer(name: str, entry: TensorEntry) -> bool:
    """Return whether a stored tensor is not a weight."""
    if entry.dtype not in ITEM_BYTES or 0 in entry.shape:
        return True
    return bool(_TABLE.search(name) or (len(entry.shape) == 4 and _MASK.search(name)))


def placeholders_error(which: str, names: Sequence[str], folder: Path) -> UserError:
    """Return the error for weights that are stored as tensors without elements."""
    return UserError(
        f"{which}tensor {names[0]} has no elements"
        + (f", like {len(names) - 1} more" if len(names) > 1 else "")
        + ": DeepSpeed's ZeRO-3 saves such placeholders when it does not gather the weights",
        where=str(folder),
        way_out="train with stage3_gather_16bit_weights_on_model_save, or gather the states "
        "yourself with zero_to_fp32.py --safe_serialization",
    )


def check_buffers(layouts: Mapping[int, Layout]) -> list[str]:
    """Check that every buffer is the same wherever it is stored.

    Args:
        layouts: Base (step 0) and steps whose values are on this disk.

    Returns:
        Names of the buffers that have elements.

    Raises:
        UserError: A step's buffer differs from the base's, or from that of the first step that
            has it.
    """
    first: dict[str, tuple[int, Shard, TensorEntry]] = {}
    for step, layout in layouts.items():
        for shard in layout.shards.values():
            for name, entry in shard.others.items():
                if 0 in entry.shape:
                    continue
                since, source, known = first.setdefault(name, (step, shard, entry))
                if since != step and not _equal(source, known, shard, entry):
                    where = "the base" if not since else f"step {since}"
                    raise UserError(
                        f"tensor {name} of dtype {entry.dtype} cannot be analysed as a weight, "
                        f"and in step {step} it is not what it is in {where}",
                        where=str(layout.folder),
                        way_out="save the checkpoints with the same config and without state that "
                        "training counts up, or remove this tensor from all of them",
                    )
    return sorted(first)


def _equal(first: Shard, known: TensorEntry, second: Shard, entry: TensorEntry) -> bool:
    if known.shape != entry.shape:
        return False
    if known.dtype == entry.dtype:
        return _digest(first, known) == _digest(second, entry)
    return _equal_values(first, known, second, entry)


def _digest(shard: Shard, entry: TensorEntry) -> bytes:
    if shard.store is not None:
        return hashlib.sha256(_bytes(shard, entry.begin, entry.end)).digest()
    status = os.stat(shard.path)
    mark = (status.st_size, status.st_mtime_ns, status.st_ino)
    return _digest_of(shard.path, mark, entry.begin, entry.end)


@lru_cache(maxsize=1 << 16)
def _digest_of(path: Path, _mark: tuple[int, ...], begin: int, end: int) -> bytes:
    return hashlib.sha256(_bytes(path, begin, end)).digest()


def _bytes(source: Shard | Path, begin: int, end: int) -> bytearray:
    from rlvr_dynamics.checkpoints.stored_values import read_place  # it needs torch

    found = bytearray(end - begin)
    read_place(source, begin, found, "a buffer")
    return found


def _equal_values(first: Shard, known: TensorEntry, second: Shard, entry: TensorEntry) -> bool:
    """Compare values of two dtypes: floats rounded to the narrower dtype, others as numbers."""
    import torch

    names = {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"}
    names |= {"BOOL": "bool", "F64": "float64"}
    values = []
    for shard, each in ((first, known), (second, entry)):
        dtype = getattr(torch, names.get(each.dtype, each.dtype), None)
        if dtype is None:
            return False
        raw = _bytes(shard, each.begin, each.end)
        values.append(torch.frombuffer(raw, dtype=dtype))
    one, other = values
    if one.is_floating_point() and other.is_floating_point():
        narrow = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
        return torch.equal(one.to(narrow), other.to(narrow))
    return torch.equal(one.double(), other.double())
