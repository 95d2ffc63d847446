"""Short vectors that keep the inner products of weights: a sketch of every step, not a copy.

A tensor is cut into blocks of `size` neighbouring elements. Every element gets a random sign and
every block a random rotation, and the blocks of all tensors are added. Sign and rotation follow
from the seed, the tensor's name and the element's position in the whole tensor alone. So sketches
of shards add up to the sketch of the whole, however it was sharded, and the sketch is linear: the
sketch of W_t minus that of W_0 is the sketch of the change.

<S x, S y> is an unbiased estimate of <x, y>. Two elements of one block never meet, any others with
probability 1 / size, so its variance is at most (‖x‖² ‖y‖² + <x, y>²) / size.

Source: count sketch (Charikar, Chen and Farach-Colton 2002), with whole blocks rotated in place of
elements hashed one by one; variance as in Weinberger et al. 2009, arXiv 0902.2206, theorem 3.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

CHUNK = 1 << 16  # elements at a time: what fits a core's cache
WORD = 32  # signs drawn at once
_SIGN_BIT = -(1 << 31)


@dataclass(frozen=True)
class Sketch:
    """A random linear map from all weights of a model to one short vector.

    Attributes:
        size: Length of the sketch, a power of two, at least 32.
        seed: Sketches can be compared only if their seed and size are equal.
    """

    size: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a size that no block can have.

        Raises:
            ValueError: The size is no power of two, or below 32.
        """
        if self.size < WORD or self.size & (self.size - 1):
            raise ValueError(f"the size of a sketch is a power of two from {WORD}, not {self.size}")

    @property
    def relative_error(self) -> float:
        """Largest standard error of a squared length, as a share of it: sqrt(2 / size)."""
        return math.sqrt(2.0 / self.size)

    def of(self, tensors: Iterable[tuple[str, int, Tensor]]) -> Float64[Tensor, " size"]:
        """Return the sketch of some tensors, or of the parts of them that a process holds.

        Args:
            tensors: Name, position of the first element in the whole flattened tensor, and the
                contiguous elements from there on, shape (n,), float32 or narrower, on any device.

        Returns:
            Shape (size,), float64, on the CPU. Sums are formed in float64.

        Raises:
            ValueError: Elements are wider than float32, which the sketch would round.
        """
        total = torch.zeros(self.size, dtype=torch.float64)
        for name, start, values in tensors:
            if torch.finfo(values.dtype).bits > 32:
                raise ValueError(f"a sketch takes float32 or narrower, and {name} is wider")
            if total.device != values.device:
                total = total.to(values.device)
            self._add(total, name, start, values.detach())
        return total.cpu()

    def _add(
        self, total: Float64[Tensor, " size"], name: str, start: int, values: Float[Tensor, " n"]
    ) -> None:
        signs, rotations = _keys(self.seed, name)
        step = max(CHUNK, self.size)
        stop = start + len(values)
        columns = torch.arange(self.size, device=values.device)
        bits = torch.arange(WORD, dtype=torch.int32, device=values.device)
        for low in range(start - start % step, stop, step):
            first, end = max(low, start), min(low + step, stop)
            low = first - first % self.size
            blocks = -(-(end - low) // self.size)
            part = values[first - start : end - start].to(torch.float32)
            if len(part) < blocks * self.size:
                part = torch.nn.functional.pad(part, (first - low, low + blocks * self.size - end))
            words = _hashes(signs, low // WORD, blocks * self.size // WORD, columns.device)
            flips = (words.to(torch.int32)[:, None] << bits) & _SIGN_BIT
            signed = (part.view(torch.int32).view(-1, WORD) ^ flips).view(torch.float32)
            turns = _hashes(rotations, low // self.size, blocks, columns.device)
            places = (columns - turns[:, None]) & (self.size - 1)
            rotated = signed.view(blocks, self.size).gather(1, places)
            total += rotated.sum(0, dtype=torch.float64)


def _keys(seed: int, name: str) -> tuple[int, int]:
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return (
        int.from_bytes(digest[:8], "big", signed=True),
        int.from_bytes(digest[8:16], "big", signed=True),
    )


def _hashes(key: int, start: int, count: int, device: torch.device) -> Int[Tensor, " count"]:
    """Return 64 random bits for each of some positions (SplitMix64, Steele, Lea and Flood 2014)."""
    state = torch.arange(start, start + count, device=device) * _signed(0x9E3779B97F4A7C15) + key
    state = (state ^ _shifted(state, 30)) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ _shifted(state, 27)) * _signed(0x94D049BB133111EB)
    return state ^ _shifted(state, 31)


def _shifted(values: Int[Tensor, " n"], bits: int) -> Int[Tensor, " n"]:
    """Shift right as an unsigned number, which torch's integers are not."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def _signed(constant: int) -> int:
    return constant - (1 << 64)
