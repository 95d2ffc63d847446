"""Moves the weights of one training process, with one float32 copy of its shard on the host.

Between two firings the copy holds the anchor A, the state at the firing before. A move writes a
candidate C into the parameters, piece by piece, while the copy takes the present weights W. So a
rejected candidate is undone bit for bit, and W is then the next anchor; after an accepted one the
copy takes C. Neither needs a second copy.

Source: the two-point form A + f (W - A) is arXiv 2601.04537's and, as a line search, that of
EffOPD (arXiv 2605.11739). Sums are formed in float64 and rounded once.

Legend: c elements of a parameter that this process holds.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rlvr_dynamics.acceleration.sketch import Sketch
from rlvr_dynamics.checkpoints.pieces import read_pieces, write_pieces
from rlvr_dynamics.training.shards import Shard, Shards

PIECE = 1 << 20  # elements moved at a time
_NOISE = 1 << 16  # elements of a random direction that are drawn together

Candidate = Callable[[Shard], Iterable[tuple[int, Tensor]]]
"""Yields (first element, counted within the shard, and values) of what a shard is to become."""


@dataclass(frozen=True)
class Moved:
    """What a move did, over all processes.

    Attributes:
        length: ‖C - W‖ over all parameters.
        finite: Whether all of C is.
    """

    length: float
    finite: bool


class Anchored:
    """A model's parameters in one process, and the copy beside them.

    Args:
        parameters: Function that returns names and parameters, plain tensors or DTensors; called
            for every operation, as offloading moves their storage.
        moves: Which parameters move, by name; the others stay as they are.
    """

    def __init__(
        self,
        parameters: Callable[[], Iterable[tuple[str, Tensor]]],
        moves: Callable[[str], bool] = lambda name: True,
    ) -> None:
        """Take no copy yet: `hold` or `load` does."""
        self._parameters, self._moves = parameters, moves
        self._copy: dict[str, Tensor] = {}

    @property
    def copy_bytes(self) -> int:
        """Bytes of the copy on the host."""
        return sum(each.numel() * each.element_size() for each in self._copy.values())

    def shards(self) -> Shards:
        """Return the parameters as they lie in memory now."""
        return Shards(self._parameters())

    def hold(self) -> None:
        """Make the present weights the anchor."""
        for shard in self.shards():
            if shard.name not in self._copy:
                self._copy[shard.name] = torch.empty(shard.values.numel(), dtype=torch.float32)
            self._copy[shard.name].copy_(shard.values)

    def walked(self) -> float:
        """Return ‖W - A‖ over all parameters that move."""
        shards = self.shards()
        squares = [self._square(shard) for shard in shards if self._moves(shard.name)]
        return math.sqrt(float(shards.total(np.array([sum(squares)]))[0]))

    def sketched(self, sketch: Sketch) -> np.ndarray:
        """Return the sketch of all parameters that move, shape (size,), float64."""
        shards = self.shards()
        parts = ((each.name, each.start, each.values) for each in shards if self._moves(each.name))
        return shards.total(sketch.of(parts).numpy())

    def along_anchor(self, factor: float) -> Moved:
        """Move to A + f (W - A).

        Args:
            factor: f; 1 is no move.
        """
        return self.take(lambda shard: self._line(shard, factor))

    def further(self, before: float, factor: float) -> Moved:
        """Move from the candidate of factor `before`, which stands, to that of another.

        The copy holds W, and the candidate's own change since W is stretched:
        W + (f - 1) / (f_before - 1) (C - W).
        """
        stretch = (factor - 1.0) / (before - 1.0)
        shards = self.shards()
        for shard in shards:
            if self._moves(shard.name):
                for low, copied, values in self._pieces(shard):
                    start = copied.to(values.device, torch.float64)
                    reached = start + stretch * (values.double() - start)
                    shard.values[low : low + len(values)] = reached.to(values.dtype)
        return self._measured(shards)

    def at_random(self, factor: float, seed: int) -> Moved:
        """Move every parameter by (f - 1) ‖W - A‖ in a random direction.

        The direction follows from the seed, the parameter's name and the element's index, so it is
        the same however the parameters are sharded.
        """
        shards = self.shards()
        moving = [shard for shard in shards if self._moves(shard.name)]
        squares = shards.total(
            np.array([[self._square(each), _noise_square(each, seed)] for each in moving])
        )
        lengths = {
            shard.name: (factor - 1.0) * math.sqrt(square / noise) if noise > 0.0 else 0.0
            for shard, (square, noise) in zip(moving, squares, strict=True)
        }

        def candidate(shard: Shard) -> Iterator[tuple[int, Tensor]]:
            for low, noise in _noise(shard, seed):
                now = shard.values[low : low + len(noise)].double()
                yield low, now + lengths[shard.name] * noise.to(now)

        return self.take(candidate)

    def stay(self) -> Moved:
        """Move nothing: the candidate is W."""
        return self.take(lambda shard: ())

    def take(self, candidate: Candidate) -> Moved:
        """Move to any candidate; the copy takes W.

        Args:
            candidate: Gives the values of every shard that moves, in ascending order; read while
                the shard and its copy still hold W and A from the yielded elements on. Elements
                that it leaves out stay.
        """
        shards = self.shards()
        for shard in shards:
            done = 0
            copied = self._copy[shard.name]
            for low, values in candidate(shard) if self._moves(shard.name) else ():
                high = low + len(values)
                copied[done:high].copy_(shard.values[done:high])
                shard.values[low:high] = values.to(shard.values)
                done = high
            copied[done:].copy_(shard.values[done:])
        return self._measured(shards)

    def restore(self) -> None:
        """Put W back, bit for bit; it is the next anchor."""
        for shard in self.shards():
            shard.values.copy_(self._copy[shard.name])

    def exchange(self) -> None:
        """Put W back and hold C in the copy, bit for bit, or the other way round."""
        for shard in self.shards():
            for low, copied, values in self._pieces(shard):
                candidate = values.clone()
                shard.values[low : low + len(values)] = copied.to(values)
                copied.copy_(candidate)

    def write_copy(self, path: Path) -> None:
        """Publish this process's part of the anchor."""
        write_pieces(path, self._copy)

    def read_copy(self, path: Path) -> None:
        """Take the anchor that `write_copy` has written.

        Raises:
            UserError: It is missing, damaged, or of other shards.
        """
        sizes = {shard.name: shard.values.numel() for shard in self.shards()}
        self._copy = {name: piece.float() for name, piece in read_pieces(path, sizes)}

    def keep(self, path: Path) -> None:
        """Write the candidate that stands to a file, to come back to it from the next one."""
        write_pieces(path, {each.name: each.values for each in self.shards()})

    def come_back(self, path: Path) -> None:
        """Put the candidate of `keep` back, bit for bit.

        Raises:
            UserError: It is missing, damaged, or of other shards.
        """
        shards = {each.name: each.values for each in self.shards()}
        sizes = {name: values.numel() for name, values in shards.items()}
        for name, piece in read_pieces(path, sizes):
            shards[name].copy_(piece)

    def _pieces(self, shard: Shard) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield (first element, copy, present values) of a shard in pieces."""
        copied = self._copy[shard.name]
        for low in range(0, shard.values.numel(), PIECE):
            yield low, copied[low : low + PIECE], shard.values[low : low + PIECE]

    def _line(self, shard: Shard, factor: float) -> Iterator[tuple[int, Tensor]]:
        for low, copied, values in self._pieces(shard):
            anchor = copied.to(values.device, torch.float64)
            yield low, anchor + factor * (values.double() - anchor)

    def _square(self, shard: Shard) -> float:
        """Return the squared distance of this process's elements from the copy."""
        return sum(
            float((values.double() - copied.to(values.device, torch.float64)).square().sum())
            for _, copied, values in self._pieces(shard)
        )

    def _measured(self, shards: Shards) -> Moved:
        square = sum(self._square(shard) for shard in shards)
        total = float(shards.total(np.array([square]))[0])
        return Moved(math.sqrt(total) if math.isfinite(total) else math.inf, math.isfinite(total))


def _noise(shard: Shard, seed: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (first element within the shard, standard normal values) of its random direction."""
    start, stop = shard.span
    key = [seed, zlib.crc32(shard.name.encode())]
    for block in range(start // _NOISE, -(-stop // _NOISE)):
        first = block * _NOISE
        drawn = np.random.default_rng([*key, block]).standard_normal(_NOISE)
        low, high = max(start, first), min(stop, first + _NOISE)
        yield low - start, torch.from_numpy(drawn[low - first : high - first])


def _noise_square(shard: Shard, seed: int) -> float:
    return sum(float(noise.square().sum()) for _, noise in _noise(shard, seed))
