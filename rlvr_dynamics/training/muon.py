"""Muon in float32.

torch's own multiplies in bfloat16, which took a CPU without AVX-512 two thirds of a training step.

Source: K. Jordan et al., Muon (2024), with the defaults of `torch.optim.Muon`.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

A, B, C = 3.4445, -4.775, 2.0315
ITERATIONS = 5
SMALLEST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose step has singular values near 1.

    Args:
        parameters: Matrices, float32.
        lr: Learning rate; times sqrt(rows / columns) where there are more rows.
        momentum: Decay of the gradients' average.
        weight_decay: Decoupled, times lr.
    """

    def __init__(
        self, parameters: Iterable[Tensor], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        """Begin without an average."""
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every parameter that has a gradient; equal shapes are worked on together."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1.0 - group["momentum"])
                update = parameter.grad.lerp(average, group["momentum"])
                wide = update if len(update) <= update.shape[1] else update.mT
                alike[wide.shape].append((parameter, wide))
            for pairs in alike.values():
                moves = orthogonalized(torch.stack([wide for _, wide in pairs]))
                for (parameter, _), move in zip(pairs, moves, strict=True):
                    rows, columns = parameter.shape
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                    scale = max(1.0, rows / columns) ** 0.5
                    parameter.add_(move if rows <= columns else move.mT, alpha=-group["lr"] * scale)


def orthogonalized(matrices: Float32[Tensor, "n r c"]) -> Float32[Tensor, "n r c"]:
    """Return each matrix with its singular values moved towards 1, to between 0.5 and 1.5.

    Args:
        matrices: Shape (n, r, c), r at most c.
    """
    norms = torch.linalg.matrix_norm(matrices, keepdim=True)
    found = matrices / norms.clamp(min=SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = found @ found.mT
        found = torch.baddbmm(
            found, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), found, beta=A
        )
    return found
