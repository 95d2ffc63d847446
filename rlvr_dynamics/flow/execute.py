"""Executing one planned stage: its folder appears whole, or goes on where it stopped."""

import shutil
import time
from pathlib import Path

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.pipeline import Plan, record_of
from rlvr_dynamics.flow.stage import Stage
from rlvr_dynamics.run_directory.published_files import changes, take_stock
from rlvr_dynamics.run_directory.records import FOLDERS, RECORD, read_record
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.system.atomic import atomic_folder, atomic_path, write_sealed_json
from rlvr_dynamics.system.copies import copy_folder
from rlvr_dynamics.system.keyed import is_made_from, keyed


def execute(run: Run, item: Plan) -> float:
    """Do one stage and publish its folder; returns the seconds it took.

    Raises:
        UserError: Whatever the stage finds wrong with what it was given.
    """
    stage, folder, material = item.stage, run.of(item.stage.name), item.material
    if material is None:
        raise ValueError(f"{stage.name} was planned without its inputs")
    record = keyed(material) | {"material": material, "finished": False}
    begin = time.monotonic()
    earlier = record_of(run, stage)
    goes_on = is_made_from(earlier, material) and not earlier.get("finished")
    spent = earlier.get("seconds", 0.0) if goes_on and stage.in_place else 0.0

    def finish(target: Path) -> float:
        seconds = time.monotonic() - begin + spent
        _refuse_changed_inputs(run, stage, material["inputs"])
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
        for name in item.damaged:
            (folder / name).unlink(missing_ok=True)
        try:
            stage.work(run, folder)
        except BaseException:
            elapsed = time.monotonic() - begin + spent
            write_sealed_json(folder / RECORD, record | {"seconds": round(elapsed, 2)})
            raise
        return finish(folder)
    with atomic_folder(folder) as temporary:
        if _take_over(run, item, temporary):
            return time.monotonic() - begin
        stage.work(run, temporary)
        return finish(temporary)


def remember_marks(run: Run, item: Plan) -> None:
    """Record the new marks of unchanged weights, so that they are not read again."""
    if item.marks:
        folder = run.of(item.stage.name)
        record = read_record(folder)
        record["weights"] |= item.marks
        write_sealed_json(folder / RECORD, record)


def _refuse_changed_inputs(run: Run, stage: Stage, inputs: dict[str, str]) -> None:
    now = stage.inputs_now(run) if stage.inputs_now is not None else {}
    for name, identity in now.items():
        if name in inputs and inputs[name] != identity:
            raise UserError(
                f"the checkpoints changed while {stage.name} read them",
                where=str(run.checkpoints),
                way_out="leave checkpoints alone while they are analysed, then run again",
            )


def _take_over(run: Run, item: Plan, target: Path) -> bool:
    """Copy a finished `prepare` of the same key from `reuse`, with what it resolved on the hub."""
    name = item.stage.name
    if name != "prepare" or run.config.reuse is None:
        return False
    other = Path(run.config.reuse)
    record = read_record(other / FOLDERS[name])
    if not record.get("finished") or not is_made_from(record, item.material):
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
