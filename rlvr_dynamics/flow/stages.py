"""The six stages: what each depends on and what it does. Heavy imports happen inside the work."""

import hashlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow import estimates
from rlvr_dynamics.flow.extrapolate import check_methods
from rlvr_dynamics.flow.outside import foreign_companions, with_local_files
from rlvr_dynamics.flow.pipeline import Stage
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.trajectory import open_trajectory, trained_now
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.system.atomic import write_json
from rlvr_dynamics.system.hardware import free_bytes, gpus_found

if TYPE_CHECKING:
    pass


def parameters(config: RunConfig) -> int:
    """Elements of the model of a configuration."""
    return estimates.shape_of(config.model).parameters


def checkpoint_bytes(config: RunConfig) -> int:
    """Disk that training needs: a checkpoint per step and the newest optimizer states."""
    return estimates.disk(config).training


def trains(config: RunConfig) -> bool:
    """Whether the stage `train` really trains: published steps are fetched instead."""
    return "train" in config.stages and config.source.published is None


def gpus_needed(config: RunConfig) -> int:
    """GPUs of the training and scoring of a configuration, on all nodes together."""
    train = config.trainer.gpus_per_node * config.trainer.nodes if trains(config) else 0
    scoring = config.scoring
    score = scoring.tensor_parallel * scoring.engines if scoring.device == "cuda" else 0
    return max(train, score if "score" in config.stages else 0)


def check_machine(run: Run) -> None:
    """Refuse what cannot work here before anything is touched.

    Raises:
        UserError: Too few GPUs or too little disk, or stages that do not fit the source.
    """
    config = run.config
    check_methods(config.extrapolation)
    if config.reuse is not None and not Path(config.reuse).is_dir():
        raise UserError("reuse: no such run directory", where=config.reuse, way_out="reuse=null")
    given = config.source.accuracy
    if given is not None and not Path(given).is_file():
        raise UserError("source.accuracy: no such file", where=given, way_out="check the path")
    local = config.measure.engine == "local" and "measure" in config.stages
    if local and config.measure.device == "cuda" and not gpus_found():
        raise UserError(
            "measure.device=cuda, and this machine has no GPU",
            where="this machine",
            way_out="measure.device=auto",
        )
    needed, found = gpus_needed(config), gpus_found()
    # In a Ray cluster of several nodes the other nodes' GPUs are Ray's to find.
    nodes = config.trainer.nodes if "RAY_ADDRESS" in os.environ else 1
    if needed > len(found) * nodes:
        rest = [stage for stage in config.stages if stage != "score"]
        offer = f"without scoring it needs none: stages=[{','.join(rest)}]"
        if trains(config) or not rest:
            offer = (
                "`python -m rlvr_dynamics.run` runs the same loop on this CPU with a tiny "
                "model; dry_run=true prints this cell's plan"
            )
        raise UserError(
            f"{config.name} needs {needed} GPUs of {config.trainer.gpu_memory_gib} GiB, "
            f"{len(found)} found",
            where="this machine",
            way_out=offer,
        )
    attention = find_spec("flash_attn") or find_spec("kernels")
    if config.trainer.device == "cuda" and trains(config) and not attention:
        raise UserError(
            "verl's training on GPUs needs flash attention, and it is not installed",
            where=sys.prefix,
            way_out="pip install --no-build-isolation flash-attn==2.8.3",
        )
    _check_source(config)
    have = free_bytes(run.folder)
    need = checkpoint_bytes(config) - _bytes_below(run.of("train"))
    if trains(config) and need > have:
        raise UserError(
            f"training needs {need:,} bytes for checkpoints, {have:,} are free",
            where=str(run.folder),
            way_out="choose run_dir=... on a larger disk, or fewer trainer.steps",
        )


