"""Files outside the run directory that a stage reads: their content is part of its key.

A path does not say what is in the file. Foreign weights have identities of their own; this module
covers tables of problems, the config and tokenizer files next to foreign weights, and runs that
lend their direction.
"""

from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.companions import companion_files, companions_digest
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.run_directory.training import metrics_beside
from rlvr_dynamics.schema import Benchmark, HubTable, Rebuilt, RunConfig
from rlvr_dynamics.system.sealed import sha256_of

LOCAL = "local"


def with_local_files(config: RunConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """Add the content of local tables and of a local model's companions to prepare's settings.

    A file that no longer exists counts with its recorded content, because what was prepared from
    it is in the run. A run that was prepared before contents were recorded keeps its key.

    Raises:
        UserError: A companion is a link that leaves its folder; the stage's record is damaged.
    """
    record = read_record(Path(config.run_dir) / FOLDERS["prepare"])
    known = record.get("material", {}).get("settings", {}) if record else None
    if known is not None and LOCAL not in known:
        return settings
    found = {key: _content(path) for key, path in _local_paths(config, settings).items()}
    recorded = (known or {}).get(LOCAL, {})
    found = {key: recorded.get(key) if now is None else now for key, now in found.items()}
    found = {key: content for key, content in found.items() if content is not None}
    return settings | ({LOCAL: found} if found else {})


def _local_paths(config: RunConfig, settings: dict[str, Any]) -> dict[str, Path]:
    from rlvr_dynamics.benchmarks.local_file import READERS

    tables: dict[str, HubTable] = {
        f"benchmark.{name}": table for name, table in config.benchmark.items()
    }
    if config.data.kind == "hub":
        tables["data.train"] = config.data.train
    paths = {
        key: Path(table.repo)
        for key, table in tables.items()
        if not (isinstance(table, Benchmark) and table.kind == "reasoning_gym")
        and Path(table.repo).suffix.lower() in READERS
    }
    if "model" in settings and config.model.kind == "hub":
        paths["model.repo"] = Path(config.model.repo)  # a folder, or a hub's name and nothing here
    return paths


def _content(path: Path) -> str | None:
    if path.is_dir():
        return companions_digest(path) if companion_files(path) else None
    return sha256_of(path) if path.is_file() else None


def given_records(config: RunConfig) -> dict[str, Any]:
    """Digests of the user's table of accuracies and of the training records by the checkpoints."""
    source = config.source
    found = {"accuracy": Path(source.accuracy) if source.accuracy else None}
    if source.checkpoints is not None:
        found["training"] = metrics_beside(Path(source.checkpoints))
    return {name: sha256_of(path) for name, path in found.items() if path and path.is_file()}


def donors(config: RunConfig) -> dict[str, Any]:
    """Return the identities of the base and the last step of every run that lends its direction.

    Raises:
        UserError: One of them is not a run that has finished its training.
    """
    from rlvr_dynamics.run_directory.trajectory import trajectory_of

    named = {donor_of(config, each) for each in config.extrapolation.reconstructions}
    found = {}
    for run_dir in sorted(each for each in named if each):
        trajectory = trajectory_of(Path(run_dir))
        last = trajectory.steps[-1]
        found[run_dir] = [trajectory.identities[step] for step in (0, last)]
    return {"donors": found} if found else {}


def donor_of(config: RunConfig, rebuilt: Rebuilt) -> str | None:
    """Return the run directory whose direction a reconstruction takes; None if it takes none."""
    from rlvr_dynamics.extrapolation import RECONSTRUCTIONS

    declared = RECONSTRUCTIONS.get(rebuilt.name)
    if declared is None or "run" not in declared.parameters:
        return None
    return str(rebuilt.parameters.get("run") or config.extrapolation.donor or "") or None


def foreign_companions(config: RunConfig, *, steps: bool) -> dict[str, Any]:
    """Return the digests of the files next to foreign weights, for the key of a stage.

    Args:
        config: The run's.
        steps: Include the steps that may be scored; predictions take these files from the base.

    Raises:
        UserError: A folder is missing, or a file in it is a link that leaves it.
    """
    source = config.source
    if source.base is None or source.checkpoints is None:
        return {}
    from rlvr_dynamics.checkpoints.steps import base_folder, find_steps
    from rlvr_dynamics.schema.shares import observed_step

    base, checkpoints = Path(source.base), Path(source.checkpoints)
    found = {"base": companions_digest(base_folder(base, checkpoints))}
    if steps:
        folders = find_steps(checkpoints, source.pattern)
        every = tuple(step for step in folders if step)
        shares = {*config.scoring.ladder, *config.extrapolation.windows}
        shares |= {share for each in config.extrapolation.methods for share in each.windows or ()}
        for step in sorted({observed_step(every, share) for share in shares}):
            found[str(step)] = companions_digest(folders[step])
    return {"companions": found}
