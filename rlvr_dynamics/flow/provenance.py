"""Where a result comes from: command, versions, commit, seed, hardware, time per stage."""

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.steps import shortened
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.pipeline import Run, package_version
from rlvr_dynamics.run_directory.records import (
    FOLDERS,
    read_record,
    read_sealed_json,
    write_sealed_json,
)
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.system.atomic import full_disk_is_a_user_error
from rlvr_dynamics.system.files import read_object, require_file
from rlvr_dynamics.system.hardware import gpus_found, memory_bytes, processor_name

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
            "versions": {
                "python": platform.python_version(),
                "rlvr_dynamics": package_version("rlvr-dynamics"),
                **{name: package_version(name) for name in PACKAGES},
            },
            "hardware": {
                "processor": processor_name(),
                "cores": os.cpu_count(),
                "memory_gib": round(memory_bytes() / 2**30, 1),
                "gpus": gpus_found(),
            },
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
    """Write config.json and provenance.json anew where one of them is damaged; that is said."""
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
    except UserError:  # whoever needs this stage says what is wrong with it
        return {}


def _regime(config: RunConfig) -> str:
    """How the checkpoints came about, in words."""
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
    )


def _base(run: Run) -> str:
    task = run.of("prepare") / "task.json"
    if run.config.source.base is not None or not task.exists():
        return str(run.base)
    return str(read_object(task, way_out="remove it, then run again").get("base", run.base))


def append_log(folder: Path, event: dict[str, Any]) -> None:
    """Add one line to log.jsonl."""
    path = folder / "log.jsonl"
    if path.exists():
        require_file(path)
    with full_disk_is_a_user_error(path), path.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"time": round(time.time(), 2), **event}) + "\n")


def commit() -> str | None:
    """Commit of the checkout this code runs from, with `+changes` where it differs."""
    here = Path(__file__).resolve().parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        dirty = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if dirty else "")


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
