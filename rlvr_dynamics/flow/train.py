"""The train stage: verl's training, or fetching the steps that somebody published."""

from pathlib import Path
from typing import Any

from rlvr_dynamics.flow.stage import Stage, sections
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.trajectory import open_trajectory
from rlvr_dynamics.schema import RunConfig


def _settings(config: RunConfig) -> dict[str, Any]:
    """What changes the trained weights; patience and bookkeeping do not."""
    if config.source.published is not None:
        published = config.source.published.model_dump(mode="json")
        for name in ("stream_gib", "method"):
            published.pop(name)
        return {"published": published}
    values = sections(config, "algorithm", "trainer", "seed")
    for name in ("start_timeout_seconds", "stall_timeout_seconds", "save_state_every", "keep"):
        values["trainer"].pop(name, None)  # absent at a neutral value
    if config.trainer.validate_every is None:
        values["trainer"].pop("validation_samples", None)
    if config.acceleration is not None:
        values |= sections(config, "acceleration")
    paid = sections(config, "data")["data"]
    return values | ({"reward": paid["reward"]} if "reward" in paid else {})


def _work(run: Run, folder: Path) -> None:
    if run.config.source.published is not None:
        from rlvr_dynamics.flow.fetch import fetch

        fetch(run, folder)
        return
    from rlvr_dynamics.checkpoints.published_steps import Deltas, Folders
    from rlvr_dynamics.checkpoints.verl_run import VerlRun
    from rlvr_dynamics.estimates.shapes import adapter_count, shape_of
    from rlvr_dynamics.training.jump_plan import ANCHOR
    from rlvr_dynamics.training.jump_records import JumpRecords
    from rlvr_dynamics.training.trainer import train

    accelerated = run.config.acceleration is not None
    jumps = JumpRecords(folder / "acceleration")
    place = folder / "checkpoints"
    deltas = run.config.trainer.keep == "deltas"
    published = Deltas(place, run.base) if deltas else Folders(place)
    checkpoints = VerlRun(
        folder / "verl" / "checkpoints",
        published,
        run.base,
        run.config.trainer.keep_optimizer_states,
        dtype=run.config.trainer.checkpoint_dtype,
        critic=run.config.algorithm.critic is not None,
        steps=jumps.end() or run.config.trainer.steps,
        state_every=run.config.trainer.save_state_every,
        adapters=adapter_count(shape_of(run.config.model), run.config.algorithm),
        anchors=ANCHOR if accelerated else None,
        jump_before=jumps.jump_before if accelerated else None,
    )
    train(run.config, prepare=run.of("prepare"), folder=folder, checkpoints=checkpoints)
    published.finish()


STAGE = Stage(
    name="train",
    version=1,
    needs=("prepare",),
    required=("prepare",),
    packages=lambda config: ("verl", "vllm", "torch") if config.trains else (),
    settings=_settings,
    work=_work,
    identity=lambda run, _folder: open_trajectory(run).identity,
    in_place=True,
)
