"""The records of a run's jumps on disk: what was tried, what it cost, what came of it.

One file a firing, published before the weights go to the rollout engine. A resume from the state of
that step reads it and repeats the decision without asking again. Sketches of the weights lie beside
them while the run trains, for the path clock and the backtest.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from rlvr_dynamics.acceleration.gate import SURELY_WORSE
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import atomic_path, remove, write_sealed_json
from rlvr_dynamics.system.sealed import read_sealed_json

END = "end.json"
_RECORD = re.compile(r"step_(\d+)\.json")
_SKETCH = re.compile(r"sketch_(\d+)\.npy")


class JumpRecords:
    """The folder train/acceleration of a run.

    Args:
        folder: It may be missing.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read yet."""
        self.folder = folder

    def steps(self) -> list[int]:
        """Steps after which a jump was tried, ascending."""
        return self._numbers(_RECORD)

    def read(self, step: int) -> dict[str, Any] | None:
        """Return the record of a firing; None if there is none.

        Raises:
            UserError: It is damaged.
        """
        path = self.folder / f"step_{step}.json"
        if not path.is_file():
            return None
        try:
            return read_sealed_json(path)
        except (OSError, ValueError) as error:
            raise UserError(
                "the record of a jump is damaged",
                where=str(path),
                way_out="put it back from a copy, or choose another run_dir=...",
            ) from error

    def all(self) -> list[dict[str, Any]]:
        """Return all records in the order of their steps."""
        return [record for step in self.steps() if (record := self.read(step)) is not None]

    def write(self, record: dict[str, Any]) -> None:
        """Publish the record of a firing."""
        write_sealed_json(self.folder / f"step_{record['step']}.json", record)

    def accepted(self) -> list[int]:
        """Steps after which the weights jumped, ascending."""
        return [record["step"] for record in self.all() if record["accepted"]]

    def backs_off(self) -> bool:
        """Return whether this is one of the 2^(n - 1) firings after n rejections in a row."""
        rejections, since = 0, 0
        for record in self.all():
            asked = record["decision"] != "declined"
            since = 0 if asked else since + 1
            if asked and record["decision"] == "rejected":
                rejections += SURELY_WORSE if record["tried"][-1].get("worse") else 1
            elif asked:
                rejections = 0
        return rejections > 0 and since < 2 ** (rejections - 1)

    def jump_before(self, step: int) -> dict[str, Any] | None:
        """Return what a step's manifest says of the jump after the step before; None without one.

        Raises:
            UserError: The record is damaged.
        """
        record = self.read(step - 1)
        if record is None or not record["accepted"]:
            return None
        return {key: record[key] for key in ("step", "method", "factor", "target", "length")}

    def sketches(self, last: int) -> np.ndarray | None:
        """Return the sketches of all steps from the base to `last`; None if one is missing.

        Returns:
            Shape (last + 1, 2, size), float64: the weights that a step arrived at, and those from
            which the next one went on, which differ at a jump.
        """
        if not self.sketched().keys() >= set(range(last + 1)):
            return None
        return np.stack([self.sketch(step) for step in range(last + 1)])

    def sketched(self) -> dict[int, Path]:
        """Return the files of the sketches by step, ascending."""
        return {step: self._sketch_file(step) for step in self._numbers(_SKETCH)}

    def sketch(self, step: int) -> np.ndarray:
        """Return the two sketches of a step, shape (2, size), float64; see `sketches`."""
        return np.load(self._sketch_file(step), allow_pickle=False)

    def _sketch_file(self, step: int) -> Path:
        return self.folder / f"sketch_{step}.npy"

    def write_sketch(self, step: int, arrived: np.ndarray, left: np.ndarray | None = None) -> None:
        """Publish the sketches of a step; see `sketches`.

        Args:
            step: The step.
            arrived: Shape (size,).
            left: Shape (size,); None where the weights did not jump, or not yet.
        """
        sketch = np.stack([arrived, arrived if left is None else left])
        with (
            atomic_path(self._sketch_file(step)) as temporary,
            temporary.open("wb") as file,
        ):
            np.save(file, sketch, allow_pickle=False)

    def end(self) -> int | None:
        """Return the step at which the training was ended early; None if it was not."""
        path = self.folder / END
        try:
            return int(read_sealed_json(path)["step"]) if path.is_file() else None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"damaged record of the training's end ({type(error).__name__})",
                where=str(path),
                way_out="remove it, then run the same command again: the last state decides anew",
            ) from error

    def write_end(self, step: int) -> None:
        """Say that the training ends at a step."""
        write_sealed_json(self.folder / END, {"step": step})

    def forget_after(self, step: int) -> None:
        """Remove what was written of steps after the one from which training goes on."""
        for pattern, name in ((_RECORD, "step_{}.json"), (_SKETCH, "sketch_{}.npy")):
            for later in self._numbers(pattern):
                if later > step:
                    remove(self.folder / name.format(later))
        end = self.end()
        if end is not None and end > step:
            remove(self.folder / END)

    def clear_sketches(self) -> None:
        """Remove all sketches, when the training is done."""
        for step in self._numbers(_SKETCH):
            remove(self._sketch_file(step))

    def _numbers(self, pattern: re.Pattern[str]) -> list[int]:
        names = (path.name for path in self.folder.glob("*"))
        return sorted(int(found.group(1)) for name in names if (found := pattern.fullmatch(name)))
