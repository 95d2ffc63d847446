"""The state of a run, read from its directory alone, again and again while it is written."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlvr_dynamics.acceleration.remaining import FEWEST, End, predicted_end
from rlvr_dynamics.acceleration.sketch import Sketch
from rlvr_dynamics.dynamics import even_spacing
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.configuration import read_config, whole_config
from rlvr_dynamics.run_directory.own_accuracy import SCORE, own_accuracy
from rlvr_dynamics.run_directory.progress import Progress, progress
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.run_directory.training import METRICS
from rlvr_dynamics.system.sealed import read_parquet
from rlvr_dynamics.training.jump_records import JumpRecords
from rlvr_dynamics.training.verl_metrics import STEP_SECONDS, GrowingMetrics
from rlvr_dynamics.watch.sketches import CheckpointSketches, RunSketches
from rlvr_dynamics.watch.weights import Weights, WeightsSoFar

if TYPE_CHECKING:
    import pandas as pd

    from rlvr_dynamics.measurement import AccuracySeries

LEVEL = 0.05
_RECENT = 10  # steps whose seconds say how long the others take
_TRIES, _PAUSE_SECONDS = 4, 0.2


@dataclass(frozen=True)
class Live:
    """What can be said of a run now.

    Attributes:
        name: The run's.
        progress: Its state and stage.
        trained: Whether its training is finished; True for checkpoints that others trained.
        step: The last step whose metrics are there; 0 before the first.
        steps: Steps of the training; 0 if the run does not train.
        seconds: Median seconds of a recent step; NaN if not known.
        rewards: Mean score of the rollouts by step.
        accuracy: Of the checkpoints; None if there is none.
        end: The forecast of the accuracy at the last step.
        end_source: The accuracies behind it, in words; why there is none, if there is none.
        weights: The weights so far.
    """

    name: str
    progress: Progress
    trained: bool
    step: int
    steps: int
    seconds: float
    rewards: Mapping[int, float]
    accuracy: "AccuracySeries | None"
    end: End | None
    end_source: str
    weights: Weights


class LiveRun:
    """A run directory that is looked at again and again.

    Args:
        folder: The run directory.

    Raises:
        UserError: It is no run directory.
    """

    def __init__(self, folder: Path) -> None:
        """Read the run's configuration."""
        if not folder.is_dir():
            raise UserError(
                "no such run directory", where=str(folder), way_out="name the folder of a run"
            )
        self.folder = folder
        self.config = read_config(folder)
        whole = whole_config(folder)
        self._stages = tuple(FOLDERS) if whole is None else tuple(whole.stages)
        self._train = folder / FOLDERS["train"]
        self._jumps = JumpRecords(self._train / "acceleration")
        self._weights: WeightsSoFar | None = None
        self._metrics = GrowingMetrics(self._train / "verl")

    def look(self, seen: Callable[[int], None] = lambda step: None) -> Live:
        """Read what is new.

        Args:
            seen: Called with every step whose weights were read.

        Raises:
            UserError: A file of the run is damaged, and not only being written.
        """
        for _ in range(_TRIES - 1):
            with suppress(UserError, OSError):
                return self._look(seen)
            # The run may just be replacing what was read; a damaged file stays damaged.
            time.sleep(_PAUSE_SECONDS)
        return self._look(seen)

    def _look(self, seen: Callable[[int], None]) -> Live:
        trains = not self.config.source.is_given
        trained = not trains or read_record(self._train).get("finished") is True
        metrics = self._read_metrics()
        steps = (self._jumps.end() or self.config.trainer.steps) if trains else 0
        rewards = _column(metrics, SCORE)
        accuracy = own_accuracy(metrics, self.config) if len(metrics) else None
        jumped = max(self._jumps.accepted(), default=None)
        end, source = (None, "the run does not train") if not trains else self._end(metrics, steps)
        return Live(
            name=self.config.name or self.folder.resolve().name,
            progress=progress(self.folder, self._stages),
            trained=trained,
            step=max(rewards, default=0),
            steps=steps,
            seconds=_median(list(_column(metrics, STEP_SECONDS).values())[-_RECENT:]),
            rewards=rewards,
            accuracy=accuracy,
            end=end,
            end_source=source,
            weights=self._read_weights(trained, jumped, seen),
        )

    def _read_metrics(self) -> "pd.DataFrame":
        """Read the logs, or the table that they became where they are gone."""
        table = self._metrics.table()
        whole = self._train / METRICS
        return read_parquet(whole) if table.empty and whole.is_file() else table

    def _read_weights(
        self, trained: bool, jumped: int | None, seen: Callable[[int], None]
    ) -> Weights:
        known = self._weights
        if trained and known is not None and isinstance(known.source, RunSketches):
            return known.weights()  # the run has removed its sketches
        theirs = not trained and bool(self._jumps.sketched())
        if known is None or isinstance(known.source, RunSketches) != theirs:
            source = self.config.source
            known = self._weights = WeightsSoFar(
                RunSketches(self._jumps.folder)
                if theirs
                else CheckpointSketches(
                    Path(source.base or self.folder / FOLDERS["prepare"] / "base"),
                    Path(source.checkpoints or self._train / "checkpoints"),
                    source.pattern,
                    Sketch(),
                )
            )
        known.update(jumped, seen)
        return known.weights()

    def _end(self, metrics: "pd.DataFrame", steps: int) -> tuple[End | None, str]:
        """Forecast the accuracy at the last step, from the accuracies since the last jump."""
        jumped = max(self._jumps.accepted(), default=0)
        validated = [name for name in metrics if str(name).startswith("validation/")]
        rollouts = metrics.drop(columns=validated)
        said = "no accuracy is known"
        for table in (metrics, rollouts) if len(metrics) else ():
            series = own_accuracy(table, self.config)
            if series is None:
                continue
            known = {step: each for step, each in series.values.items() if step >= jumped}
            found = _forecast(known, steps)
            if found is not None:
                kind = series.source.split(" (")[0]
                return found, f"line through the last {found.steps} accuracies ({kind})"
            since = " since the last jump" if jumped else ""
            said = f"{len(known)} of the {2 * FEWEST - 1} accuracies{since} that a line needs"
        return None, said


def _forecast(known: Mapping[int, float], steps: int) -> End | None:
    """Forecast a series at evenly spaced steps; None if it is not, or has too few of them."""
    numbers = np.array(sorted(known))
    if len(numbers) < 2:
        return None
    spacing = even_spacing(numbers[1:] - numbers[0])
    left = steps - int(numbers[-1])
    if spacing is None or left < 0:
        return None
    values = [known[step] for step in numbers]
    found = predicted_end(values, round(left / spacing), level=LEVEL)
    return None if math.isnan(found.value) else found


def _column(metrics: "pd.DataFrame", name: str) -> dict[int, float]:
    if name not in metrics:
        return {}
    known = metrics[["step", name]].dropna()
    return {int(step): float(value) for step, value in zip(known["step"], known[name], strict=True)}


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else math.nan
