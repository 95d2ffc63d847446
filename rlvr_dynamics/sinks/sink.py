"""The interface of a sink, and what it receives from a stage.

The stages always write the files of the run directory, which are authoritative; every sink is fed
from them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.run_directory.training import METRICS
from rlvr_dynamics.system.sealed import read_parquet

if TYPE_CHECKING:
    import pandas as pd

# Tables that are sent as curves, or that hold the problems themselves.
LEFT_OUT = ("metrics", "train", "val")
NOTHING_SENT = -1  # the step before that of a validation of the base


class Sink(Protocol):
    """Receives the outputs of one finished stage."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Take the metrics of one training step."""
        ...

    def artefact(self, path: Path) -> None:
        """Take a table (csv, parquet) or figure (png) of the stage; the file is complete."""
        ...

    def close(self, seconds: float | None) -> None:
        """Send what is still buffered; `seconds` is what the stage took, if it is finished."""
        ...


@dataclass(frozen=True)
class Finished:
    """A finished stage of a run, or the training while it goes on.

    Attributes:
        folder: The run directory.
        stage: Name of the stage.
        config: The run's configuration.
        record: The stage's `stage.json`.
    """

    folder: Path
    stage: str
    config: RecordedConfig
    record: Mapping[str, Any]


def feed(sink: Sink, finished: Finished, sent: int = NOTHING_SENT) -> None:
    """Send the curves, tables and figures of a stage to a sink, and close it.

    Args:
        sink: The sink.
        finished: The stage.
        sent: Last training step that the sink has.
    """
    place = finished.folder / FOLDERS[finished.stage]
    path = place / METRICS
    if finished.stage == "train" and path.exists():
        for step, values in curves(read_parquet(path), sent):
            sink.metrics(step, values)
    for pattern in ("*.parquet", "*.csv", "tables/*.csv", "figures/*.png"):
        for path in sorted(place.glob(pattern)):
            if path.stem not in LEFT_OUT:
                sink.artefact(path)
    sink.close(finished.record.get("seconds"))


def curves(
    metrics: "pd.DataFrame", sent: int = NOTHING_SENT
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the training metrics of the steps after one, without a step's missing ones."""
    later = metrics[metrics["step"] > sent]
    for row in later.select_dtypes("number").to_dict("records"):
        values = {str(name): value for name, value in row.items() if value == value}
        yield int(row["step"]), values
