"""What one training process does for a jump, called by name from the trainer's process."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlvr_dynamics.acceleration.sketch import Sketch
from rlvr_dynamics.checkpoints.names import is_norm
from rlvr_dynamics.checkpoints.structure import Structure
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.extrapolation.parameters import complete_parameters
from rlvr_dynamics.training.anchored import Anchored
from rlvr_dynamics.training.jump_plan import ANCHOR, JumpPlan
from rlvr_dynamics.training.optimizer_state import reset
from rlvr_dynamics.training.predicted_shards import Prediction
from rlvr_dynamics.training.shards import plain_name

PUBLISH_SECONDS = 1800.0
"""How long a step that verl has saved may take to be published, and its supervisor be at it."""


class JumpWorker:
    """The weights and the optimizer of one process.

    Args:
        plan: The run's.
        parameters: Function that returns names and parameters as they lie in memory now.
        optimizer: Function that returns the optimizer.
        rank: This process's number, for its files.
        world: Number of processes.
    """

    def __init__(
        self,
        plan: JumpPlan,
        parameters: Callable[[], Iterable[tuple[str, Tensor]]],
        optimizer: Callable[[], torch.optim.Optimizer],
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Take no copy of the weights yet: `hold` or `read_anchor` does."""
        self.plan, self._optimizer = plan, optimizer
        self._name, self._rank = ANCHOR.format(world=world, rank=rank), rank
        self.anchored = Anchored(parameters, moving(plan.acceleration.tensors, parameters()))
        self._sketch = Sketch(seed=plan.seed)

    def hold(self) -> None:
        """Make the present weights the anchor."""
        self.anchored.hold()

    def walked(self) -> float:
        """Return ‖W - A‖."""
        return self.anchored.walked()

    def sketched(self) -> np.ndarray:
        """Return the sketch of the weights, shape (size,)."""
        return self.anchored.sketched(self._sketch)

    def move(self, method: str, factor: float, before: float) -> tuple[float, bool]:
        """Move to a candidate; see `Anchored`.

        Args:
            method: anchor, random or none.
            factor: f.
            before: Factor of the candidate that stands; 1 for none.

        Returns:
            ‖C - W‖, and whether all of C is finite.
        """
        if method == "none":
            moved = self.anchored.stay()
        elif before > 1.0:
            moved = self.anchored.further(before, factor)
        elif method == "random":
            moved = self.anchored.at_random(factor, self.plan.seed)
        else:
            moved = self.anchored.along_anchor(factor)
        return moved.length, moved.finite

    def predict(
        self, base: str, first: int, last: int, target: int, accuracy: Mapping[int, float]
    ) -> tuple[float, bool, list[str]]:
        """Move to what the plan's extrapolator predicts from the run's own checkpoints.

        Args:
            base: Folder of the base.
            first: First step of the window.
            last: Last step, the present one.
            target: The step to predict.
            accuracy: Accuracy by step.

        Returns:
            As of `move`, and the method's remarks.

        Raises:
            UserError: The window is too short for the method, or checkpoints are damaged.
        """
        method = EXTRAPOLATORS[self.plan.acceleration.method]
        settings = complete_parameters(method.name, method.parameters, parameters_of(self.plan))
        steps = tuple(range(first, last + 1))
        used = method.used_steps(steps, settings)
        _wait_for(self.plan.checkpoints / f"step_{used[-1]}")
        prediction = Prediction(
            method,
            Trajectory.open(base, self.plan.checkpoints, steps=used),
            target,
            settings,
            method.known_accuracy(accuracy, used, settings),
        )
        prediction.prepare(self.anchored.shards())
        moved = self.anchored.take(prediction.candidate)
        return moved.length, moved.finite, sorted(set(prediction.remarks))

    def exchange(self) -> None:
        """Put the weights before all candidates back and hold the candidate, or the reverse."""
        self.anchored.exchange()

    def keep(self) -> None:
        """Write the candidate that stands to disk, before the next one is tried."""
        self.anchored.keep(self._kept)

    def come_back(self) -> None:
        """Put the kept candidate back, bit for bit."""
        self.anchored.come_back(self._kept)

    def forget_kept(self) -> None:
        """Remove the kept candidate."""
        self._kept.unlink(missing_ok=True)

    def restore(self) -> None:
        """Put the weights before all candidates back, bit for bit."""
        self.anchored.restore()

    def reset_optimizer(self) -> None:
        """Treat the optimizer's state as the plan says."""
        reset(self._optimizer(), self.plan.acceleration.optimizer)

    def write_anchor(self, folder: str) -> None:
        """Save this process's part of the anchor beside verl's state."""
        self.anchored.write_copy(Path(folder) / self._name)

    def read_anchor(self, folder: str) -> None:
        """Take the anchor of a saved state.

        Raises:
            UserError: It is missing, damaged, or of another number of devices.
        """
        self.anchored.read_copy(Path(folder) / self._name)

    @property
    def _kept(self) -> Path:
        return self.plan.records / f"kept_{self._rank}.safetensors"


def moving(tensors: str, parameters: Iterable[tuple[str, Tensor]]) -> Callable[[str], bool]:
    """Return which parameters a plan moves, by name."""
    if tensors == "all":
        return lambda name: True
    if tensors == "not_norms":
        return lambda name: not is_norm(name)
    structure = Structure({plain_name(name): tuple(each.shape) for name, each in parameters})
    return lambda name: structure.kind(name) == "matrix"


def parameters_of(plan: JumpPlan) -> dict[str, Any]:
    """Return the extrapolator's settings, with the clock of the plan where it has one."""
    chosen = plan.acceleration
    clock = {"clock": "path"} if chosen.clock == "path" else {}
    return {**chosen.parameters, **clock}


def _wait_for(published: Path) -> None:
    """Wait for a step that another process publishes while this one trains.

    Raises:
        UserError: It does not appear.
    """
    end = time.monotonic() + PUBLISH_SECONDS
    while not published.is_dir():
        if time.monotonic() > end:
            raise UserError(
                f"the step was not published within {PUBLISH_SECONDS:.0f} s",
                where=str(published),
                way_out="run the same command again: training goes on from the last saved state",
            )
        time.sleep(0.1)
