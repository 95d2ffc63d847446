"""What a cell of the grid needs, from the estimates."""

from dataclasses import dataclass

from rlvr_dynamics.estimates.disk import disk
from rlvr_dynamics.estimates.hours import training_hours
from rlvr_dynamics.estimates.memory import misfits
from rlvr_dynamics.estimates.ranges import Range
from rlvr_dynamics.estimates.scoring import scoring
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.clips import clips_of


@dataclass(frozen=True)
class Need:
    """What a cell needs (`rlvr_dynamics.estimates`), and its updates.

    Attributes:
        nodes: Nodes of training.
        gpus: GPUs of training, on all nodes together.
        gpu_memory_gib: Memory of one of them.
        training_hours: From the first to the last step, on these GPUs.
        training_gpu_hours: The same times the GPUs.
        answers: Answers that scoring asks for.
        scoring_gpus: GPUs of scoring.
        scoring_hours: Time of scoring on these GPUs.
        scoring_gpu_hours: The same times these GPUs.
        disk_bytes: Written by all stages.
        fits: Whether training fits into the GPUs' memory.
        updates_per_rollout: Updates of the policy in a step.
        critic_updates_per_rollout: Updates of the value model; None without one.
        clips: For every clip of the algorithm, whether it can act (`schema.clips`).
    """

    nodes: int
    gpus: int
    gpu_memory_gib: int
    training_hours: Range
    training_gpu_hours: Range
    answers: int
    scoring_gpus: int
    scoring_hours: Range
    scoring_gpu_hours: Range
    disk_bytes: int
    fits: bool
    updates_per_rollout: int
    critic_updates_per_rollout: int | None
    clips: dict[str, bool]


def need_of(config: RunConfig) -> Need:
    """Return what a cell needs."""
    trainer, hours, scored = config.trainer, training_hours(config), scoring(config)
    scored_hours = scored.hours or Range(0, 0)  # cells score on GPUs
    gpus = trainer.nodes * trainer.gpus_per_node
    return Need(
        nodes=trainer.nodes,
        gpus=gpus,
        gpu_memory_gib=trainer.gpu_memory_gib,
        training_hours=hours.rounded(1),
        training_gpu_hours=hours.times(gpus).rounded(1),
        answers=scored.answers,
        scoring_gpus=scored.gpus,
        scoring_hours=scored_hours.rounded(1),
        scoring_gpu_hours=scored_hours.times(scored.gpus).rounded(1),
        disk_bytes=disk(config).total,
        fits=not misfits(config),
        updates_per_rollout=trainer.updates_per_rollout,
        critic_updates_per_rollout=(
            trainer.critic_updates_per_rollout if config.algorithm.critic else None
        ),
        clips={clip.name: clip.acts for clip in clips_of(config.algorithm, trainer)},
    )
