"""What a run needs of this machine and of its source, checked before anything is touched."""

import os
from pathlib import Path

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.estimates.disk import disk
from rlvr_dynamics.estimates.shapes import shape_of
from rlvr_dynamics.flow.acceleration import check_acceleration
from rlvr_dynamics.flow.extrapolate import check_methods
from rlvr_dynamics.flow.flash_attention import check_flash_attention
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.scoring.two_models import check_size
from rlvr_dynamics.system.hardware import free_bytes, gpus_found


def gpus_needed(config: RunConfig) -> int:
    """GPUs of the training and scoring of a configuration, on all nodes together."""
    train = config.trainer.gpus_per_node * config.trainer.nodes if config.trains else 0
    scoring = config.scoring
    # Without a number of engines one is enough; more GPUs take more.
    score = scoring.tensor_parallel * (scoring.engines or 1) if scoring.device == "cuda" else 0
    return max(train, score if "score" in config.stages else 0)


def check_machine(run: Run) -> None:
    """Refuse what cannot work here before anything is touched.

    Raises:
        UserError: Too few GPUs or too little disk, or stages that do not fit the source.
    """
    config = run.config
    check_methods(config.extrapolation)
    check_acceleration(config)
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
    if "behaviour" in config.stages and config.behaviour.device == "cuda" and not gpus_found():
        raise UserError(
            "behaviour.device=cuda, and this machine has no GPU",
            where="this machine",
            way_out="behaviour.device=auto",
        )
    if "score" in config.stages and config.scoring.extrapolated_logits:
        check_size(shape_of(config.model).parameters)
    needed, found = gpus_needed(config), gpus_found()
    # In a Ray cluster of several nodes the other nodes' GPUs are Ray's to find.
    nodes = config.trainer.nodes if "RAY_ADDRESS" in os.environ else 1
    if needed > len(found) * nodes:
        rest = [stage for stage in config.stages if stage != "score"]
        offer = f"without scoring it needs none: stages=[{','.join(rest)}]"
        if config.trains or not rest:
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
    check_flash_attention(config)
    _check_source(config)
    have = free_bytes(run.folder)
    need = disk(config).training - _bytes_below(run.of("train"))
    if config.trains and need > have:
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
    late = [stage for stage in ("extrapolate", "score", "behaviour") if stage in stages]
    if source.published.stream and late:
        raise UserError(
            f"with source.published.stream the weights are gone when {late[0]} would need them",
            where=f"stages={list(stages)}",
            way_out="stages=[prepare,train,measure,report], or source.published.stream=false",
        )


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
