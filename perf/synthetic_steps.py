"""A synthetic run of any size, of which any step is computed alone.

Every float32 master weight is base + drift + walk: the drift a rank-one direction in every matrix,
the walk a sum of a few random walks with a coefficient of its own for each weight. Both are so
small that most weights keep their bits when they are rounded to bf16. All normal numbers are slices
of one tile, so that a step of a billion weights takes seconds and the memory of a block.

Legend: m x n a weight matrix, K walks.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perf.models import DRIFT, WALK, WEIGHT_SCALE, Size, header_of
from rlvr_dynamics.checkpoints.stored_values import raw_bytes, write_at
from rlvr_dynamics.system.atomic import atomic_folder

_TILE = 1 << 21
_BLOCK = 1 << 20
_WALKS = 3
_SAMPLE = 1 << 8
_PACE_STEPS = 20  # steps in which `DRIFT` and `WALK` are reached at a pace of 1


def size_of(parameters: int) -> Size:
    """Return widths of a Qwen2-like model with about so many weights."""
    hidden = 64 * max(1, round(32 * (parameters / 1e9) ** (1 / 3)))
    layer = 10.5 * hidden**2
    return Size(
        vocabulary=16 * hidden,
        hidden=hidden,
        layers=max(1, round((parameters - 16 * hidden**2) / layer)),
        key_value=hidden // 8,
        intermediate=hidden * 11 // 4,
    )


@dataclass(frozen=True)
class Steps:
    """A base, step 0, and the steps after it.

    Attributes:
        size: Widths of the model.
        steps: Number of the last step.
        share: Mean share of the weights that change in a step.
        seed: Seed of all draws.
    """

    size: Size
    steps: int
    share: float
    seed: int

    @cached_property
    def _tile(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(_TILE + _BLOCK, generator=generator)

    @cached_property
    def _walks(self) -> np.ndarray:
        """Return the walks at every step, of unit increments together, shape (steps + 1, K)."""
        moves = np.random.default_rng(self.seed).standard_normal((self.steps + 1, _WALKS))
        moves[0] = 0.0
        return moves.cumsum(axis=0) / math.sqrt(_WALKS)

    @cached_property
    def _pace(self) -> float:
        """Return the factor of all updates at which the wanted share of a sample changes."""
        low, high = 0.0, 64.0
        for _ in range(14):
            pace = (low + high) / 2
            low, high = (pace, high) if self._sampled_share(pace) < self.share else (low, pace)
        return (low + high) / 2

    def _sampled_share(self, pace: float) -> float:
        seen = min(self.steps, 50)
        made = [self._block(0, 0, (_SAMPLE, _SAMPLE), step, pace) for step in range(seen + 1)]
        pairs = zip(made[:-1], made[1:], strict=True)
        return sum(float((one != two).float().mean()) for one, two in pairs) / seen

    def write(self, step: int, folder: Path) -> None:
        """Publish the checkpoint of a step; 0 is the base."""
        header, places = header_of(self.size.shapes)
        with atomic_folder(folder) as temporary:
            config = {"model_type": "qwen2", "tie_word_embeddings": True}
            (temporary / "config.json").write_text(json.dumps(config))
            with (temporary / "model.safetensors").open("wb", buffering=0) as file:
                file.write(header)
                for index, (name, shape) in enumerate(self.size.shapes.items()):
                    place = len(header) + places[name]
                    for values in self._blocks(index, name, shape, step):
                        write_at(file.fileno(), raw_bytes(values), place)
                        place += 2 * values.numel()

    def _blocks(self, index: int, name: str, shape: tuple[int, ...], step: int) -> Iterator[Tensor]:
        """Yield a tensor in bf16, flattened, some rows at a time."""
        m, n = shape if len(shape) == 2 else (1, math.prod(shape))
        rows = max(1, _BLOCK // n)
        for low in range(0, m, rows):
            values = self._block(index, low, (min(rows, m - low), n), step, self._pace)
            yield (1.0 + values.float()).bfloat16() if name.endswith("norm.weight") else values

    def _block(
        self, index: int, low: int, shape: tuple[int, int], step: int, pace: float
    ) -> Tensor:
        """Return rows of a matrix in bf16, flattened: rows `low` to `low + shape[0]`."""
        rows, n = shape
        places = np.random.default_rng([self.seed, index]).integers(0, _TILE - _BLOCK, 2).tolist()
        own = np.random.default_rng([self.seed, index, low]).integers(0, _TILE, 1 + _WALKS).tolist()
        base, *walks = (self._tile[place : place + rows * n] for place in own)
        latent = base.mul(WEIGHT_SCALE).bfloat16().float()  # training starts from what is stored
        left = self._tile[places[0] + low : places[0] + low + rows]
        right = self._tile[places[1] : places[1] + n]
        drift = pace * DRIFT / _PACE_STEPS * step
        latent.view(rows, n).addmm_(left[:, None], right[None], alpha=drift)
        scale = pace * WALK / math.sqrt(_PACE_STEPS)
        for walk, length in zip(walks, self._walks[step].tolist(), strict=True):
            latent.add_(walk, alpha=scale * length)
        return latent.bfloat16()
