"""The six stages: what each depends on and what it does. Heavy imports happen inside the work."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.atomic import write_json
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolate_stage import check_methods
from rlvr_dynamics.hardware import free_bytes, gpus_found
from rlvr_dynamics.pipeline import Run, Stage
from rlvr_dynamics.schema import RunConfig

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints import Trajectory

BYTES_PER_WEIGHT = 4  # verl gathers and saves float32
OPTIMIZER_COPIES = 3  # model and two moments, kept for a resume


def parameters(config: RunConfig) -> int:
    """Elements of the model of a configuration."""
    if config.model.kind == "hub":
        return config.model.parameters
    from rlvr_dynamics.training.tiny_base import parameter_count

    return parameter_count(config.model)


def checkpoint_bytes(config: RunConfig) -> int:
    """Disk that training needs: a float32 copy per step and the newest optimizer states."""
    copies = config.trainer.steps + OPTIMIZER_COPIES * (config.trainer.keep_optimizer_states + 1)
    return parameters(config) * BYTES_PER_WEIGHT * copies


def gpus_needed(config: RunConfig) -> int:
    """GPUs of the training and scoring of a configuration, on all nodes together."""
    train = config.trainer.gpus_per_node * config.trainer.nodes if "train" in config.stages else 0
    score = config.scoring.tensor_parallel if config.scoring.device == "cuda" else 0
    return max(train, score if "score" in config.stages else 0)


def check_machine(run: Run) -> None:
    """Refuse what cannot work here before anything is touched.

    Raises:
        UserError: Too few GPUs or too little disk, or stages that do not fit the source.
    """
    config = run.config
    check_methods(config.extrapolation)
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
    if needed > len(found):
        raise UserError(
            f"{config.name} needs {needed} GPUs of {config.trainer.gpu_memory_gib} GiB, "
            f"{len(found)} found",
            where="this machine",
            way_out="`python -m rlvr_dynamics.run` runs the same loop on this CPU with a tiny "
            "model; dry_run=true prints this cell's plan",
        )
    if config.source.base is not None and {"prepare", "train", "score"} & set(config.stages):
        raise UserError(
            "source.base replaces prepare and train, and there are no benchmarks for it here",
            where=f"stages={list(config.stages)}",
            way_out="stages=[measure,extrapolate,report]",
        )
    if config.name == "trajectory" and config.source.base is None:
        raise UserError(
            "+exp=trajectory needs somebody's checkpoints",
            way_out="source.base=DIR source.checkpoints=DIR",
        )
    have = free_bytes(run.folder)
    need = checkpoint_bytes(config) - _bytes_below(run.of("train"))
    if "train" in config.stages and need > have:
        raise UserError(
            f"training needs {need:,} bytes for checkpoints, {have:,} are free",
            where=str(run.folder),
            way_out="choose run_dir=... on a larger disk, or fewer trainer.steps",
        )


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def external_identities(run: Run) -> dict[str, str]:
    """Identity of checkpoints that this run did not train."""
    if run.config.source.base is None:
        return {}
    if run.config.dry_run and not run.folder.exists():
        return {"train": "not read yet"}  # nothing can be cached, and a plan reads no weights
    return {"train": open_trajectory(run).identity}


def open_trajectory(run: Run) -> "Trajectory":
    """Base and checkpoints of a run; hashes of foreign folders are remembered in the run."""
    from rlvr_dynamics.checkpoints import Trajectory

    return Trajectory.open(
        run.base,
        run.checkpoints,
        allow_gaps=run.config.source.allow_gaps,
        cache=None if run.config.dry_run else run.folder / "identities.json",
    )


# --- prepare ---


def _prepare(run: Run, folder: Path) -> None:
    from rlvr_dynamics.benchmarks import LOCK_FILE
    from rlvr_dynamics.checkpoints import write_manifest
    from rlvr_dynamics.training.hub_data import fetch_model, write_benchmarks, write_tables

    config, lock = run.config, run.folder / LOCK_FILE
    if config.data.kind == "arithmetic":
        facts = _prepare_arithmetic(config, folder)
        facts["tables"] = write_benchmarks(config.benchmark, folder, lock)
    else:
        if config.model.kind != "hub":
            raise UserError("published data needs a published model", way_out="model=qwen3_4b")
        tables = write_tables(config.data, config.benchmark, folder, lock)
        model = fetch_model(config.model, folder / "base")
        base = f"{model['repo']} at {model['revision'] or 'local'}"
        facts = {"tables": tables, "model": model, "base": base}
    write_manifest(folder / "base", 0, str(facts["base"]))
    write_json(folder / "task.json", facts)
    for key, table in facts["tables"].items():
        if table["left_out"]:
            print(f"{key}: {len(table['left_out'])} of {table['rows']} questions left out")


def _prepare_arithmetic(config: RunConfig, folder: Path) -> dict[str, Any]:
    from rlvr_dynamics.training.arithmetic import ArithmeticTask, write_task
    from rlvr_dynamics.training.hub_data import fetch_model
    from rlvr_dynamics.training.tiny_base import parameter_count, pretrain, pretraining_data

    if config.data.kind != "arithmetic":
        raise ValueError("not the arithmetic task")
    task = ArithmeticTask(seed=config.seed, **config.data.model_dump(exclude={"kind"}))
    try:
        if config.model.kind == "hub":
            facts = write_task(task, folder, ())
            model = fetch_model(config.model, folder / "base")
            return facts | {"model": model, "base": str(model["repo"])}
        facts = write_task(task, folder, pretraining_data(task, config.model))
    except ValueError as error:
        raise UserError(str(error), where="data", way_out="ask for fewer problems") from error
    pretrain(task, config.model, folder / "base")
    steps = config.model.steps_clean + config.model.steps_noisy
    right = config.model.careful
    return facts | {
        "base": f"Qwen3 architecture, {parameter_count(config.model):,} parameters, pretrained "
        f"here for {steps} steps; of the last {config.model.steps_noisy} steps' solutions "
        f"{right:.0%} are worked without mistakes, {config.model.sloppy:.0%} have mistakes in "
        "their steps, the rest guess"
    }


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
    from rlvr_dynamics.checkpoints.verl_run import VerlRun
    from rlvr_dynamics.training.trainer import train

    checkpoints = VerlRun(
        folder / "verl" / "checkpoints",
        folder / "checkpoints",
        run.base,
        run.config.trainer.keep_optimizer_states,
    )
    train(run.config, prepare=run.of("prepare"), folder=folder, checkpoints=checkpoints)


# --- measure, extrapolate ---


def _measure(run: Run, folder: Path) -> None:
    from rlvr_dynamics.accuracy import accuracy_of
    from rlvr_dynamics.measurement import MeasureSettings, measure

    settings = run.config.measure
    trajectory = open_trajectory(run)
    for earlier, later in trajectory.repeats:
        print(f"step {later} repeats the weights of {f'step {earlier}' if earlier else 'the base'}")
    measure(
        trajectory,
        MeasureSettings(
            draws=settings.null_draws,
            seed=run.config.seed,
            budget_bytes=int(settings.memory_gib * 2**30),
            **settings.model_dump(exclude={"null_draws", "memory_gib"}),
        ),
        folder,
        accuracy=accuracy_of(run),
    )


def _extrapolate(run: Run, folder: Path) -> None:
    from rlvr_dynamics.extrapolate_stage import extrapolate

    extrapolate(run, folder)


# --- score, report ---


def _score(run: Run, folder: Path) -> None:
    from rlvr_dynamics.score_stage import score

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


def _training_settings(config: RunConfig) -> dict[str, Any]:
    """What changes the trained weights; patience and bookkeeping do not."""
    values = _settings("algorithm", "trainer", "seed")(config)
    for name in ("start_timeout_seconds", "stall_timeout_seconds", "wandb"):
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
    from rlvr_dynamics.scoring.grading import grader_version
    from rlvr_dynamics.training.reward import KINDS

    kinds = {benchmark.kind for benchmark in config.benchmark.values()}
    kinds.add(KINDS.get(config.data.kind, "math"))
    return {kind: grader_version(kind) for kind in sorted(kinds)}


def _score_settings(config: RunConfig) -> dict[str, Any]:
    """What changes scores; another grader makes the stage grade its stored answers again."""
    return _settings("scoring", "seed")(config) | {"graders": _graders(config)}


def _extrapolation_settings(config: RunConfig) -> dict[str, Any]:
    return _settings("extrapolation", "seed")(config) | _given_accuracy(config)


ALL = [
    Stage(
        name="prepare",
        version=1,
        needs=(),
        required=(),
        packages=("torch", "transformers"),
        settings=_settings("model", "data", "benchmark", "seed"),
        work=_prepare,
        identity=_prepared,
    ),
    Stage(
        name="train",
        version=1,
        needs=("prepare",),
        required=("prepare",),
        packages=("verl", "vllm", "torch"),
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