def _check_source(config: RunConfig) -> None:
    source, stages = config.source, config.stages
    if source.base is not None and "train" in stages:
        raise UserError(
            "source.base replaces training",
            where=f"stages={list(stages)}",
            way_out="stages=[prepare,measure,extrapolate,score,report], or without prepare and "
            "score where there are no benchmarks",
        )
    if config.name == "trajectory" and source.base is None and source.published is None:
        raise UserError(
            "+exp=trajectory needs somebody's checkpoints",
            way_out="source.base=DIR source.checkpoints=DIR",
        )
    grids = [method.title for method in config.extrapolation.methods if method.grid]
    if source.is_given and "score" in stages and grids and config.data.kind != "hub":
        raise UserError(
            f"the grid of {grids[0]} is chosen on held-out training problems, and these "
            f"checkpoints were not trained on data={config.data.kind}",
            way_out="data=math, or extrapolation.methods without grids",
        )
    if source.published is None:
        return
    if config.model.kind != "hub":
        raise UserError(
            "source.published needs the model that its training started from",
            where=f"model={config.model.name}",
            way_out="model=qwen3_4b, or another of configs/model with a hub id",
        )
    late = [stage for stage in ("extrapolate", "score") if stage in stages]
    if source.published.stream and late:
        raise UserError(
            f"with source.published.stream the weights are gone when {late[0]} would need them",
            where=f"stages={list(stages)}",
            way_out="stages=[prepare,train,measure,report], or source.published.stream=false",
        )


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# --- prepare ---


def _prepare(run: Run, folder: Path) -> None:
    from rlvr_dynamics.benchmarks import LOCK_FILE
    from rlvr_dynamics.checkpoints.cast import store_base
    from rlvr_dynamics.hub.model import LOCK_FILE as MODELS_LOCK
    from rlvr_dynamics.hub.model import fetch_model
    from rlvr_dynamics.hub.tables import (
        print_remarks,
        write_benchmarks,
        write_tables,
    )
    from rlvr_dynamics.training.task_tables import shuffle_answers

    config, lock = run.config, run.folder / LOCK_FILE
    if config.source.is_given:
        from rlvr_dynamics.flow.fetch import prepare_foreign

        prepare_foreign(run, folder)
        return
    if config.data.kind == "arithmetic":
        facts = _prepare_arithmetic(config, folder, run.folder / MODELS_LOCK)
        facts["tables"] = write_benchmarks(config.benchmark, folder, lock)
    elif config.data.kind == "sums":
        facts = _prepare_sums(config, folder, run.folder / MODELS_LOCK)
        facts["tables"] = write_benchmarks(config.benchmark, folder, lock)
    else:
        if config.model.kind != "hub":
            raise UserError("published data needs a published model", way_out="model=qwen3_4b")
        tables = write_tables(config.data, config.benchmark, folder, lock)
        model = fetch_model(config.model, folder / "base", run.folder / MODELS_LOCK)
        base = f"{model['repo']} at {model['revision'] or 'local'}"
        facts = {"tables": tables, "model": model, "base": base}
    if config.data.shuffle_answers:
        facts |= shuffle_answers(folder / "train.parquet", config.seed)
    stored = store_base(folder / "base", config.trainer.checkpoint_dtype, str(facts["base"]))
    facts["base_dtype"] = {"stored": stored["dtype"], "original": stored["original_dtype"]}
    write_json(folder / "task.json", facts)
    print_remarks(facts["tables"])


def _prepare_arithmetic(config: RunConfig, folder: Path, models_lock: Path) -> dict[str, Any]:
    from rlvr_dynamics.hub.model import fetch_model
    from rlvr_dynamics.training.arithmetic import ArithmeticTask, write_task
    from rlvr_dynamics.training.tiny_base import describe, pretrain, pretraining_data

    if config.data.kind != "arithmetic":
        raise ValueError("not the arithmetic task")
    task = ArithmeticTask(
        seed=config.seed, **config.data.model_dump(exclude={"kind", "shuffle_answers"})
    )
    try:
        if config.model.kind == "hub":
            facts = write_task(task, folder, ())
            model = fetch_model(config.model, folder / "base", models_lock)
            return facts | {"model": model, "base": str(model["repo"])}
        facts = write_task(task, folder, pretraining_data(task, config.model))
    except ValueError as error:
        raise UserError(str(error), where="data", way_out="ask for fewer problems") from error
    pretrain(task, config.model, folder / "base")
    return facts | {"base": describe(config.model)}


