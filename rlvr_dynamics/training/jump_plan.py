"""The plan of a run's jumps, as its training processes read it from their environment."""

import os
from pathlib import Path

from rlvr_dynamics.acceleration.gate import detected_gain, looks, problems_needed
from rlvr_dynamics.acceleration.schedule import firings, previous_firing
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

    def searched(self, window: int) -> tuple[float, ...]:
        """Return the factors that a firing so many steps after the one before searches."""
        return searched(self.acceleration, self.break_even, window)

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


def searched(plan: Acceleration, least: int, window: int) -> tuple[float, ...]:
    """Return the factors of a search that are tried, in rising order.

    A plan with a backtest tries none that goes less far than training on the gate's answers would:
    it could not pay for them, and its gain is the hardest to see.

    Args:
        plan: With `how_far.search`.
        least: `break_even`.
        window: Steps since the last firing.
    """
    factors = plan.how_far.search or ()
    if not plan.gate.backtests:
        return factors
    return tuple(each for each in factors if (each - 1.0) * window >= least - 1e-9)


def candidates(config: RunConfig) -> int:
    """Return the most candidates of one firing; 0 if none of its factors is ever tried.

    Raises:
        UserError: The gate needs more problems than there are.
    """
    plan = config.acceleration
    if plan is None or plan.method == "none" or plan.how_far.search is None:
        return 1
    least, steps = break_even(config), firings(plan.when, config.trainer.steps)
    windows = {step - previous_firing(plan.when, step) for step in steps}
    return max((len(searched(plan, least, window)) for window in windows), default=0)


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
        tried = len(plan.how_far.search or (1,))  # all: which are tried depends on the problems
        try:
            asked = problems_needed(gate.detect / 100, gate.samples, level=gate.level, tried=tried)
        except ValueError as error:
            raise UserError(
                f"{key}: {error}",
                where=f"{key}={gate.detect:g} (points)",
                way_out="a larger gain, or acceleration.gate.problems",
            ) from error
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
    return gate_problems(config) * config.acceleration.gate.samples * (1 + candidates(config))


def most_rounds(config: RunConfig) -> int:
    """Return how often one firing waits for answers, at most; 0 if the gate asks none.

    Raises:
        UserError: The gate needs more problems than there are.
    """
    plan = config.acceleration
    if plan is None or not plan.gate.validates:
        return 0
    return len(looks(gate_problems(config), plan.gate.rule)) * 2 * candidates(config)


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
        tried=max(1, candidates(config)),
        alike=alike,
    )
