"""Cast the base and every checkpoint of a run to one dtype.

Widening (bfloat16 or float16 to float32) is exact; narrowing rounds to nearest, ties to even. One
block of one tensor is in memory at a time.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.companions import copy_companions
from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.checkpoints.layout import ITEM_BYTES, Layout, Shard
from rlvr_dynamics.checkpoints.model_config import says_tied, set_config_dtype
from rlvr_dynamics.checkpoints.shards import create_shard, read_layout
from rlvr_dynamics.checkpoints.stored_values import TORCH_DTYPES, raw_bytes
from rlvr_dynamics.checkpoints.tying import vocabulary_of_one
from rlvr_dynamics.checkpoints.weight_files import INDEX, SINGLE
from rlvr_dynamics.checkpoints.writer import copy_others, put_elements
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import atomic_folder, write_json
from rlvr_dynamics.system.hardware import free_bytes

BLOCK_ELEMENTS = 1 << 22


def first_not_finite(layout: Layout) -> str | None:
    """Return the first tensor with a NaN or infinite value; None when every value is finite."""
    for name in layout.names:
        if not all(_is_finite(values) for _, values in _blocks(layout, name)):
            return name
    return None


def stores_head_twice(layout: Layout) -> bool:
    """Whether a tied output head is stored in addition to the embedding it duplicates."""
    return bool(droppable_copies(layout))


def droppable_copies(layout: Layout) -> dict[str, str]:
    """Return the duplicate tensors that a checkpoint can omit and still load the same.

    That is an output head that has the embedding's bytes and that the config declares tied: the
    loader restores it from the embedding.
    """
    copies = vocabulary_of_one(layout).apply(layout).copies
    return dict(copies) if copies and says_tied(layout.folder) else {}


def stored_bytes(layout: Layout, dtype: str) -> int:
    """Bytes of all values in another dtype, without known copies."""
    return sum(layout.entry(name).numel for name in layout.names) * ITEM_BYTES[dtype]


def cast_checkpoint(
    source: Path,
    target: Path,
    dtype: str,
    *,
    step: int,
    origin: str,
    companions: Path,
    jump: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Rewrite a checkpoint in one dtype, atomically.

    The sharding is kept; a copy of a tied head is omitted.

    Args:
        source: Folder with the weights.
        target: Folder to publish, which may be `source` itself.
        dtype: float32, bfloat16 or float16.
        step: Training step for the manifest, 0 for the base.
        origin: Where the weights come from, in words, for the manifest.
        companions: Folder to copy config, tokenizer and chat template from.
        jump: As of `write_manifest`.

    Returns:
        The manifest; its `original_dtype` is that of `source`.

    Raises:
        UserError: `source` is not a complete checkpoint, a value is not finite in the new dtype,
            or the disk is full.
    """
    layout = read_layout(source)
    layout = layout.sharing({}, droppable_copies(layout))
    need, free = stored_bytes(layout, dtype), free_bytes(target)
    if need > free:
        raise UserError(
            f"the weights need {need:,} bytes in {dtype}, {free:,} are free",
            where=str(target),
            way_out="free some space or choose run_dir on another disk, then run again",
        )
    with atomic_folder(target) as folder:
        copy_companions(companions, folder)
        set_config_dtype(folder, dtype)
        home = {}
        for file, shard in layout.shards.items():
            names = [name for name in shard.entries if name not in layout.copies]
            if names or shard.others:
                kept = {name: shard.entries[name] for name in names} | shard.others
                shapes = {name: entry.shape for name, entry in kept.items()}
                others = {name: entry.dtype for name, entry in shard.others.items()}
                dtypes = dict.fromkeys(names, dtype) | others
                made = create_shard(folder / file, shapes, dtypes)
                copy_others(shard, made)
                _fill(layout, made, dtype)
                home |= dict.fromkeys(shapes, file)
        if set(home.values()) != {SINGLE}:
            metadata = {"total_size": need}
            write_json(folder / INDEX, {"metadata": metadata, "weight_map": home})
        return write_manifest(folder, step, origin, original_dtype=layout.dtype, jump=jump)


def store_base(folder: Path, dtype: str, origin: str) -> dict[str, Any]:
    """Store a base model in the dtype of its future checkpoints and record its identity.

    The stored model is step 0: training starts from it and every update is measured from it, even
    if it was rounded.

    Args:
        folder: The base's folder, changed in place.
        dtype: `trainer.checkpoint_dtype`.
        origin: Where the weights come from, in words.

    Returns:
        The manifest.

    Raises:
        UserError: The folder is not a complete checkpoint, a value is not finite, or the disk is
            full.
    """
    layout = read_layout(folder)
    if layout.dtype != dtype or stores_head_twice(layout):
        return cast_checkpoint(folder, folder, dtype, step=0, origin=origin, companions=folder)
    bad = first_not_finite(layout)
    if bad is not None:
        raise _not_finite(bad, dtype, folder)
    set_config_dtype(folder, dtype)
    return write_manifest(folder, 0, origin, original_dtype=dtype)


def take_companions(folder: Path, base: Path, dtype: str) -> None:
    """Replace everything in a checkpoint except its weights with the base's files.

    Training changes neither config nor tokenizer, but verl saves them in another form: its config
    says bfloat16 whatever the dtype of the weights.
    """
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".safetensors" and path.name != INDEX:
            path.unlink()
    copy_companions(base, folder)
    set_config_dtype(folder, dtype)


def _blocks(layout: Layout, name: str) -> Iterator[tuple[int, Tensor]]:
    """Yield (position, values) of a flattened tensor; the values' memory is reused."""
    entry = layout.entry(name)
    path = layout.shards[layout.home[name]].path
    room = torch.empty(min(BLOCK_ELEMENTS, entry.numel), dtype=TORCH_DTYPES[entry.dtype])
    with path.open("rb") as file:
        file.seek(entry.begin)
        for start in range(0, entry.numel, BLOCK_ELEMENTS):
            values = room[: min(BLOCK_ELEMENTS, entry.numel - start)]
            data = raw_bytes(values)
            if file.readinto(data) != len(data):
                raise UserError(
                    f"truncated while it was read: tensor {name}",
                    where=str(path),
                    way_out="leave checkpoints alone while they are published, then run again",
                )
            yield start, values


def _fill(layout: Layout, shard: Shard, dtype: str) -> None:
    with shard.path.open("r+b", buffering=0) as file:
        for name, entry in shard.entries.items():
            for start, values in _blocks(layout, name):
                rounded = values.to(TORCH_DTYPES[dtype])
                if not _is_finite(rounded):
                    raise _not_finite(name, dtype, layout.folder)
                put_elements(file.fileno(), entry, start, rounded)


def _is_finite(values: Tensor) -> bool:
    # NaN and Inf survive a sum, which is cheaper than checking every value; a sum that overflows
    # is recomputed in a wider dtype.
    quick = bool(torch.isfinite(values.sum(dtype=torch.float32)))
    return quick or bool(torch.isfinite(values.sum(dtype=torch.float64)))


def _not_finite(name: str, dtype: str, folder: Path) -> UserError:
    return UserError(
        f"tensor {name} has values that are not finite in {dtype}",
        where=str(folder),
        way_out="take another checkpoint, or trainer.checkpoint_dtype=float32 if it is rounding "
        "that made them so",
    )
