"""The measure stage: what the trajectory's weights say, as tables."""

from pathlib import Path
from typing import Any

from rlvr_dynamics.flow.outside import given_records
from rlvr_dynamics.flow.stage import Stage, sections
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.stretches import (
    STRETCHES_FILE,
    longest_stretch,
    stretches_in_words,
)
from rlvr_dynamics.run_directory.trajectory import open_trajectory, trained_now
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.optimizers import warms_up
from rlvr_dynamics.system.atomic import write_json


def _settings(config: RunConfig) -> dict[str, Any]:
    """What changes the measured numbers; how much of which machine does not."""
    values = sections(config, "measure", "seed")
    for name in ("memory_gib", "threads", "device", "engine", "ray_address"):
        values["measure"].pop(name)
    if warms_up(config.algorithm, config.trainer.verl_overrides):
        # Tables of a warm-up made before had each rate a step early; all others stay valid.
        values["learning_rates"] = "of the step that they moved"
    return values | given_records(config)


def _work(run: Run, folder: Path) -> None:
    from rlvr_dynamics.measurement import MeasureSettings, measure
    from rlvr_dynamics.run_directory.accuracy import accuracy_of, without_accuracy
    from rlvr_dynamics.run_directory.optimizer import optimizer_of

    settings, published = run.config.measure, run.config.source.published
    trajectory = open_trajectory(run, as_measured=True)
    for note in trajectory.notes:
        print(note)
    for earlier, later in trajectory.repeats:
        print(f"step {later} repeats the weights of {f'step {earlier}' if earlier else 'the base'}")
    chosen = MeasureSettings(
        draws=settings.null_draws,
        seed=run.config.seed,
        budget_bytes=int(settings.memory_gib * 2**30),
        optimizer=optimizer_of(run),
        **settings.model_dump(exclude={"null_draws", "memory_gib", "round_to"}),
    )
    if published is not None and published.stream:
        from rlvr_dynamics.flow.streamed import collect_streamed

        collect_streamed(run, trajectory, chosen, folder)
    accuracy = accuracy_of(run, trajectory.steps)
    jumps = trajectory.jumps if run.config.acceleration is not None else {}
    if jumps:
        stretch = longest_stretch(trajectory, jumps)
        print(stretches_in_words(stretch, jumps))
        write_json(folder / STRETCHES_FILE, {"jumps": jumps, "measured": list(stretch)})
        trajectory = trajectory.stretch(*stretch)
        accuracy = accuracy.within(*stretch) if accuracy is not None else None
    if accuracy is None and run.config.trains:
        print(f"the table pls is empty: {without_accuracy(run)}")
    measure(trajectory, chosen, folder, accuracy=accuracy)


STAGE = Stage(
    name="measure",
    version=4,
    needs=("train",),
    required=("train",),
    packages=("numpy", "torch"),
    settings=_settings,
    work=_work,
    in_place=True,
    inputs_now=trained_now,
)
