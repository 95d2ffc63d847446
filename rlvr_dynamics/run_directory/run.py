"""A run: its configuration and the folder it works in."""

from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.schema import RunConfig


@dataclass(frozen=True)
class Run:
    """A configuration and the folder it works in."""

    config: RunConfig
    folder: Path

    def of(self, stage: str) -> Path:
        """Return the folder that a stage publishes."""
        return self.folder / FOLDERS[stage]

    @property
    def base(self) -> Path:
        """Folder of the model before training."""
        if self.config.source.base is not None:
            return Path(self.config.source.base)
        return self.of("prepare") / "base"

    @property
    def checkpoints(self) -> Path:
        """Folder of the training steps."""
        return Path(self.config.source.checkpoints or self.of("train") / "checkpoints")
