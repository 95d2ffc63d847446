"""The updates of one tensor over all steps, W_t - W_0, within a memory budget.

Legend: T steps, d elements of one tensor.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.errors import UserError

DEFAULT_BUDGET_BYTES = 1 << 30
_FLOAT32_BYTES = 4


def finite_elements(trajectory: Trajectory, step: int, name: str, start: int, stop: int) -> Tensor:
    """Read elements `start` to `stop` of a flattened tensor and insist that they are numbers.

    Raises:
        UserError: A weight is NaN or infinite; names the tensor and the step.
    """
    values = trajectory.elements(step, name, start, stop)
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        first = int(torch.nonzero(~finite)[0])
        raise UserError(
            f"NaN or Inf in the weights: tensor {name}, "
            + (f"step {step}" if step else "the base (step 0)")
            + f", element {start + first} is {float(values[first])}",
            where=str(trajectory.folder(step)),
            way_out="training broke at or before this step: leave this and later steps out, or "
            "save the checkpoint again",
        )
    return values


class Differences:
    """The T x d stack of updates of one tensor, in columns that fit a budget.

    When the whole stack fits, the files are read once and later passes use the copy in memory;
    otherwise every pass reads the files again.

    Args:
        trajectory: Where to read.
        name: The tensor.
        budget_bytes: Upper bound for the stack in memory (float32, T x d).
    """

    def __init__(
        self, trajectory: Trajectory, name: str, budget_bytes: int = DEFAULT_BUDGET_BYTES
    ) -> None:
        """Remember what to read; nothing is read yet."""
        self.trajectory, self.name = trajectory, name
        self.T, self.d = len(trajectory.steps), trajectory.numel(name)
        # One row more than T: the base is held beside the stack while it is subtracted.
        columns = budget_bytes // (_FLOAT32_BYTES * (self.T + 1))
        self.columns = max(1, min(self.d, columns))
        self._whole: Tensor | None = None

    @property
    def fits(self) -> bool:
        """Whether the whole stack fits the budget."""
        return self.columns >= self.d

    def chunks(self) -> Iterator[tuple[int, int, Tensor]]:
        """Yield (start, stop, updates) with updates of shape (T, stop - start), float32.

        Raises:
            UserError: A weight is NaN or infinite; names the tensor and the step.
        """
        if self._whole is not None:
            yield 0, self.d, self._whole
            return
        for index in range(math.ceil(self.d / self.columns)):
            start = index * self.columns
            stop = min(self.d, start + self.columns)
            chunk = self._read(start, stop)
            if self.fits:
                self._whole = chunk
            yield start, stop, chunk

    def row(self, index: int) -> Tensor:
        """Return the update of the step at a position, shape (d,), float32."""
        if self._whole is not None:
            return self._whole[index]
        step = self.trajectory.steps[index]
        base = finite_elements(self.trajectory, 0, self.name, 0, self.d).float()
        return finite_elements(self.trajectory, step, self.name, 0, self.d).float().sub_(base)

    def _read(self, start: int, stop: int) -> Tensor:
        base = finite_elements(self.trajectory, 0, self.name, start, stop).float()
        stack = torch.empty(self.T, stop - start)
        for row, step in zip(stack, self.trajectory.steps, strict=True):
            torch.sub(
                finite_elements(self.trajectory, step, self.name, start, stop).float(),
                base,
                out=row,
            )
        return stack
