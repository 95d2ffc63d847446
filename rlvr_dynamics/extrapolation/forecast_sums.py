"""Sums over a tensor from which the errors of its forecast follow.

Legend: c elements of a piece.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.names import module_of

if TYPE_CHECKING:
    from torch import Tensor

    from rlvr_dynamics.checkpoints.trajectory import Trajectory


@dataclass
class ForecastSums:
    """How far a predicted tensor is from the real one, piece by piece.

    Elements that are the same in all four weights add nothing and need not be given.
    """

    sse: float = 0.0
    hold: float = 0.0
    product: float = 0.0
    size: float = 0.0
    true_size: float = 0.0

    def add(self, base: "Tensor", held: "Tensor", true: "Tensor", guess: "Tensor") -> None:
        """Add a piece; all have the shape (c,) and are float64.

        Args:
            base: The base.
            held: The last observed step.
            true: The real checkpoint of the predicted step.
            guess: The prediction, as stored.
        """
        self.sse += float((guess - true).square().sum())
        self.hold += float((held - true).square().sum())
        guess, true = guess - base, true - base
        self.product += float(guess @ true)
        self.size += float(guess @ guess)
        self.true_size += float(true @ true)

    @property
    def finite(self) -> bool:
        """Whether all weights were."""
        return math.isfinite(self.sse + self.hold + self.size + self.true_size)

    def row(self, trajectory: "Trajectory", name: str) -> dict[str, Any]:
        """Return the columns of the table `forecast` that describe this tensor."""
        both = math.sqrt(self.size) * math.sqrt(self.true_size)
        return {
            "tensor": name,
            "module": module_of(name),
            "layer": trajectory.structure.layer(name),
            "sse": self.sse,
            "sse_hold": self.hold,
            "skill": 1.0 - self.sse / self.hold if self.hold > 0.0 else math.nan,
            "cosine": self.product / both if both > 0.0 else math.nan,
            "magnitude_ratio": (
                math.sqrt(self.size / self.true_size) if self.true_size > 0.0 else math.nan
            ),
            "dtype": trajectory.dtype_of(name),
        }
