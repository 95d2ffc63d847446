"""Stages with content keys: what is done stays done, what changed is done again, nothing is lost.

A stage publishes one folder of the run directory. Its `stage.json` holds the key, a hash over
everything its numbers depend on: its part of the configuration, the identities of its inputs, its
own version and the versions of the packages behind it.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.published_files import Changes, changes, take_stock
from rlvr_dynamics.run_directory.records import (
    FOLDERS,
    PRECIOUS,
    RECORD,
    differences,
    disagreements,
    read_record,
)
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.system.atomic import (
    atomic_folder,
    atomic_path,
    write_sealed_json,
)
from rlvr_dynamics.system.copies import copy_folder
from rlvr_dynamics.system.sealed import digest
from rlvr_dynamics.system.versions import package_version


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
        inputs_now: Identities of inputs that others may write to while it works; they must be the
            same when it is finished.
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
    inputs_now: Callable[[Run], dict[str, str]] | None = None


@dataclass(frozen=True)
class Plan:
    """What a stage will do: `done`, `resume`, `run`, and why.

    `damaged` are files that it published and that are to be made anew.
    """

    stage: Stage
    state: str
    why: str
    material: dict[str, Any] | None = field(default=None)
    damaged: tuple[Path, ...] = ()


def _material(run: Run, stage: Stage, identities: dict[str, str]) -> dict[str, Any]:
    packages = stage.packages(run.config) if callable(stage.packages) else stage.packages
    return {
        "stage": stage.name,
        "version": stage.version,
        "settings": stage.settings(run.config),
        "inputs": {need: identities[need] for need in stage.needs if need in identities},
        "packages": {name: package_version(name) for name in packages},
    }


def _refuse_other_configuration(run: Run, stage: Stage, material: dict[str, Any]) -> None:
    record = read_record(run.of(stage.name)) if stage.name in PRECIOUS else {}
    if record and record.get("key") != digest(material):
        changes = list(differences(record.get("material"), material))
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

    A stage that is not wanted lends what it published only if it was made from the inputs and the
    settings of now.

    Args:
        run: Configuration and folder.
        stages: All stages in order.
        external: Identities of inputs that no stage of this run made.

    Raises:
        UserError: The folder belongs to another configuration, a stage that is needed is missing
            or was made from something else, or a file of a precious stage is damaged.
    """
    identities = external(run)
    stale = False
    unfit: dict[str, str] = {}
    for stage in stages:
        wanted = stage.name in run.config.stages
        missing = [need for need in stage.required if need not in identities]
        if wanted:
            _refuse_unfit(run, stage, unfit)
        if wanted and missing and not (stale and run.config.dry_run):
            raise UserError(
                f"{stage.name} needs {' and '.join(missing)}, which has not finished here",
                where=str(run.folder),
                way_out=f"add it: stages=[{','.join([*missing, *run.config.stages])}]",
            )
        record = _record_of(run, stage)
        if not wanted:
            reason = _misfit(run, stage, record, identities)
            if reason:
                unfit[stage.name] = reason
            if record.get("finished"):
                identities[stage.name] = record["identity"]
            continue
        material = None if missing else _material(run, stage, identities)
        if material is not None:
            _refuse_other_configuration(run, stage, material)
        finished = bool(record.get("finished"))
        damaged: list[str] = []
        if material is not None and finished and record["key"] == digest(material):
            found = changes(run.of(stage.name), record)
            if not found.damaged:
                yield Plan(stage, "done", _done(run, stage, record, found))
                identities[stage.name] = record["identity"]
                continue
            damaged = found.damaged
            _refuse_damage(run, stage, damaged)
        stale = True
        if damaged:
            more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
            why = f"damaged, made again: {FOLDERS[stage.name]}/{damaged[0]}{more}"
        elif finished:
            why = "its inputs or its configuration changed"
        else:
            why = "interrupted" if record else "not there yet"
        places = tuple(run.of(stage.name) / name for name in damaged)
        yield Plan(stage, "resume" if record and stage.in_place else "run", why, material, places)
        record = _record_of(run, stage)
        if record.get("finished"):
            identities[stage.name] = record["identity"]
        else:
            identities.pop(stage.name, None)


def _record_of(run: Run, stage: Stage) -> dict[str, Any]:
    """A stage's record; a damaged one counts as absent where the stage can be done again."""
    try:
        return read_record(run.of(stage.name))
    except UserError:
        if stage.name in PRECIOUS or stage.name not in run.config.stages:
            raise
        return {}


