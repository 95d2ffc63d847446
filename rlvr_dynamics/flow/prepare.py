"""The prepare stage: the base, the training problems and the benchmarks of a run."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.outside import with_local_files
from rlvr_dynamics.flow.stage import Stage, sections
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import RunConfig, TrainingData
from rlvr_dynamics.system.atomic import write_json

if TYPE_CHECKING:
    from rlvr_dynamics.training.arithmetic import ArithmeticTask


def _settings(config: RunConfig) -> dict[str, Any]:
    """What changes the tables and the base, which is stored in the dtype of the checkpoints."""
    return with_local_files(config, _configured(config))


def _configured(config: RunConfig) -> dict[str, Any]:
    if config.source.base is not None:
        values = sections(config, "benchmark", "data")
        for name in TrainingData.model_fields:  # nothing is trained
            values["data"].pop(name, None)
        return values
    values = sections(config, "model", "data", "benchmark")
    values["model"].pop("hardware", None)  # where it trains, not what is prepared
    values["data"].pop("reward", None)
    if not config.data.shuffle_answers:
        values["data"].pop("shuffle_answers")
    published = config.source.published is not None
    dtype = "as published" if published else config.trainer.checkpoint_dtype
    return values | {"seed": config.prepare_seed, "checkpoint_dtype": dtype}


def prepare(run: Run, folder: Path) -> None:
    """Write tables, base and task.json.

    Somebody else's checkpoints have a base and no task of ours; the training problems of a
    published table come all the same, because grids of parameters are chosen on those held out.

    Raises:
        UserError: A table or the base cannot be had, or there are not enough problems.
    """
    from rlvr_dynamics.benchmarks.written import print_remarks, write_benchmarks, write_tables
    from rlvr_dynamics.hub.lock import TABLES
    from rlvr_dynamics.training.task_tables import shuffle_answers

    config, lock = run.config, run.folder / TABLES
    facts: dict[str, Any] = {}
    if config.data.kind == "hub":
        facts["tables"] = write_tables(config.data, config.benchmark, folder, lock)
    else:
        if not config.source.is_given:
            facts |= _generate(config, folder)
        facts["tables"] = write_benchmarks(config.benchmark, folder, lock)
    facts |= _base(run, folder / "base")
    if config.data.shuffle_answers and not config.source.is_given:
        facts |= shuffle_answers(folder / "train.parquet", config.prepare_seed)
    write_json(folder / "task.json", facts)
    print_remarks(facts["tables"])


def _arithmetic(config: RunConfig) -> "ArithmeticTask":
    from rlvr_dynamics.training.arithmetic import ArithmeticTask

    if config.data.kind != "arithmetic":
        raise ValueError("not the arithmetic task")
    return ArithmeticTask(
        seed=config.prepare_seed,
        **config.data.model_dump(exclude={"kind", *TrainingData.model_fields}),
    )


def _generate(config: RunConfig, folder: Path) -> dict[str, Any]:
    """Write the tables of a generated task."""
    from rlvr_dynamics.training.sums import SumTask
    from rlvr_dynamics.training.tiny_base import pretraining_data

    sizes = config.data.model_dump(exclude={"kind", *TrainingData.model_fields})
    try:
        if config.data.kind == "sums":
            return SumTask(seed=config.prepare_seed, **sizes).write(folder)
        task = _arithmetic(config)
        shown = pretraining_data(task, config.model) if config.model.kind == "tiny" else ()
        return task.write(folder, pretraining=shown)
    except ValueError as error:
        raise UserError(str(error), where="data", way_out="ask for fewer problems") from error


def _base(run: Run, folder: Path) -> dict[str, Any]:
    """Make or fetch the base, in the dtype of the checkpoints; returns what is known of it."""
    from rlvr_dynamics.checkpoints import write_manifest
    from rlvr_dynamics.checkpoints.cast import store_base
    from rlvr_dynamics.hub.lock import MODELS
    from rlvr_dynamics.hub.model import fetch_model
    from rlvr_dynamics.training.prompt_setup import set_prompt
    from rlvr_dynamics.training.tiny_base import describe, pretrain

    config = run.config
    if config.source.base is not None:
        return {"base": str(run.base)}
    if config.model.kind == "tiny":
        pretrain(_arithmetic(config), config.model, folder)
        facts = {"base": describe(config.model)}
    else:
        model = fetch_model(config.model, folder, run.folder / MODELS)
        model |= set_prompt(config.model, folder)
        facts = {"model": model, "base": f"{model['repo']} at {model['revision'] or 'local'}"}
        if "package" in model:
            facts["base"] += f": {model['package']['weights']}"
    if config.source.published is not None:  # its steps have the dtype that their author chose
        stored = write_manifest(folder, 0, facts["base"])
        original = stored["dtype"]
    else:
        stored = store_base(folder, config.trainer.checkpoint_dtype, facts["base"])
        original = stored["original_dtype"]
    return facts | {"base_dtype": {"stored": stored["dtype"], "original": original}}


def _identity(_run: Run, folder: Path) -> str:
    """Hash of the base's weights and of every table."""
    from rlvr_dynamics.checkpoints import read_manifest

    manifest = read_manifest(folder / "base") or {}
    combined = hashlib.sha256(str(manifest.get("identity")).encode())
    for table in sorted(folder.rglob("*.parquet")):
        combined.update(table.name.encode() + hashlib.sha256(table.read_bytes()).digest())
    return combined.hexdigest()


STAGE = Stage(
    name="prepare",
    version=1,
    needs=(),
    required=(),
    packages=("torch", "transformers"),
    settings=_settings,
    work=prepare,
    identity=_identity,
)
