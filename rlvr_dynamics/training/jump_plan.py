"""The plan of a run's jumps, as its training processes read it from their environment."""

import os
from pathlib import Path

from rlvr_dynamics.acceleration.gate import detected_gain, problems_needed
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import Acceleration, RunConfig
from rlvr_dynamics.schema.types import Frozen

VARIABLE = "RLVR_ACCELERATION"
ANCHOR = "anchor_world_size_{world}_rank_{rank}.safetensors"


class JumpPlan(Frozen):
    """What the trainer and its workers need to know.

    Attributes:
        acceleration: The configuration.
        steps: Number of the training's last step.
        seed: The run's; of random directions, sketches and the gate's answers.
        problems: Validation problems that the gate asks.
        break_even: Training steps that draw as many answers as a firing with one candidate; 0 if
            the gate asks none.
        state_every: At multiples of it a state is saved, and the anchor with it.
        train: The run's train/ folder.
    """

    acceleration: Acceleration
    steps: int
    seed: int
    problems: int
    break_even: int
    state_every: int
    train: str

    @property
    def records(self) -> Path:
        """Folder of the records, one a firing, and of the sketches since the last one."""
        return Path(self.train) / "acceleration"

    @property
    def checkpoints(self) -> Path:
        """Folder of the published steps."""
        return Path(self.train) / "checkpoints"


def plan_of(config: RunConfig, train: Path) -> JumpPlan | None:
    """Return the plan of a configuration; None without acceleration.

    Raises:
        UserError: The gate needs more problems than there are.
    """
    if config.acceleration is None:
        return None
    return JumpPlan(
        acceleration=config.acceleration,
        steps=config.trainer.steps,
        seed=config.seed,
        problems=gate_problems(config),
        break_even=break_even(config),
        state_every=config.trainer.save_state_every,
        train=str(train.resolve()),
    )


def plan_from_environment() -> JumpPlan:
    """Return the plan that `VARIABLE` holds."""
    return JumpPlan.model_validate_json(os.environ[VARIABLE])


def candidates(plan: Acceleration) -> int:
    """Return the most candidates of one firing."""
    searched = plan.how_far.search
    return 1 if searched is None or plan.method == "none" else len(searched)


def gate_problems(config: RunConfig) -> int:
    """Return the number of validation problems that the gate asks; 0 if it asks none.

    Raises:
        UserError: It needs more than there are.
    """
    plan, held_out = config.acceleration, config.data.validation_problems
    if plan is None or not plan.gate.validates:
        return 0
    gate = plan.gate
    asked, key = gate.problems or held_out, "acceleration.gate.problems"
    if gate.detect is not None:
        key = "acceleration.gate.detect"
        asked = problems_needed(
            gate.detect / 100, gate.samples, level=gate.level, tried=candidates(plan)
        )
    if asked > held_out:
        raise UserError(
            f"{key}: the gate needs {asked:,} problems, and {held_out:,} are held out",
            where=f"data.validation_problems={held_out}",
            way_out=f"data.validation_problems={asked}, more acceleration.gate.samples, or a "
            "smaller gate",
        )
    return asked


def break_even(config: RunConfig) -> int:
    """Return the training steps that draw as many answers as a firing with one candidate.

    A line that does not hold so far ahead is not worth the answers.

    Raises:
        UserError: The gate needs more problems than there are.
    """
    if config.acceleration is None:
        return 0
    asked = 2 * gate_problems(config) * config.acceleration.gate.samples
    return -(-asked // answers_a_step(config))


def most_answers(config: RunConfig) -> int:
    """Return the most answers of one firing; 0 if the gate asks none.

    Raises:
        UserError: The gate needs more problems than there are.
    """
    if config.acceleration is None:
        return 0
    tried = 1 + candidates(config.acceleration)
    return gate_problems(config) * config.acceleration.gate.samples * tried


def answers_a_step(config: RunConfig) -> int:
    """Return the answers that a training step draws."""
    return config.trainer.prompts_per_step * config.algorithm.group_size


def gate_detects(config: RunConfig, *, alike: bool) -> float:
    """Return the gain that the gate accepts with a power of 80 %, as a share of 1.

    Args:
        config: The run.
        alike: As for `detected_gain`.
    """
    plan = config.acceleration
    if plan is None or not plan.gate.validates:
        raise ValueError("there is no gate that asks")
    gate = plan.gate
    return detected_gain(
        gate_problems(config),
        gate.samples,
        level=gate.level,
        tried=candidates(plan),
        alike=alike,
    )
