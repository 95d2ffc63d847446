"""The values of a base and its steps, read tensor by tensor and verified while reading."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.adapter_values import merged_elements, update_elements
from rlvr_dynamics.checkpoints.layout import ITEM_BYTES, Layout, Shard, TensorEntry, Versions
from rlvr_dynamics.checkpoints.proofs import Proofs
from rlvr_dynamics.checkpoints.stored_values import TORCH_DTYPES, raw_bytes, read_stored
from rlvr_dynamics.dynamics import ActiveColumns, beside_rounded

_BLOCK_ELEMENTS = 1 << 22
_ROUNDED_ELEMENTS = 1 << 15


class StepValues:
    """The tensors of a base (step 0) and of later steps; nothing is kept in memory.

    Attributes:
        dtypes: The dtype in which each tensor is read: the steps', to which the base is cast, or
            `round_to`.
        round_to: The dtype to which weights are rounded as they are read, the steps' as if the run
            had begun at the rounded base (`beside_rounded`); None reads what is stored.
    """

    round_to: str | None = None

    def __init__(self, layouts: dict[int, Layout], dtypes: dict[str, str], proofs: Proofs) -> None:
        """Read from layouts that were checked against each other."""
        self._layouts = layouts
        self._proofs = proofs
        self.dtypes = dtypes

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._layouts[0].entry(name).shape

    def numel(self, name: str) -> int:
        """Return a tensor's number of elements, d."""
        return self._layouts[0].entry(name).numel

    def dtype_of(self, name: str) -> str:
        """Return the dtype in which a tensor is read."""
        return self.dtypes[name]

    def folder(self, step: int) -> Path:
        """Return the folder of a step; step 0 is the base."""
        return self._layouts[step].folder

    def layout(self, step: int) -> Layout:
        """Return the files and tensor positions of a step."""
        return self._layouts[step]

    def tensor(self, step: int, name: str) -> Tensor:
        """Read one tensor in its dtype and shape; step 0 is the base."""
        return self.elements(step, name, 0, self.numel(name)).view(self.shape(name))

    def elements(self, step: int, name: str, start: int, stop: int) -> Tensor:
        """Read elements `start` to `stop` of a flattened tensor, in its dtype.

        Returns:
            Tensor of shape (stop - start,), owned by the caller.
        """
        values = torch.empty(stop - start, dtype=TORCH_DTYPES[self.dtypes[name]])
        self.read_elements(step, name, start, values)
        return values

    def blocks(self, step: int, name: str) -> Iterator[tuple[int, Tensor]]:
        """Yield a flattened tensor block by block, as (position of its first element, values)."""
        size = self.numel(name)
        for start in range(0, size, _BLOCK_ELEMENTS):
            yield start, self.elements(step, name, start, min(size, start + _BLOCK_ELEMENTS))

    def read_elements(self, step: int, name: str, start: int, out: Tensor) -> None:
        """Read elements of a flattened tensor into contiguous memory of its dtype.

        Args:
            step: The step; 0 is the base.
            name: The tensor.
            start: Position of the first element.
            out: Shape (c,), filled with elements `start` to `start + c`.
        """
        if out.numel() == 0:
            return
        entry = self._layouts[step].entry(name)
        direct = self.is_stored(step, name) and out.dtype == TORCH_DTYPES[entry.dtype]
        stored = self._stored(step, name, start, start + out.numel(), out if direct else None)
        if not direct:
            out.copy_(self._as_read(step, name, start, stored))

    def _stored(
        self, step: int, name: str, start: int, stop: int, out: Tensor | None = None
    ) -> Tensor:
        """Read elements as stored, or as an adapter makes them of the stored base.

        Args:
            step: The step; 0 is the base.
            name: The tensor.
            start: First element.
            stop: One past the last.
            out: Memory of the stored dtype, for what is not made by an adapter.
        """
        layout = self._layouts[step]
        if layout.adapter is not None and not self.is_stored(step, name):
            columns, read_base = self.shape(name)[-1], self._base_reader(name)
            return merged_elements(layout.adapter, name, columns, start, stop, read_base)
        shard, what = layout.shards[layout.home[name]], f"tensor {name} of step {step}"
        stored = read_stored(shard, layout.entry(name), start, stop, out, what)
        self.prove_elements(step, name, start, raw_bytes(stored))
        return stored

    def read_rows(
        self,
        name: str,
        steps: Sequence[int],
        start: int,
        rows: Sequence[Tensor],
        active: ActiveColumns | None = None,
    ) -> None:
        """Read the same elements of a flattened tensor at several steps.

        Steps of a delta store are decompressed together, each from the one before.

        Args:
            name: The tensor.
            steps: The base, step 0, and others.
            start: Position of the first element.
            rows: As many memories as steps, contiguous and of its dtype, shape (c,) each.
            active: Told of all rows, of which `rows[0]` is its base.
        """
        if self.round_to is not None:
            self._read_rounded(name, steps, start, rows, TORCH_DTYPES[self.round_to])
            if active is not None:
                for row in rows[1:]:
                    active.add(row)
            return
        together = self._together(name, steps)
        for row, step in zip(rows, steps, strict=True):
            if step not in together:
                self.read_elements(step, name, start, row)
                if active is not None and not together and row is not rows[0]:
                    active.add(row)
        if not together or not rows[0].numel():
            return
        found = {step: row for row, step in zip(rows, steps, strict=True) if step in together}
        others = active is not None and [*found] == [*steps[1:]]
        changed = self._read_together(together, name, start, found, rows[0] if others else None)
        if active is not None and changed is not None:
            active.add_changes(changed)
        elif active is not None:
            for row in rows[1:]:
                active.add(row)

    def _read_together(
        self,
        together: Mapping[int, tuple[Shard, TensorEntry]],
        name: str,
        start: int,
        out: Mapping[int, Tensor],
        first: Tensor | None = None,
    ) -> np.ndarray | None:
        """Fill memory with elements of some versions of one store, as stored.

        Args:
            together: Of `_together`.
            name: The tensor.
            start: First element.
            out: Memory for each of these steps, contiguous and of the stored dtype.
            first: As for `Versions.read_together`, whose result is returned.
        """
        shard, entry = next(iter(together.values()))
        # A stretch of a run counts its steps anew, a store does not.
        data = {together[step][0].step: raw_bytes(values) for step, values in out.items()}
        begin, changed = entry.begin + start * ITEM_BYTES[entry.dtype], None
        if shard.store is not None:
            known = None if first is None else raw_bytes(first)
            changed = shard.store.read_together(shard.step, shard.path.name, begin, data, known)
        for step, values in out.items():
            self.prove_elements(step, name, start, raw_bytes(values))
        return changed

    def _read_rounded(
        self,
        name: str,
        steps: Sequence[int],
        start: int,
        rows: Sequence[Tensor],
        dtype: torch.dtype,
    ) -> None:
        """Read the base once and a store's steps together, as stored, and round to `dtype`."""
        together = self._together(name, steps)
        for low in range(0, len(rows[0]), _ROUNDED_ELEMENTS):
            high = min(low + _ROUNDED_ELEMENTS, len(rows[0]))
            span = start + low, start + high
            base = self._base_reader(name)(*span)
            stored = {
                step: torch.empty(high - low, dtype=TORCH_DTYPES[entry.dtype])
                for step, (_, entry) in together.items()
            }
            if stored:
                self._read_together(together, name, span[0], stored)
            for row, step in zip(rows, steps, strict=True):
                if step == 0:
                    row[low:high] = base
                    continue
                values = stored[step] if step in stored else self._stored(step, name, *span)
                same = self.is_stored(step, name) and values.dtype == dtype
                row[low:high] = values if same else beside_rounded(values, base, dtype)

    def _together(self, name: str, steps: Sequence[int]) -> dict[int, tuple[Shard, TensorEntry]]:
        """Return the steps that are versions of one store, with the tensor's file and place."""
        found: dict[int, tuple[Shard, TensorEntry]] = {}
        for step in steps:
            layout = self._layouts[step]
            shard, entry = layout.shards[layout.home[name]], layout.entry(name)
            read = self.dtypes[name] if self.round_to is None else entry.dtype
            if shard.store is not None and entry.dtype == read:
                found[step] = shard, entry
        places = {(id(shard.store), shard.path.name, entry) for shard, entry in found.values()}
        return found if len(places) == 1 else {}

    def reading_bytes(self, steps: Iterable[int]) -> int:
        """Return the memory that reading a tensor at some steps takes beside its values."""
        stores: dict[int, tuple[Versions, list[int]]] = {}
        for step in steps:
            for shard in islice(self._layouts[step].shards.values(), 1):
                if shard.store is not None:
                    stores.setdefault(id(shard.store), (shard.store, []))[1].append(shard.step)
        return sum(store.reading_bytes(versions) for store, versions in stores.values())

    def _as_read(self, step: int, name: str, start: int, values: Tensor) -> Tensor:
        if self.round_to is None or step == 0:
            return values
        base = self._base_reader(name)(start, start + values.numel())
        return beside_rounded(values, base, TORCH_DTYPES[self.round_to])

    def prove_elements(self, step: int, name: str, start: int, data: memoryview) -> None:
        """Hash elements as they are used; see `verify`.

        Args:
            step: The step; 0 is the base.
            name: The tensor.
            start: Position of the first element.
            data: The bytes used, as stored.

        Raises:
            UserError: They complete the tensor and it differs from its hash.
        """
        layout = self._layouts[step]  # an adapter's layout is the base's plus its changes
        entry = layout.entry(name)
        shard = layout.shards[layout.home[name]]
        self._proofs.feed(shard, name, entry, start * ITEM_BYTES[entry.dtype], data)

    def computed_update(self, step: int, name: str, start: int, stop: int) -> Tensor | None:
        """Return what an adapter adds to a tensor's elements, free of the merged weight's rounding.

        Returns:
            Shape (stop - start,), float32; None unless `computes`.
        """
        adapter = self._layouts[step].adapter
        if adapter is None or not self.computes(step, name):
            return None
        columns, read_base = self.shape(name)[-1], self._base_reader(name)
        return update_elements(adapter, name, columns, start, stop, read_base)

    def is_stored(self, step: int, name: str) -> bool:
        """Return whether a file has a tensor's values; an adapter changes the base's on reading."""
        adapter = self._layouts[step].adapter
        return adapter is None or name not in adapter.changes

    def computes(self, step: int, name: str) -> bool:
        """Return whether an update comes from an adapter, free of any rounding of the weights."""
        return self.round_to is None and not self.is_stored(step, name)

    def _base_reader(self, name: str) -> Callable[[int, int], Tensor]:
        base = self._layouts[0]
        shard, entry = base.shards[base.home[name]], base.entry(name)

        def read(start: int, stop: int) -> Tensor:
            stored = read_stored(shard, entry, start, stop)
            self.prove_elements(0, name, start, raw_bytes(stored))
            return stored

        return read