def _prepare_sums(config: RunConfig, folder: Path, models_lock: Path) -> dict[str, Any]:
    from rlvr_dynamics.hub.model import fetch_model
    from rlvr_dynamics.training.sums import SumTask, write_sums

    if config.data.kind != "sums" or config.model.kind != "hub":
        raise UserError("data=sums needs a language model", way_out="model=smollm2_135m")
    task = SumTask(seed=config.seed, **config.data.model_dump(exclude={"kind", "shuffle_answers"}))
    try:
        facts = write_sums(task, folder)
    except ValueError as error:
        raise UserError(str(error), where="data", way_out="ask for fewer problems") from error
    model = fetch_model(config.model, folder / "base", models_lock)
    base = f"{model['repo']} at {model['revision'] or 'local'}"
    if "package" in model:
        base += f": {model['package']['weights']}"
    return facts | {"model": model, "base": base}


def _prepared(_run: Run, folder: Path) -> str:
    """Hash of the base's weights and of every table."""
    from rlvr_dynamics.checkpoints import read_manifest

    manifest = read_manifest(folder / "base") or {}
    combined = hashlib.sha256(str(manifest.get("identity")).encode())
    for table in sorted(folder.rglob("*.parquet")):
        combined.update(table.name.encode() + hashlib.sha256(table.read_bytes()).digest())
    return combined.hexdigest()


# --- train ---


def _train(run: Run, folder: Path) -> None:
    if run.config.source.published is not None:
        from rlvr_dynamics.flow.fetch import fetch

        fetch(run, folder)
        return
    from rlvr_dynamics.checkpoints.verl_run import VerlRun
    from rlvr_dynamics.training.trainer import train

    checkpoints = VerlRun(
        folder / "verl" / "checkpoints",
        folder / "checkpoints",
        run.base,
        run.config.trainer.keep_optimizer_states,
        dtype=run.config.trainer.checkpoint_dtype,
        critic=run.config.algorithm.critic is not None,
    )
    train(run.config, prepare=run.of("prepare"), folder=folder, checkpoints=checkpoints)


# --- measure, extrapolate ---


def _measure(run: Run, folder: Path) -> None:
    from rlvr_dynamics.measurement import MeasureSettings, measure
    from rlvr_dynamics.run_directory.accuracy import accuracy_of

    settings, published = run.config.measure, run.config.source.published
    trajectory = open_trajectory(run)
    for note in trajectory.notes:
        print(note)
    for earlier, later in trajectory.repeats:
        print(f"step {later} repeats the weights of {f'step {earlier}' if earlier else 'the base'}")
    chosen = MeasureSettings(
        draws=settings.null_draws,
        seed=run.config.seed,
        budget_bytes=int(settings.memory_gib * 2**30),
        **settings.model_dump(exclude={"null_draws", "memory_gib"}),
    )
    if published is not None and published.stream:
        from rlvr_dynamics.flow.fetch import collect_streamed

        collect_streamed(run, trajectory, chosen, folder)
    measure(trajectory, chosen, folder, accuracy=accuracy_of(run, trajectory.steps))


def _extrapolate(run: Run, folder: Path) -> None:
    from rlvr_dynamics.flow.extrapolate import extrapolate

    extrapolate(run, folder)


# --- score, report ---


def _score(run: Run, folder: Path) -> None:
    from rlvr_dynamics.flow.score import score

    score(run, folder)


def _scored(_run: Run, folder: Path) -> str:
    return hashlib.sha256((folder / "scores.parquet").read_bytes()).hexdigest()


def _report(run: Run, folder: Path) -> None:
    from rlvr_dynamics.reporting import build_report

    build_report(run.folder, folder)


def _settings(*names: str) -> Any:
    def pick(config: RunConfig) -> dict[str, Any]:
        values = config.model_dump(mode="json")
        return {name: values[name] for name in names}

    return pick


def _preparation_settings(config: RunConfig) -> dict[str, Any]:
    """What changes the tables and the base, which is stored in the dtype of the checkpoints."""
    return with_local_files(config, _configured_preparation(config))


