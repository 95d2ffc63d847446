"""Where the sketches of a run's steps come from: the run writes them, or its checkpoints are read.

A run that jumps on the path clock leaves a sketch of every step beside its records. Any other run
has only its published checkpoints, of which each is read once.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlvr_dynamics.acceleration.sketch import Sketch
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.training.jump_records import JumpRecords

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.trajectory import Trajectory

Mark = tuple[int, int]
"""Inode and time of change, which differ where something was written anew."""


class RunSketches:
    """The sketches that a run writes while it trains, and removes at its end.

    Args:
        folder: The run's train/acceleration.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder."""
        self._records = JumpRecords(folder)

    def marks(self) -> dict[int, Mark]:
        """Return the steps that are there, ascending, the base as 0, with marks of their files."""
        return _marks(self._records.sketched())

    def read(self, steps: list[int]) -> Iterator[tuple[int, np.ndarray | str]]:
        """Yield steps with the sketch of their weights, shape (size,), or with what is wrong."""
        for step in steps:
            try:
                yield step, self._records.sketch(step)[0]
            except (OSError, ValueError) as error:
                yield step, str(error)


class CheckpointSketches:
    """Sketches of published checkpoints, folders or a delta store, tensor by tensor.

    Args:
        base: Folder of the base.
        checkpoints: Folder of the steps, perhaps not there yet.
        pattern: As `source.pattern`.
        sketch: The map.
    """

    def __init__(self, base: Path, checkpoints: Path, pattern: str | None, sketch: Sketch) -> None:
        """Name the folders."""
        self._base, self._checkpoints, self._pattern = base, checkpoints, pattern
        self._sketch = sketch

    def marks(self) -> dict[int, Mark]:
        """Return the steps that are there, ascending, the base as 0, with marks of their folders.

        Empty before the first step is published.
        """
        from rlvr_dynamics.checkpoints.steps import find_steps

        try:
            steps = find_steps(self._checkpoints, self._pattern)
        except (UserError, OSError):  # none yet, or one is just being replaced
            return {}
        return _marks({0: self._base, **{step: steps[step] for step in steps if step}})

    def read(self, steps: list[int]) -> Iterator[tuple[int, np.ndarray | str]]:
        """Yield steps with the sketch of their weights, shape (size,), or with what is wrong."""
        together: Trajectory | None = None
        # Where one of them is damaged or gone, each is opened alone, and that one is left out.
        with suppress(UserError, OSError):
            together = self._open(steps)
        for step in steps:
            try:
                yield step, self._sketched(together or self._alone(step), step)
            except (UserError, OSError) as error:
                yield step, str(error)

    def _open(self, steps: list[int]) -> "Trajectory":
        from rlvr_dynamics.checkpoints.trajectory import Trajectory

        later = [step for step in steps if step]
        return Trajectory.open(self._base, self._checkpoints, pattern=self._pattern, steps=later)

    def _alone(self, step: int) -> "Trajectory":
        """Open one step; the base is read in the dtype of the steps, so with the first whole one.

        Raises:
            UserError: It is damaged, or the base and every step are.
        """
        if step:
            return self._open([step])
        others = [other for other in self.marks() if other]
        for other in others[:-1]:
            with suppress(UserError, OSError):
                return self._open([other])
        return self._open(others[-1:])

    def _sketched(self, trajectory: "Trajectory", step: int) -> np.ndarray:
        return self._sketch.of(
            (name, start, values)
            for name in trajectory.names
            for start, values in trajectory.blocks(step, name)
        ).numpy()


def _marks(places: dict[int, Path]) -> dict[int, Mark]:
    found = {}
    for step, path in places.items():
        try:
            known = path.stat()
        except OSError:
            continue
        found[step] = (known.st_ino, known.st_mtime_ns)
    return found
