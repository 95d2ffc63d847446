"""GPU-hours of training, from assumed lengths and utilisations."""

from rlvr_dynamics.estimates.shapes import critic_count, shape_of
from rlvr_dynamics.schema import RunConfig

PEAK_FLOPS = 989e12  # bfloat16, dense, of an H100 or H800 (the manufacturer's figure)
TRAINING_UTILISATION = 0.35  # assumed
ROLLOUT_UTILISATION = 0.10  # assumed: decoding is bound by memory, and waits for the longest answer
RESPONSE_SHARE = 0.25  # assumed mean length of a response, of the longest allowed
PROMPT_SHARE = 0.10  # the same for a prompt
CANDIDATES = 2.0  # assumed samples per kept sample under dynamic sampling; AlphaRL allows up to 3


def gpu_hours(config: RunConfig) -> float:
    """Estimate the GPU-hours of training, scoring not included.

    Per step, with R response tokens and T = R + prompt tokens of all kept samples: generating
    2 N R (more candidates under dynamic sampling) at the rollout's utilisation; training 8 N T
    (6 and the recomputed forward pass), old log-probabilities 2 N T, those of the reference model
    2 N T, values and training of the critic 10 C T, at the training's utilisation. Attention's own
    operations and the time of saving are left out.
    """
    trainer, algorithm, shape = config.trainer, config.algorithm, shape_of(config.model)
    actor, critic = shape.parameters, critic_count(shape, algorithm)
    samples = trainer.prompts_per_step * algorithm.group_size
    response = samples * RESPONSE_SHARE * trainer.max_response_tokens
    tokens = response + samples * PROMPT_SHARE * trainer.max_prompt_tokens
    reference = 2 if algorithm.kl_loss_coef > 0 or algorithm.kl_reward_coef > 0 else 0
    candidates = CANDIDATES if algorithm.dynamic_sampling else 1.0
    generating = 2 * actor * response * candidates / ROLLOUT_UTILISATION
    training = ((8 + 2 + reference) * actor + 10 * critic) * tokens / TRAINING_UTILISATION
    return trainer.steps * (generating + training) / PEAK_FLOPS / 3600
