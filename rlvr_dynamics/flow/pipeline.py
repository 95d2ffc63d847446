"""Which stages are done, and which have to run: what is done stays done, nothing is lost.

A stage publishes one folder of the run directory. Its `stage.json` holds what it was made from
(`Stage.material`) and the key, a hash of that. A stage is done while its key is the one it would
have now and its files are as they were published.
"""

from dataclasses import dataclass, field
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.stage import Stage
from rlvr_dynamics.run_directory.published_files import changes
from rlvr_dynamics.run_directory.records import (
    FOLDERS,
    PRECIOUS,
    differences,
    disagreements,
    read_record,
)
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.system.keyed import is_made_from


@dataclass(frozen=True)
class Plan:
    """What a stage will do: `done`, `resume`, `run`, and why.

    Attributes:
        stage: The stage.
        state: `done`, `resume` or `run`.
        why: The reason, in words.
        material: What it will be made from; None while an input is not there yet.
        damaged: Files that it published and that are to be made again.
        marks: New marks of published weights that turned out to be unchanged.
    """

    stage: Stage
    state: str
    why: str
    material: dict[str, Any] | None = None
    damaged: tuple[str, ...] = ()
    marks: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What the earlier stages have published.

    Attributes:
        identities: Stage to the identity of what it published.
        unfit: Stage to why what it published is not what it would publish now.
    """

    identities: dict[str, str]
    unfit: dict[str, str] = field(default_factory=dict)

    def after(self, run: Run, stage: Stage) -> "Known":
        """Add what one more stage has published.

        What a stage outside this call published is used only if it was made from the present
        inputs and settings.
        """
        record, wanted = record_of(run, stage), stage.name in run.config.stages
        reason = None if wanted else _misfit(run, stage, record, self.identities)
        unfit = self.unfit | ({stage.name: reason} if reason else {})
        identities = dict(self.identities)
        if record.get("finished"):
            identities[stage.name] = record["identity"]
        elif wanted:
            identities.pop(stage.name, None)
        return Known(identities, unfit)


def plan(run: Run, stages: list[Stage], known: Known) -> list[Plan]:
    """Plan all wanted stages from the present files; executes and writes nothing.

    Args:
        run: Configuration and folder.
        stages: All stages in order.
        known: Identities of inputs that no stage of this run made.

    Raises:
        UserError: As of `plan_stage`.
    """
    plans = []
    for stage in stages:
        if stage.name in run.config.stages:
            plans.append(plan_stage(run, stage, known))
        known = known.after(run, stage)
    return plans


def plan_stage(run: Run, stage: Stage, known: Known) -> Plan:
    """Say whether a stage is done, given what the stages before it have published.

    Raises:
        UserError: The folder belongs to another configuration, a stage that is needed is missing
            or was made from something else, or a file of a precious stage is damaged.
    """
    _refuse_unfit(run, stage, known.unfit)
    missing = [need for need in stage.required if need not in known.identities]
    never = [need for need in missing if need not in run.config.stages]
    if never:
        raise UserError(
            f"{stage.name} needs {' and '.join(never)}, which has not finished here",
            where=str(run.folder),
            way_out=f"add it: stages=[{','.join([*never, *run.config.stages])}]",
        )
    record = record_of(run, stage)
    finished = bool(record.get("finished"))
    material, damaged = None, []
    if not missing:
        material = stage.material(run.config, known.identities)
        _refuse_other_configuration(run, stage, record, material)
        if finished and is_made_from(record, material):
            found = changes(run.of(stage.name), record)
            if not found.damaged:
                words = f"finished in {record['seconds']:.0f} s"
                if found.unread:
                    words += (
                        f"; {found.unread:,} bytes of weights have other times and were not read"
                    )
                return Plan(stage, "done", words, material, marks=found.marks)
            damaged = found.damaged
            _refuse_damage(run, stage, damaged)
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        why = f"damaged, made again: {FOLDERS[stage.name]}/{damaged[0]}{more}"
    elif finished:
        why = "its inputs or its configuration changed"
    else:
        why = "interrupted" if record else "not there yet"
    state = "resume" if record and stage.in_place else "run"
    return Plan(stage, state, why, material, tuple(damaged))


def record_of(run: Run, stage: Stage) -> dict[str, Any]:
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
    """Why what a stage published is not what it would publish now; None if it is."""
    if not record:
        return None
    if not record.get("finished"):
        return None if stage.name in PRECIOUS else "it was interrupted"
    others = {name: {"finished": True, "identity": found} for name, found in identities.items()}
    wrong = disagreements({**others, stage.name: record}).get(stage.name)
    if wrong:
        return wrong.removeprefix(f"{stage.name} ")
    then, now = record["material"], stage.material(run.config, {})
    compared = ("settings",) if stage.name in PRECIOUS else ("settings", "version")
    pair = [{key: each.get(key) for key in compared} for each in (then, now)]
    found = list(differences(pair[0], pair[1]))
    return f"it was made with another configuration ({'; '.join(found[:3])})" if found else None


def _refuse_other_configuration(
    run: Run, stage: Stage, record: dict[str, Any], material: dict[str, Any]
) -> None:
    if stage.name in PRECIOUS and record and not is_made_from(record, material):
        found = list(differences(record.get("material"), material))
        raise UserError(
            f"this run directory holds another configuration's {stage.name}: "
            + "; ".join(found[:4])
            + (f"; and {len(found) - 4} more" if len(found) > 4 else ""),
            where=str(run.folder),
            way_out="choose another run_dir=..., or run with the configuration in its "
            "config.json, or move the folder away",
        )


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
