"""The updates of one tensor that are decomposed, kept from the pass in which the tensor is read.

A tensor beyond the memory is read in pieces, and a decomposition needs a whole update. So the
columns that changed are kept, as stored, for as many steps as the memory allows. Steps beyond that
are read in a pass of their own, together, when the first of them is asked for. Of a tensor of many
matrices, of which one at a time is decomposed, one step may be too much to keep: then every part is
read by itself.

Legend: d elements of the tensor, P kept steps, n columns of a piece that any step changed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.differences import Differences, Piece, updates_of


@dataclass(frozen=True)
class _Columns:
    """What is kept of a piece.

    Attributes:
        start: Its first element in the tensor.
        base: W_0 of all its elements, as stored.
        places: Elements of the piece that changed, shape (n,), int32, ascending; None for all.
        rows: W_0 and W_t of the kept steps there, as stored, shape (P + 1, n).
    """

    start: int
    base: Tensor
    places: Tensor | None
    rows: Tensor

    @property
    def stop(self) -> int:
        return self.start + len(self.base)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept; the base of a piece that changed as a whole is its first row."""
        return self.rows.nbytes + (
            0 if self.places is None else self.places.nbytes + self.base.nbytes
        )

    def first(self, count: int) -> "_Columns":
        rows = self.rows[: 1 + count].clone()
        return replace(self, rows=rows, base=rows[0] if self.places is None else self.base)

    def piece(self, order: Sequence[int], device: str) -> Piece:
        """Return the piece, its rows in an order of which the first is the base."""
        stored = self.rows[list(order)].to(device)
        columns = None if self.places is None else self.places.long()
        return Piece(
            self.start, self.stop, stored, updates_of(stored), self.base.to(device), columns
        )

    def copy_base(self, start: int, out: Tensor) -> None:
        low, high = max(start, self.start), min(start + len(out), self.stop)
        out[low - start : high - start] = self.base[low - self.start : high - self.start]

    def copy_update(self, row: int, start: int, out: Tensor) -> None:
        low, high = max(start, self.start), min(start + len(out), self.stop)
        moved = updates_of(self.rows[[0, row]])[0]
        if self.places is None:
            out[low - start : high - start] = moved[low - self.start : high - self.start]
            return
        ends = torch.tensor([low - self.start, high - self.start], dtype=self.places.dtype)
        inside = slice(*torch.searchsorted(self.places, ends).tolist())
        out[self.places[inside].long() + (self.start - start)] = moved[inside]


class KeptUpdates:
    """Updates of one tensor at some steps, for which its files are read as seldom as possible.

    Args:
        differences: The tensor.
        steps: The steps whose updates will be asked for, in this order, ascending.
        budget_bytes: Memory for what is kept.
        others: Further steps, kept where there is memory for all of them too.
        whole: The tensor is one matrix: an update is held as a whole, and one step is kept in any
            case.
    """

    def __init__(
        self,
        differences: Differences,
        steps: Sequence[int],
        budget_bytes: int,
        others: Sequence[int] = (),
        *,
        whole: bool = True,
    ) -> None:
        """Keep nothing yet."""
        self._tensor, self._wanted, self._budget = differences, tuple(steps), budget_bytes
        trajectory, name = differences.trajectory, differences.name
        every = (*steps, *others)
        self._direct = differences.fits or any(trajectory.computes(step, name) for step in every)
        self._least = 1 if whole and steps else 0
        self._start(every)

    def add(self, piece: Piece, steps: Sequence[int]) -> None:
        """Keep what is wanted of a piece.

        Args:
            piece: The next one, on any device.
            steps: Those of its rows.
        """
        if self._direct or not self._steps:
            return
        rows = [0, *(1 + steps.index(step) for step in self._steps)]
        stored = piece.stored[rows].cpu()
        places = None if piece.columns is None else piece.columns.int()
        base = stored[0] if places is None else piece.base.clone()
        self._pieces.append(_Columns(piece.start, base, places, stored))
        self._bytes += self._pieces[-1].nbytes
        while self._bytes > self._budget and len(self._steps) > self._least:
            count = len(self._steps) * self._budget // self._bytes
            self._drop(min(count, len(self._steps) - 1, len(self._wanted)))

    def _drop(self, count: int) -> None:
        """Keep the first steps alone, at least those that are kept in any case."""
        self._steps = self._steps[: max(count, self._least)]
        self._direct = not self._steps
        self._pieces = [each.first(len(self._steps)) for each in self._pieces] * bool(self._steps)
        self._bytes = sum(each.nbytes for each in self._pieces)

    def pieces(self) -> Iterator[Piece] | None:
        """Return the pieces of `Differences.active_pieces`, if all of every step is kept."""
        tensor, every = self._tensor, self._tensor.trajectory.steps
        if not self._covers(0, tensor.d) or {*self._steps} != {*every}:
            return None
        order = [0, *(1 + self._steps.index(step) for step in every)]
        return (each.piece(order, tensor.device) for each in self._pieces)

    def update(self, step: int, start: int, stop: int) -> Tensor:
        """Return elements `start` to `stop` of W_t - W_0, float32, on the tensor's device.

        Raises:
            UserError: A weight is NaN or infinite; names the tensor and the step.
        """
        tensor = self._tensor
        if not self._direct and (step not in self._steps or not self._covers(start, stop)):
            self._read(step)
        if self._direct:
            return tensor.part(tensor.trajectory.steps.index(step), start, stop)
        out, row = torch.zeros(stop - start), 1 + self._steps.index(step)
        for each in self._pieces:
            if each.start < stop and start < each.stop:
                each.copy_update(row, start, out)
        return out.to(tensor.device)

    def base(self, start: int, stop: int) -> Tensor:
        """Return elements `start` to `stop` of W_0, float32, on the tensor's device."""
        tensor = self._tensor
        if self._direct or not self._covers(start, stop):
            values = tensor.trajectory.elements(0, tensor.name, start, stop)
            return values.float().to(tensor.device)
        out = torch.empty(stop - start)
        for each in self._pieces:
            if each.start < stop and start < each.stop:
                each.copy_base(start, out)
        return out.to(tensor.device)

    def _covers(self, start: int, stop: int) -> bool:
        return (
            bool(self._pieces) and self._pieces[0].start <= start and stop <= self._pieces[-1].stop
        )

    def _start(self, steps: Sequence[int]) -> None:
        self._steps, self._bytes = tuple(steps), 0
        self._pieces: list[_Columns] = []

    def _read(self, step: int) -> None:
        """Read a step and as many of those after it as were kept before."""
        left = self._wanted[self._wanted.index(step) :]
        self._start(left[: max(1, len(self._steps))] if self._pieces else left)
        tensor = self._tensor.at(self._steps)
        for piece in tensor.active_pieces():
            self.add(piece, tensor.trajectory.steps)
