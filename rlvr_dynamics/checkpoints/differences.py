"""The updates of one tensor over all steps, W_t - W_0, within a memory budget.

Files are read in blocks of columns, all steps of a block together, in the stored dtype. A block is
converted to float32 updates in pieces that fit the processor's cache, so each value is read once
from disk and once from memory; a tensor's stored values are kept when they fit the budget.

Legend: T steps, d elements of one tensor, c elements of a piece.
"""

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from queue import Queue

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.layout import ITEM_BYTES
from rlvr_dynamics.checkpoints.stored_values import TORCH_DTYPES, OpenFiles
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.dynamics import ActiveColumns, Changes, changes_of
from rlvr_dynamics.errors import UserError

DEFAULT_BUDGET_BYTES = 1 << 30
_BLOCK_BYTES = 32 << 20
_PIECE_BYTES = 2 << 20
_SMALLEST_PIECE = 8192
STORED_COLUMNS = 1 << 17
SHARE_OF_BLOCKS = 8  # a passing block takes at most this part of the budget


def finite_elements(trajectory: Trajectory, step: int, name: str, start: int, stop: int) -> Tensor:
    """Read elements `start` to `stop` of a flattened tensor and check that they are finite.

    Raises:
        UserError: A weight is NaN or infinite; names the tensor and the step.
    """
    values = trajectory.elements(step, name, start, stop)
    _refuse_non_finite(trajectory, step, name, start, values)
    return values


def _refuse_non_finite(
    trajectory: Trajectory, step: int, name: str, start: int, values: Tensor
) -> None:
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        first = int(torch.nonzero(~finite)[0])
        raise UserError(
            f"NaN or Inf in the weights: tensor {name}, "
            + (f"step {step}" if step else "the base (step 0)")
            + f", element {start + first} is {float(values[first])}",
            where=str(trajectory.folder(step)),
            way_out="training broke at or before this step: move this and later step folders away, "
            "or save the checkpoint again"
            + (
                "; or the weight is beyond float16's range: measure.round_to=bfloat16"
                if trajectory.round_to == "float16"
                else ""
            ),
        )


def updates_of(stored: Tensor) -> Tensor:
    """Return W_t - W_0, shape (T, c), float32, of stored base and steps, shape (T + 1, c)."""
    return stored[1:].to(torch.float32, copy=True).sub_(stored[0].float())


