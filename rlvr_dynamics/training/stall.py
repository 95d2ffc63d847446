"""How long a step of a training may take before it counts as stuck."""

from rlvr_dynamics.acceleration.schedule import fires
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.training.jump_plan import answers_a_step, most_answers, most_rounds

# Without a limit of the user's, a step is stuck after this many times the longest one so far. Steps
# differ: answers grow longer, batches are refilled, some steps save a state.
STALL_STEPS = 5
LEAST_STALL_SECONDS = 600.0


def stall_limit(config: RunConfig, step: int, *, starting: bool, longest: float | None) -> float:
    """Return the seconds after which a step counts as stuck.

    Args:
        config: The run's.
        step: Number of the step in progress.
        starting: Whether it is the first of this attempt.
        longest: Seconds of the longest step of this attempt; None before there is one.
    """
    given = config.trainer.stall_timeout_seconds
    if given is not None and not starting:
        limit = given
    elif longest is None:
        return config.trainer.start_timeout_seconds
    else:
        limit = max(LEAST_STALL_SECONDS, STALL_STEPS * longest)
    return limit + STALL_STEPS * (longest or limit) * _steps_beside(config, step)


def _steps_beside(config: RunConfig, step: int) -> float:
    """Return how many steps draw as much as what is asked beside a step's own rollouts.

    Every round of answers counts as one more, as it waits for its longest answer.
    """
    trainer, plan = config.trainer, config.acceleration
    answers, rounds = 0, 0
    if plan is not None and fires(plan.when, step, trainer.steps):
        answers, rounds = most_answers(config), most_rounds(config)
    every = trainer.validate_every
    if every is not None and (step % every == 0 or step == trainer.steps):
        answers += config.data.validation_problems * trainer.validation_samples
        rounds += 1
    return answers / answers_a_step(config) + rounds
