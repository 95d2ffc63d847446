"""A configured or finished cell, and the command that makes it predict more."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.run_directory.configuration import RecordedConfig, read_config
from rlvr_dynamics.run_directory.progress import finished_stages
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.schema import STAGES
from rlvr_dynamics.schema.overrides import key_of
from rlvr_dynamics.schema.shares import observed_step, target_step

from .declared import declared
from .predictions import Predictions, Triple, merged, overrides_of
from .runs import arguments, command, typed

# Arguments of an earlier call that do not define the run.
PASSING = ("stages", "dry_run", "reuse", "run_dir")


@dataclass(frozen=True)
class Configured:
    """A cell and what it predicts.

    Attributes:
        arguments: Arguments of `python -m rlvr_dynamics.run` that define it.
        predictions: What it predicts without further arguments.
        ladder: Its `scoring.ladder`.
        folder: Its run directory, if it has run.
        steps: The saved steps of the training, if it has run.
        stages: The finished stages.
    """

    arguments: tuple[str, ...]
    predictions: Predictions
    ladder: tuple[float, ...]
    folder: Path | None = None
    steps: tuple[int, ...] = ()
    stages: frozenset[str] = frozenset()

    @classmethod
    def of_cell(cls, cell: str, runs: Path) -> "Configured":
        """Describe a cell that has never run.

        Raises:
            UserError: The cell does not exist.
        """
        given = arguments(cell, runs)
        name = given[0].removeprefix("+exp=")
        return cls(
            tuple(given),
            Predictions.configured(declared(name, "extrapolation")),
            tuple(declared(name, "scoring")["ladder"]),
        )

    @classmethod
    def of_run(cls, cell: str, folder: Path, runs: Path) -> "Configured":
        """Describe a run; it predicts what its last extrapolation was configured with."""
        config = read_config(folder)
        record = read_record(folder / FOLDERS["extrapolate"])
        settings = record.get("material", {}).get("settings", {})
        given = typed(folder) or arguments(cell, runs)
        kept = [each for each in given if key_of(each) not in PASSING]
        return cls(
            (*kept, f"run_dir={folder}"),
            Predictions.configured(settings.get("extrapolation", config.extrapolation)),
            config.scoring.ladder,
            folder,
            _steps(config, folder),
            frozenset(finished_stages(folder, STAGES)),
        )

    def at(self, triple: Triple) -> tuple[str, int, int]:
        """Return a label with the steps of its window and target."""
        label, window, target = triple
        observe = observed_step(self.steps, window) if window else 0
        return (label, observe, target_step(self.steps, target))

    def command(self, wanted: Predictions, ladder: Sequence[float]) -> str:
        """Return the command that adds what is wanted and keeps what the cell has."""
        more = wanted.triples() - self.predictions.triples()
        keeps = self.predictions if self.folder is not None else Predictions()
        changes = overrides_of(merged([keeps, wanted])) if more else []
        if set(ladder) - set(self.ladder):
            changes += overrides_of(Predictions(), sorted({*self.ladder, *ladder}))
        changed = {key_of(each) for each in changes}
        kept = [each for each in self.arguments if key_of(each) not in changed]
        return command(*kept, *changes)


def _steps(config: RecordedConfig, folder: Path) -> tuple[int, ...]:
    """Return the saved steps of a run, from its configuration or its measurements."""
    if config.source.published:
        return config.source.published.steps
    if not config.source.base:
        return tuple(range(1, config.trainer.steps + 1))
    import pyarrow.parquet as parquet

    path = folder / FOLDERS["measure"] / "checkpoints.parquet"
    if not path.exists():
        return ()
    steps = parquet.read_table(path, columns=["step"]).column("step").to_pylist()
    return tuple(step for step in steps if step)
