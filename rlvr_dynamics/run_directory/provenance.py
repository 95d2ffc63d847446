"""The provenance of results: command, versions, commit, seed, hardware, time per stage."""

from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.step_names import shortened
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.data import NO_SIGNAL
from rlvr_dynamics.system.atomic import write_sealed_json
from rlvr_dynamics.system.files import read_object
from rlvr_dynamics.system.hardware import machine
from rlvr_dynamics.system.sealed import read_sealed_json
from rlvr_dynamics.system.versions import commit, versions

PACKAGES = ("torch", "verl", "vllm", "ray", "transformers", "numpy", "math-verify", "hydra-core")


def write_provenance(run: Run, command: str) -> None:
    """Publish config.json and provenance.json of a run directory."""
    write_sealed_json(run.folder / "config.json", run.config.model_dump(mode="json"))
    records = {name: _record(run.of(name)) for name in FOLDERS}
    write_sealed_json(
        run.folder / "provenance.json",
        {
            "command": command,
            "commit": commit(),
            "seed": run.config.seed,
            "versions": versions(*PACKAGES),
            "hardware": machine(),
            "base": _base(run),
            "regime": _regime(run.config),
            "stages": {
                name: {"seconds": record.get("seconds"), "key": record.get("key")}
                for name, record in records.items()
                if record.get("finished")
            },
        },
    )


def restore_provenance(run: Run, command: str) -> None:
    """Rewrite config.json and provenance.json if one of them is damaged, and say so."""
    for name in ("config.json", "provenance.json"):
        try:
            read_sealed_json(run.folder / name)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError):
            print(f"damaged, written anew: {run.folder / name}")
            write_provenance(run, command)
            return


def _record(folder: Path) -> dict[str, Any]:
    try:
        return read_record(folder)
    except UserError:  # the stage that needs it reports it
        return {}


def _regime(config: RunConfig) -> str:
    """Describe where the checkpoints come from."""
    published = config.source.published
    if published is not None:
        return f"published checkpoints of {published.repo}, steps {shortened(published.steps)}"
    if config.source.base is not None:
        return f"checkpoints of {config.source.checkpoints}"
    return (
        f"{config.algorithm.name}, learning rate {config.algorithm.learning_rate:g} x "
        f"{config.trainer.steps} steps, {config.trainer.prompts_per_step} prompts x "
        f"{config.algorithm.group_size} samples"
        + (", answers shuffled among the training problems" if config.data.shuffle_answers else "")
        + (f", {config.data.reward} rewards" if config.data.reward in NO_SIGNAL else "")
    )


def _base(run: Run) -> str:
    task = run.of("prepare") / "task.json"
    if run.config.source.base is not None or not task.exists():
        return str(run.base)
    return str(read_object(task, way_out="remove it, then run again").get("base", run.base))
