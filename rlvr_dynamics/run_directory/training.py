"""The training behind a run's checkpoints: its own, or that of the run directory they lie in."""

from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.run_directory.configuration import CONFIG_FILE, RecordedConfig, read_config
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import RunConfig

METRICS = "metrics.parquet"


@dataclass(frozen=True)
class Training:
    """What is on record of a training.

    Attributes:
        metrics: Its table of training metrics.
        config: The configuration of the run that trained.
    """

    metrics: Path
    config: RunConfig | RecordedConfig


def training_of(run: Run) -> Training | None:
    """Return the training that made a run's checkpoints, or None if nothing is on record.

    External checkpoints in `RUN/train/checkpoints` were made by RUN. So another reading of a
    training, such as `measure.round_to`, has its learning rates, gradients and accuracies.

    Raises:
        UserError: The configuration of that run is damaged.
    """
    source = run.config.source
    if source.published is not None:
        return None
    if source.checkpoints is None:
        metrics = run.of("train") / METRICS
        return Training(metrics, run.config) if metrics.exists() else None
    metrics = metrics_beside(Path(source.checkpoints))
    return None if metrics is None else Training(metrics, read_config(metrics.parents[1]))


def metrics_beside(checkpoints: Path) -> Path | None:
    """Return the metrics of the run directory whose checkpoints these are; None if of none."""
    train = checkpoints.resolve().parent
    metrics = train / METRICS
    ours = train.name == FOLDERS["train"] and (train.parent / CONFIG_FILE).is_file()
    return metrics if ours and metrics.is_file() else None
