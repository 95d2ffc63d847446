"""Write a checkpoint as an ordinary Hugging Face folder with the layout of its base.

The base's safetensors headers are copied unchanged, so names, shapes, dtypes and shards are the
base's. Values are written directly to their position: one tensor in memory at a time.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.companions import copy_companions
from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.checkpoints.layout import ITEM_BYTES, Layout, Shard, TensorEntry
from rlvr_dynamics.checkpoints.model_config import engine_ties, say_untied, set_config_dtype, widest
from rlvr_dynamics.checkpoints.shards import create_shard, read_layout
from rlvr_dynamics.checkpoints.stored_values import TORCH_DTYPES, raw_bytes, write_at
from rlvr_dynamics.checkpoints.tying import head_is_own, vocabulary_of_one
from rlvr_dynamics.checkpoints.weight_files import INDEX, SINGLE
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import atomic_folder, write_json

_PUSH_BYTES = 32 << 20


def put_elements(descriptor: int, entry: TensorEntry, start: int, values: Tensor) -> None:
    """Write elements of a flattened tensor at their position in an open safetensors file.

    Args:
        descriptor: The file, open for writing.
        entry: The tensor's position.
        start: Position of the first element.
        values: Shape (c,), in the entry's dtype.
    """
    if values.numel() == 0:
        return
    place = entry.begin + start * ITEM_BYTES[entry.dtype]
    write_at(descriptor, raw_bytes(values.contiguous()), place)


def copy_others(shard: Shard, made: Shard) -> None:
    """Copy tensors that are not weights, such as masks, unchanged into a file laid out for them."""
    with shard.path.open("rb") as original, made.path.open("r+b") as copy:
        for name, entry in shard.others.items():
            original.seek(entry.begin)
            copy.seek(made.others[name].begin)
            copy.write(original.read(entry.end - entry.begin))


class CheckpointWriter:
    """Write one checkpoint, tensor by tensor; it is published when the block ends without an error.

    Args:
        base_folder: The folder that provides names, shapes, dtypes, shards and companions.
        out_folder: The folder to publish; an existing one is replaced.
        step: Training step for the manifest.
        source: Where the weights come from, in words, for the manifest.
        dtypes: The dtype to write each tensor in (`Trajectory.dtypes`), if not the base's.
        layout: The tensors to write and which of them repeat others (`Trajectory.template`); read
            from the base if not given. A copy is written together with its tensor.
        jump: As of `write_manifest`.
    """

    def __init__(
        self,
        base_folder: Path,
        out_folder: Path,
        *,
        step: int,
        source: str,
        dtypes: Mapping[str, str] | None = None,
        layout: Layout | None = None,
        jump: Mapping[str, Any] | None = None,
    ) -> None:
        """Read the base's layout; nothing is written before the block is entered."""
        self._jump = jump
        self.base_folder = Path(base_folder)
        if layout is None:
            stored = read_layout(self.base_folder)
            layout = vocabulary_of_one(stored).apply(stored)
        if not layout.stores_all:
            raise ValueError(f"{layout.folder} has no place for every tensor")
        self.layout = layout
        self._dtypes = dict(dtypes or {})
        self._copies: dict[str, list[str]] = {}
        for copy, name in layout.copies.items():
            self._copies.setdefault(name, []).append(copy)
            if name in self._dtypes:
                self._dtypes[copy] = self._dtypes[name]
        self._entries: dict[str, TensorEntry] = {}
        self.out_folder, self.step, self.source = Path(out_folder), step, source
        self.manifest: dict[str, Any] = {}
        self._left = {name: self.layout.entry(name).numel for name in self.layout.names}
        self._files: dict[str, int] = {}
        self._stack = ExitStack()
        self._folder = Path()
        # Flush what has been written to disk while the rest is computed.
        self._pusher = ThreadPoolExecutor(max_workers=1)
        self._push: Future[None] = Future()
        self._push.set_result(None)
        self._pushed = 0

    def __enter__(self) -> "CheckpointWriter":
        """Create the temporary folder with its headers and companions."""
        with ExitStack() as stack:
            self._folder = stack.enter_context(atomic_folder(self.out_folder))
            copy_companions(self.base_folder, self._folder)
            as_stored = True
            lent = self.layout.lent
            for file, known in self.layout.shards.items():
                entries = {name: known.entries[name] for name in known.entries.keys() - lent.keys()}
                shard = replace(known, entries=entries)
                made = self._begin(shard, self._folder / file)
                as_stored &= made.entries == shard.entries and not shard.stored
                self._entries |= made.entries
                self._files[file] = os.open(made.path, os.O_WRONLY)
                copy_others(shard, made)
            self._entries |= {name: self._entries[stored] for name, stored in lent.items()}
            if as_stored and (self.layout.folder / INDEX).exists():
                shutil.copyfile(self.layout.folder / INDEX, self._folder / INDEX)
            elif list(self._files) != [SINGLE]:
                self._write_index()
            if not as_stored:
                set_config_dtype(self._folder, widest(self._dtype_of(n) for n in self._entries))
            # vLLM ignores a stored head if the config ties it.
            if head_is_own(self.layout) and engine_ties(self._folder):
                say_untied(self._folder)
            self._stack = stack.pop_all()
        return self

    def _dtype_of(self, name: str) -> str:
        return self._dtypes.get(name, self.layout.entry(name).dtype)

    def _begin(self, shard: Shard, path: Path) -> Shard:
        """Create a file with the base's header, or a header with changed dtypes or names."""
        dtypes = {name: self._dtype_of(name) for name in shard.entries}
        if not shard.stored and all(shard.entries[n].dtype == dtypes[n] for n in dtypes):
            with shard.path.open("rb") as original:
                path.write_bytes(original.read(shard.data_start))
            os.truncate(path, shard.size)
            return replace(shard, path=path)
        every = shard.entries | shard.others
        shapes = {name: entry.shape for name, entry in every.items()}
        others = {name: entry.dtype for name, entry in shard.others.items()}
        return create_shard(path, shapes, dtypes | others)

    def _write_index(self) -> None:
        home = {n: file for n, file in self.layout.home.items() if n not in self.layout.lent}
        for file, shard in self.layout.shards.items():
            home |= dict.fromkeys(shard.others, file)
        size = sum(entry.end - entry.begin for entry in self._entries.values())
        write_json(self._folder / INDEX, {"metadata": {"total_size": size}, "weight_map": home})

    def write(self, name: str, tensor: Tensor) -> None:
        """Write one tensor, rounded to the base's dtype.

        Args:
            name: A name of the base.
            tensor: Values of the base's shape, any float dtype.

        Raises:
            UserError: A value is NaN or infinite, even if only after casting to the base's dtype.
            ValueError: Unknown name, wrong shape, or a tensor written twice.
        """
        if name in self._left and tuple(tensor.shape) != self.layout.entry(name).shape:
            shape = self.layout.entry(name).shape
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, the base's is {shape}")
        self.write_elements(name, 0, tensor.reshape(-1))

    def write_elements(self, name: str, start: int, values: Tensor) -> None:
        """Write a range of elements of a flattened tensor; ranges must not overlap.

        Args:
            name: A name of the base.
            start: Position of the first element.
            values: Shape (c,), any float dtype.

        Raises:
            UserError: A value is NaN or infinite, even if only after casting to the base's dtype.
            ValueError: Unknown name, or more elements than the tensor has.
        """
        if self._left.get(name, -1) < values.numel():
            raise ValueError(
                f"{name} is not a tensor of the base, or gets more elements than it has"
            )
        self._left[name] -= values.numel()
        self._put(name, start, values)
        for copy in self._copies.get(name, ()):
            self._put(copy, start, values)

    def _put(self, name: str, start: int, values: Tensor) -> None:
        entry = self._entries[name]
        rounded = values.detach().to("cpu", TORCH_DTYPES[entry.dtype])
        # NaN and Inf survive a sum, which is cheaper than checking every value.
        if not bool(torch.isfinite(rounded.sum(dtype=torch.float64))):
            raise UserError(
                f"the new weights of {name} are not finite in {entry.dtype}",
                where=f"{self.out_folder} (step {self.step})",
                way_out="choose a nearer target step, or a method that grows less",
            )
        descriptor = self._files[self.layout.home[name]]
        put_elements(descriptor, entry, start, rounded)
        self._pushed += rounded.numel() * rounded.element_size()
        if self._pushed >= _PUSH_BYTES and self._push.done():
            self._pushed = 0
            self._push = self._pusher.submit(os.fdatasync, descriptor)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish the folder with its manifest, or remove it completely after an error."""
        if error is not None:
            self._close()
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            try:
                unfinished = sorted(name for name, count in self._left.items() if count)
                if unfinished:
                    raise ValueError(f"tensors not written in full: {', '.join(unfinished[:3])}")
                # The disk writes while the processor hashes.
                on_disk = [self._pusher.submit(os.fsync, file) for file in self._files.values()]
                self.manifest = write_manifest(
                    self._folder, self.step, self.source, jump=self._jump
                )
                for file in (self._push, *on_disk):
                    file.result()
            finally:
                self._close()

    def _close(self) -> None:
        self._pusher.shutdown(wait=True, cancel_futures=True)
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()


def write_checkpoint(
    base_folder: Path,
    out_folder: Path,
    tensors: Iterable[tuple[str, Tensor]] | Callable[[str], Tensor],
    step: int,
    source: str,
) -> dict[str, Any]:
    """Write a whole checkpoint and return its manifest.

    Args:
        base_folder: The folder that provides layout, dtype and companions.
        out_folder: The folder to publish; an existing one is replaced.
        tensors: Pairs of name and tensor in any order, or a function from name to tensor.
        step: Training step for the manifest.
        source: Where the weights come from, in words.

    Raises:
        UserError: The base is not a checkpoint, a value is not finite, or the disk is full.
        ValueError: Names or shapes differ from the base's.
    """
    with CheckpointWriter(base_folder, out_folder, step=step, source=source) as writer:
        pairs = (
            ((name, tensors(name)) for name in writer.layout.names)
            if callable(tensors)
            else tensors
        )
        for name, tensor in pairs:
            writer.write(name, tensor)
    return writer.manifest
