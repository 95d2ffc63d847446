"""TensorBoard: curves and figures in run_dir/tensorboard; tables stay in the run directory."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter

from rlvr_dynamics.sinks.sink import Finished

FLUSH_SECONDS = 5


class TensorboardSink:
    """A folder of events per stage; replaces an earlier copy of the stage."""

    def __init__(self, finished: Finished) -> None:
        """Start with an empty folder for the stage."""
        place = finished.folder / "tensorboard" / finished.stage
        shutil.rmtree(place, ignore_errors=True)
        self._writer = SummaryWriter(str(place), flush_secs=FLUSH_SECONDS)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write one step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def artefact(self, path: Path) -> None:
        """Write a figure."""
        if path.suffix == ".png":
            self._writer.add_image(f"figures/{path.stem}", imread(path), dataformats="HWC")

    def close(self, seconds: float | None) -> None:
        """Write what is buffered."""
        del seconds  # it has no place for them
        self._writer.close()
