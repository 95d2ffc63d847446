"""The interface of a sink, and what it receives from a finished stage.

The stages always write the files of the run directory, which are authoritative; every sink is fed
from them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.system.sealed import read_parquet

# Tables that are sent as curves, or that hold the problems themselves.
LEFT_OUT = ("metrics", "train", "val")


class Sink(Protocol):
    """Receives the outputs of one finished stage."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Take the metrics of one training step."""
        ...

    def artefact(self, path: Path) -> None:
        """Take a table (csv, parquet) or figure (png) of the stage; the file is complete."""
        ...

    def close(self) -> None:
        """Send what is still buffered."""
        ...


@dataclass(frozen=True)
class Finished:
    """A finished stage of a run.

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


def feed(sink: Sink, finished: Finished) -> None:
    """Send the curves, tables and figures of a stage to a sink, and close it."""
    place = finished.folder / FOLDERS[finished.stage]
    if finished.stage == "train":
        for step, values in curves(place):
            sink.metrics(step, values)
    for pattern in ("*.parquet", "*.csv", "tables/*.csv", "figures/*.png"):
        for path in sorted(place.glob(pattern)):
            if path.stem not in LEFT_OUT:
                sink.artefact(path)
    sink.close()


def curves(folder: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the training metrics step by step, without a step's missing ones."""
    path = folder / "metrics.parquet"
    if path.exists():
        for row in read_parquet(path).select_dtypes("number").to_dict("records"):
            values = {str(name): value for name, value in row.items() if value == value}
            yield int(row["step"]), values