class Room:
    """Memory for stored values, reused from tensor to tensor, in large pages if possible.

    First touching fresh memory costs about as much as reading a file into it.
    """

    def __init__(self) -> None:
        """Allocate nothing yet."""
        self._memory: mmap.mmap | None = None

    def take(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Return uninitialised memory, shape (rows, columns); invalidates any earlier result."""
        size = max(1, rows * columns * dtype.itemsize)
        if self._memory is None or len(self._memory) < size:
            self._memory = mmap.mmap(-1, size)
            with suppress(AttributeError, OSError):
                self._memory.madvise(mmap.MADV_HUGEPAGE)
        values = torch.frombuffer(self._memory, dtype=dtype, count=rows * columns)
        return values.view(rows, columns)


def rooms_for(threads: int) -> "Queue[Room]":
    """Return a queue with one room for every thread."""
    rooms: Queue[Room] = Queue()
    for _ in range(threads):
        rooms.put(Room())
    return rooms


@dataclass(frozen=True)
class Piece:
    """A range of columns of a tensor's stack: elements `start` to `stop` of every checkpoint.

    Attributes:
        start: First element.
        stop: One past the last element.
        stored: Base and steps as stored, shape (T + 1, c).
        updates: W_t - W_0, shape (T, c), float32.
        base: W_0 of all elements, shape (stop - start,), as stored.
        columns: Positions in the piece of the columns of `stored` and `updates`, shape (c,), int64,
            ascending, where the others were never changed; None: all columns are there.
    """

    start: int
    stop: int
    stored: Tensor
    updates: Tensor
    base: Tensor
    columns: Tensor | None = None


class Differences:
    """The T x d stack of updates of one tensor, in pieces.

    Args:
        trajectory: Where to read.
        name: The tensor.
        budget_bytes: Upper bound for the stored values held in memory.
        device: Where the updates are formed, such as "cpu" or "cuda".
        on_read: Called with the number of bytes after every read from the files.
        room: Memory to reuse; from now on only this tensor may use it.
        span: Only these elements of the flattened tensor, first and one past the last; all if None.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        name: str,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        *,
        device: str = "cpu",
        on_read: Callable[[int], None] | None = None,
        room: Room | None = None,
        span: tuple[int, int] | None = None,
    ) -> None:
        """Store what to read; nothing is read yet."""
        self._room = room or Room()
        self.trajectory, self.name, self.device = trajectory, name, device
        self.T, self.d = len(trajectory.steps), trajectory.numel(name)
        self.dtype = TORCH_DTYPES[trajectory.dtype_of(name)]
        self._on_read, self._budget_bytes = on_read, budget_bytes
        self._first, self._last = span or (0, self.d)
        count = self._last - self._first
        column_bytes = (self.T + 1) * ITEM_BYTES[trajectory.dtype_of(name)]
        self.fits = column_bytes * count <= budget_bytes
        passing = min(_BLOCK_BYTES, budget_bytes // SHARE_OF_BLOCKS)
        self._block = max(1, count if self.fits else passing // column_bytes)
        fitting = _PIECE_BYTES // (4 * max(1, self.T))
        self._piece = max(1, fitting // _SMALLEST_PIECE) * _SMALLEST_PIECE
        if device != "cpu":
            self._piece = max(1, _BLOCK_BYTES // (4 * max(1, self.T)))
        self._whole: Tensor | None = None

    def within(self, span: tuple[int, int]) -> "Differences":
        """Return a part of the tensor, read into the same memory."""
        return Differences(
            self.trajectory,
            self.name,
            self._budget_bytes,
            device=self.device,
            on_read=self._on_read,
            room=self._room,
            span=span,
        )

    def at(self, steps: Iterable[int]) -> "Differences":
        """Return the same tensor at some of the steps, read into the same memory."""
        return Differences(
            self.trajectory.only(steps),
            self.name,
            self._budget_bytes,
            device=self.device,
            room=self._room,
        )

    def pieces(self) -> Iterator[Piece]:
        """Yield the stack in ascending order of elements.

        The caller may keep the updates; the next piece may overwrite the stored values.

        Raises:
            UserError: A weight is NaN or infinite; names the tensor and the step.
        """
        for start, stored in self.stored_pieces(self._piece):
            yield self._piece_of(start, stored)

    def active_pieces(self) -> Iterator[Piece]:
        """Yield the stack in ascending order, without the columns that no step changed.

        On a GPU, and where an adapter's update is free of the stored weights' rounding, all columns
        are there.

        Raises:
            UserError: A weight is NaN or infinite; names the tensor and the step.
        """
        if self.device != "cpu" or any(
            self.trajectory.computes(step, self.name) for step in self.trajectory.steps
        ):
            yield from self.pieces()
            return
        for start, rows in self.stored_pieces(self._cached_columns):
            changes = changes_of(rows.unbind())
            if changes.columns is None:
                for low in range(0, rows.shape[1], self._piece):
                    yield self._piece_of(start + low, rows[:, low : low + self._piece])
                continue
            stored = torch.stack(tuple(changes.rows))
            updates = updates_of(stored)
            if not bool(torch.isfinite(changes.base.sum(dtype=torch.float32) + updates.sum())):
                self.name_non_finite()
            stop = start + rows.shape[1]
            yield Piece(start, stop, stored, updates, changes.base, changes.columns)

    def _piece_of(self, start: int, stored: Tensor) -> Piece:
        """Form the updates of all columns of a piece and check them."""
        updates = updates_of(stored)
        self.refuse_non_finite(start, stored, updates)
        for step, row in zip(self.trajectory.steps, updates, strict=True):
            self._read_exactly(step, start, row)
        return Piece(start, start + stored.shape[1], stored, updates, stored[0])

    def stored_pieces(self, columns: int = STORED_COLUMNS) -> Iterator[tuple[int, Tensor]]:
        """Yield (start, base and steps as stored, shape (T + 1, c)), without any check.

        Args:
            columns: Largest c.
        """
        for start, stored in self._blocks():
            for low in range(0, stored.shape[1], columns):
                yield start + low, stored[:, low : low + columns].to(self.device)

    def rows(self) -> Iterator[tuple[int, Sequence[Tensor]]]:
        """Yield (start, rows): base and steps as stored, T + 1 tensors of shape (c,) on the CPU.

        They are in memory that the next piece overwrites.

        Raises:
            UserError: A file was truncated while it was read.
        """
        if self._whole is not None:
            for start, stored in self.stored_pieces():
                yield start, stored.cpu().unbind()
            return
        for start, stored in self._read(self._cached_columns):
            yield start, stored.unbind()

    def changes(self) -> Iterator[tuple[int, Changes]]:
        """Yield (start, what the steps changed in a piece), on the CPU; see `rows`.

        The base, and the rows of a piece that changed as a whole, are overwritten by the next.

        Raises:
            UserError: A file was truncated while it was read.
        """
        if self._whole is not None:
            for start, rows in self.rows():
                yield start, changes_of(rows)
            return
        found: list[ActiveColumns] = []
        for start, stored in self._read(self._cached_columns, found):
            yield start, found.pop().of(stored.unbind())

    @property
    def _cached_columns(self) -> int:
        """Columns of a block whose rows stay in the cache until the next has been read.

        They do not depend on the budget, so that sums do so by their rounding alone.
        """
        column_bytes = (self.T + 1) * self.dtype.itemsize
        return max(1, min(STORED_COLUMNS, _BLOCK_BYTES // column_bytes))

    def _read_exactly(self, step: int, start: int, update: Tensor) -> None:
        """Replace the rounded update of a merged weight with the adapter's own, unrounded one."""
        exact = self.trajectory.computed_update(step, self.name, start, start + update.numel())
        if exact is not None:
            update.copy_(exact)

    def refuse_non_finite(self, start: int, stored: Iterable[Tensor], outcome: Tensor) -> None:
        """Raise if a result computed from stored values is not finite.

        NaN and Inf survive a sum, and a sum is cheap; the culprit is searched for only then.

        Args:
            start: First element of the piece.
            stored: Base and steps, T + 1 rows of shape (c,).
            outcome: Any sums of them.

        Raises:
            UserError: A weight is NaN or infinite; names the tensor and the step.
        """
        if bool(torch.isfinite(outcome.sum())):
            return
        for row, step in zip(stored, (0, *self.trajectory.steps), strict=True):
            _refuse_non_finite(self.trajectory, step, self.name, start, row.cpu())

    def name_non_finite(self) -> None:
        """Raise if a weight is NaN or infinite, found by reading everything.

        Raises:
            UserError: Names the tensor and the step.
        """
        for _ in self.pieces():
            pass

    def chunks(self) -> Iterator[tuple[int, int, Tensor]]:
        """Yield (start, stop, updates) of every piece; see `pieces`."""
        for piece in self.pieces():
            yield piece.start, piece.stop, piece.updates

    def row(self, index: int) -> Tensor:
        """Return the update of the step at a position, shape (d,), float32, on the device.

        Raises:
            UserError: A weight is NaN or infinite; names the tensor and the step.
        """
        return self.part(index, 0, self.d)

    def part(self, index: int, start: int, stop: int) -> Tensor:
        """Return elements `start` to `stop` of a step's update, float32, on the device.

        They lie in the span. If the tensor does not fit the budget, only these elements are read.

        Raises:
            IndexError: There are fewer steps; -1 is the last one.
            UserError: A weight is NaN or infinite; names the tensor and the step.
        """
        index = range(self.T)[index]
        if self._whole is None and self.fits:
            for _ in self._blocks():
                pass
        if self._whole is not None:
            low, high = start - self._first, stop - self._first
            base, values = self._whole[0, low:high], self._whole[1 + index, low:high]
            update = values.to(self.device, torch.float32, copy=True).sub_(base.to(self.device))
            if bool(torch.isfinite(update.sum())):
                self._read_exactly(self.trajectory.steps[index], start, update)
                return update
        step = self.trajectory.steps[index]
        base = finite_elements(self.trajectory, 0, self.name, start, stop).to(self.device)
        values = finite_elements(self.trajectory, step, self.name, start, stop).to(self.device)
        update = values.float().sub_(base)
        self._read_exactly(step, start, update)
        return update

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield (start, stored values of shape (T + 1, c)) of every block."""
        if self._whole is not None:
            yield self._first, self._whole
            return
        for start, stored in self._read(self._block):
            if self.fits:
                self._whole = stored
            yield start, stored

    def _read(
        self, columns: int, active: list[ActiveColumns] | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Read all values, block by block, into memory that the next block overwrites.

        Args:
            columns: Of a block.
            active: Receives the active columns of every block, if they are to be found.
        """
        steps, count = (0, *self.trajectory.steps), self._last - self._first
        room = self._room.take(len(steps), min(columns, count), self.dtype)
        with closing(OpenFiles()) as files:
            for start in range(self._first, self._last, columns):
                stored = room[:, : min(columns, self._last - start)]
                rows, found = stored.unbind(), None
                if active is not None:
                    active.append(found := ActiveColumns(rows[0]))
                with files.used():
                    self.trajectory.read_rows(self.name, steps, start, rows, found)
                if self._on_read is not None:
                    self._on_read(stored.numel() * stored.element_size())
                yield start, stored