def _configured_preparation(config: RunConfig) -> dict[str, Any]:
    if config.source.base is not None:
        values = _settings("benchmark", "data")(config)
        values["data"].pop("shuffle_answers")  # nothing is trained
        return values
    values = _settings("model", "data", "benchmark", "seed")(config)
    values["model"].pop("hardware", None)  # where it trains, not what is prepared
    if not config.data.shuffle_answers:
        values["data"].pop("shuffle_answers")
    if config.source.published is not None:
        return values | {"checkpoint_dtype": "as published"}
    return values | {"checkpoint_dtype": config.trainer.checkpoint_dtype}


def _training_settings(config: RunConfig) -> dict[str, Any]:
    """What changes the trained weights; patience and bookkeeping do not."""
    if config.source.published is not None:
        published = config.source.published.model_dump(mode="json")
        for name in ("stream_gib", "method"):
            published.pop(name)
        return {"published": published}
    values = _settings("algorithm", "trainer", "seed")(config)
    for name in ("start_timeout_seconds", "stall_timeout_seconds"):
        values["trainer"].pop(name)
    return values


def _given_accuracy(config: RunConfig) -> dict[str, Any]:
    """The content of the user's table of accuracies, if there is one."""
    path = config.source.accuracy
    if path is None or not Path(path).is_file():
        return {}
    return {"accuracy": hashlib.sha256(Path(path).read_bytes()).hexdigest()}


def _measure_settings(config: RunConfig) -> dict[str, Any]:
    """What changes the measured numbers; how much of which machine does not."""
    values = _settings("measure", "seed")(config)
    for name in ("memory_gib", "threads", "device", "engine", "ray_address"):
        values["measure"].pop(name)
    return values | _given_accuracy(config)


def _graders(config: RunConfig) -> dict[str, str]:
    """Version of the grader of every kind of answer in the benchmarks and validation problems."""
    from rlvr_dynamics.grading.grade import grader_version
    from rlvr_dynamics.training.reward import KINDS

    kinds = {benchmark.kind for benchmark in config.benchmark.values()}
    kinds.add(KINDS.get(config.data.kind, "math"))
    return {kind: grader_version(kind) for kind in sorted(kinds)}


def _score_settings(config: RunConfig) -> dict[str, Any]:
    """What changes scores; another grader makes the stage grade its stored answers again."""
    values = _settings("scoring", "seed")(config) | {"graders": _graders(config)}
    return values | foreign_companions(config, steps=True)


def _extrapolation_settings(config: RunConfig) -> dict[str, Any]:
    values = _settings("extrapolation", "seed")(config) | _given_accuracy(config)
    return values | foreign_companions(config, steps=False)


ALL = [
    Stage(
        name="prepare",
        version=1,
        needs=(),
        required=(),
        packages=("torch", "transformers"),
        settings=_preparation_settings,
        work=_prepare,
        identity=_prepared,
    ),
    Stage(
        name="train",
        version=1,
        needs=("prepare",),
        required=("prepare",),
        packages=lambda config: ("verl", "vllm", "torch") if trains(config) else (),
        settings=_training_settings,
        work=_train,
        identity=lambda run, _folder: open_trajectory(run).identity,
        in_place=True,
    ),
    Stage(
        name="measure",
        version=2,
        needs=("train",),
        required=("train",),
        packages=("numpy", "torch"),
        settings=_measure_settings,
        work=_measure,
        in_place=True,
        inputs_now=trained_now,
    ),
    Stage(
        name="extrapolate",
        version=2,
        needs=("train",),
        required=("train",),
        packages=("numpy", "torch"),
        settings=_extrapolation_settings,
        work=_extrapolate,
        in_place=True,
        inputs_now=trained_now,
    ),
    Stage(
        name="score",
        version=1,
        needs=("prepare", "train", "extrapolate"),
        required=("prepare", "train", "extrapolate"),
        packages=("vllm", "math-verify"),
        settings=_score_settings,
        work=_score,
        identity=_scored,
        in_place=True,
        inputs_now=trained_now,
    ),
    Stage(
        name="report",
        version=1,
        needs=("prepare", "train", "measure", "extrapolate", "score"),
        required=(),
        packages=("matplotlib", "pandas"),
        settings=_settings("name", "report", "seed", "algorithm", "trainer"),
        work=_report,
    ),
]
