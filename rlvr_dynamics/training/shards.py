"""The parts of a model's parameters that one training process holds, and sums over all of them.

FSDP2 cuts a parameter into equal numbers of rows, so a process holds a contiguous range of the
flattened parameter. A plain tensor is held whole.

Legend: d elements of a parameter, c those of it that this process holds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.placement_types import Shard as Sharded

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put into a parameter's name."""


def plain_name(wrapped: str) -> str:
    """Return a parameter's name as in a checkpoint."""
    for wrapper in WRAPPERS:
        wrapped = wrapped.replace(wrapper, "")
    return wrapped


@dataclass(frozen=True)
class Shard:
    """The elements of one parameter that this process holds.

    Attributes:
        name: The parameter's name, as in a checkpoint.
        start: Index of the first in the flattened parameter.
        values: The elements themselves, shape (c,): writing to them changes the parameter.
    """

    name: str
    start: int
    values: Tensor

    @property
    def span(self) -> tuple[int, int]:
        """First element and one past the last."""
        return self.start, self.start + self.values.numel()


class Shards:
    """All parameters of a model as this process holds them.

    Args:
        parameters: Names and parameters, plain tensors or DTensors.
    """

    def __init__(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        """Find every parameter's elements; nothing is copied.

        Raises:
            ValueError: A parameter is sharded otherwise than by rows over one dimension of a mesh.
        """
        self._shards: list[Shard] = []
        self.sizes: dict[str, int] = {}
        self._group: Any = None
        self._device = torch.device("cpu")
        for wrapped, parameter in parameters:
            name = plain_name(wrapped)
            self.sizes[name] = parameter.numel()
            self._shards.append(self._own(name, parameter))

    def __iter__(self) -> Iterator[Shard]:
        """Yield this process's part of every parameter, also the empty ones, in a fixed order."""
        return iter(self._shards)

    @property
    def members(self) -> int:
        """Processes that hold one whole model together."""
        return 1 if self._group is None else dist.get_world_size(self._group)

    @property
    def place(self) -> int:
        """This process's place among them."""
        return 0 if self._group is None else dist.get_rank(self._group)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of every process's float64 values, the same in all of them."""
        given = np.asarray(values, dtype=np.float64)
        if self._group is None:
            return given
        summed = torch.from_numpy(given.copy()).to(self._device)
        dist.all_reduce(summed, group=self._group)
        return summed.cpu().numpy()

    def gathered(self, value: Any) -> list[Any]:
        """Return every process's value, by place; for small ones."""
        if self._group is None:
            return [value]
        found: list[Any] = [None] * self.members
        dist.all_gather_object(found, value, group=self._group)
        return found

    def _own(self, name: str, parameter: Tensor) -> Shard:
        if not isinstance(parameter, DTensor):
            return Shard(name, 0, parameter.detach().view(-1))
        local, mesh = parameter.to_local().detach(), parameter.device_mesh
        cut = [at for at, how in enumerate(parameter.placements) if not how.is_replicate()]
        if not cut:
            return Shard(name, 0, local.view(-1))
        how = parameter.placements[cut[0]]
        if len(cut) > 1 or not isinstance(how, Sharded) or how.dim != 0:
            raise ValueError(f"{name} is sharded as {parameter.placements}, not by rows")
        group = mesh.get_group(cut[0])
        if self._group is None:
            self._group, self._device = group, torch.device(mesh.device_type)
        rows, members = parameter.shape[0], dist.get_world_size(group)
        each = -(-rows // members)
        first = min(rows, each * dist.get_rank(group))
        if len(local) != min(rows, first + each) - first:
            raise ValueError(f"{name} is cut into uneven rows: {len(local)} of {rows} here")
        return Shard(name, first * (parameter.numel() // max(1, rows)), local.view(-1))