def _misfit(
    run: Run, stage: Stage, record: dict[str, Any], identities: dict[str, str]
) -> str | None:
    """Why what a stage published is not what it would publish now; None where it is."""
    if not record:
        return None
    if not record.get("finished"):
        return None if stage.name in PRECIOUS else "it was interrupted"
    beside = {name: {"finished": True, "identity": found} for name, found in identities.items()}
    wrong = disagreements({**beside, stage.name: record}).get(stage.name)
    if wrong:
        return wrong.removeprefix(f"{stage.name} ")
    then, now = record["material"], _material(run, stage, {})
    compared = ("settings",) if stage.name in PRECIOUS else ("settings", "version")
    pair = [{key: each.get(key) for key in compared} for each in (then, now)]
    found = list(differences(pair[0], pair[1]))
    return f"it was made with another configuration ({'; '.join(found[:3])})" if found else None


def _refuse_unfit(run: Run, stage: Stage, unfit: dict[str, str]) -> None:
    for need in stage.needs:
        if need not in unfit:
            continue
        again = ",".join(
            name for name in FOLDERS if name in run.config.stages or name in {need, *unfit}
        )
        way_out = f"add it: stages=[{again}]; or another run_dir=..."
        if need in PRECIOUS:
            way_out = "run with the configuration in its config.json, or choose another run_dir=..."
        elif need not in stage.required:
            way_out += f"; or move {FOLDERS[need]}/ away"
        raise UserError(
            f"{stage.name} would take {need} as it lies here, and {unfit[need]}",
            where=str(run.of(need)),
            way_out=way_out,
        )


def _refuse_damage(run: Run, stage: Stage, damaged: list[str]) -> None:
    if stage.name not in PRECIOUS:
        return
    path = run.of(stage.name) / damaged[0]
    what = "its content is not what was written" if path.exists() else "it is gone"
    raise UserError(
        f"a file of {stage.name} is damaged: {what}"
        + (f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""),
        where=str(path),
        way_out="put it back from a copy, or choose another run_dir=...",
    )


def _done(run: Run, stage: Stage, record: dict[str, Any], found: Changes) -> str:
    """Say that a stage is done; weights that proved to be the same are not read again."""
    if found.marks and not run.config.dry_run:
        record = record | {"weights": record["weights"] | found.marks}
        write_sealed_json(run.of(stage.name) / RECORD, record)
    words = f"finished in {record['seconds']:.0f} s"
    if found.unread:
        words += f"; {found.unread:,} bytes of weights have other times and were not read"
    return words


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
    earlier = _record_of(run, stage)
    goes_on = earlier.get("key") == record["key"] and not earlier.get("finished")
    spent = earlier.get("seconds", 0.0) if goes_on and stage.in_place else 0.0

    def finish(target: Path) -> float:
        seconds = time.monotonic() - begin + spent
        _refuse_changed_inputs(run, stage, record["material"]["inputs"])
        identity = stage.identity(run, target) if stage.identity else record["key"]
        facts = {"finished": True, "identity": identity, "seconds": round(seconds, 2)}
        published = run.config.source.published
        streamed = published is not None and published.stream
        stock = take_stock(stage.name, target, streamed=streamed)
        write_sealed_json(target / RECORD, record | facts | stock)
        return seconds

    if stage.in_place:
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed_json(folder / RECORD, record | {"seconds": spent})
        for path in item.damaged:
            path.unlink(missing_ok=True)
        try:
            stage.work(run, folder)
        except BaseException:
            elapsed = time.monotonic() - begin + spent
            write_sealed_json(folder / RECORD, record | {"seconds": round(elapsed, 2)})
            raise
        return finish(folder)
    with atomic_folder(folder) as temporary:
        if _take_over(run, stage.name, record["key"], temporary):
            return time.monotonic() - begin
        stage.work(run, temporary)
        return finish(temporary)


def _refuse_changed_inputs(run: Run, stage: Stage, inputs: dict[str, str]) -> None:
    now = stage.inputs_now(run) if stage.inputs_now is not None else {}
    for name, identity in now.items():
        if name in inputs and inputs[name] != identity:
            raise UserError(
                f"the checkpoints changed while {stage.name} read them",
                where=str(run.checkpoints),
                way_out="leave checkpoints alone while they are analysed, then run again",
            )


def _take_over(run: Run, name: str, key: str, target: Path) -> bool:
    """Copy a finished `prepare` of the same key from `reuse`, with what it resolved on the hub."""
    if name != "prepare" or run.config.reuse is None:
        return False
    other = Path(run.config.reuse)
    record = read_record(other / FOLDERS[name])
    if not record.get("finished") or record.get("key") != key:
        return False
    damaged = changes(other / FOLDERS[name], record).damaged
    if damaged:
        raise UserError(
            f"reuse: a file of its {name} is not what was written: {damaged[0]}",
            where=str(other / FOLDERS[name]),
            way_out="put it back from a copy, or reuse=null",
        )
    copy_folder(other / FOLDERS[name], target)
    for lock in other.glob("*.lock.json"):
        if not (run.folder / lock.name).exists():
            with atomic_path(run.folder / lock.name) as temporary:
                shutil.copyfile(lock, temporary)
    return True
