"""Time of training with verl: a low and a high estimate, from stated ranges.

Legend: N parameters, P those of LoRA's adapters, C those of PPO's critic, G GPUs, S of them share
one copy of the training state, F peak operations and B bytes of memory per second of a GPU, T
tokens of all kept samples, prompts included.
"""

import math
from dataclasses import dataclass

from rlvr_dynamics.estimates.decoding import Card, Engine, card_of
from rlvr_dynamics.estimates.disk import FAST_DISK, SLOW_DISK, save
from rlvr_dynamics.estimates.lengths import (
    PROMPT_TOKENS,
    Length,
    long_answers,
    mean_tokens,
    short_answers,
    training_data,
)
from rlvr_dynamics.estimates.memory import memory
from rlvr_dynamics.estimates.ranges import Range
from rlvr_dynamics.estimates.shapes import (
    ADAM_STATE_BYTES,
    FLOAT_BYTES,
    adapter_count,
    critic_count,
    shape_of,
    state_bytes,
)
from rlvr_dynamics.schema import Architecture, RunConfig


@dataclass(frozen=True)
class Speed:
    """One end of the ranges that an estimate rests on.

    Attributes:
        utilisation: Share of a GPU's peak operations in training and log-probability passes.
            verl's documentation (docs/perf/dpsk.md) has 0.4 on one node and 0.19 on twelve.
        decoding: Share of the computed decoding speed (`Engine.efficiency`); the slow end is
            assumed.
        candidates: Samples per kept sample under dynamic sampling. JustRL (arXiv 2512.16649,
            section 4.1) counts half of the groups as dropped; AlphaRL (2510.00553, appendix B)
            allows up to 3.
        sync: Seconds per parameter to move new weights to the engines. verl's documentation
            (docs/advance/fully_async.md): 0.12 s for 7.6e9 and 15.76 s for 30.5e9.
        disk: Bytes per second of a save (`estimates.disk`).
    """

    utilisation: float
    decoding: float
    candidates: float
    sync: float
    disk: float


FAST = Speed(0.40, 1.0, 2.0, 0.12 / 7.6e9, FAST_DISK)
SLOW = Speed(0.19, 0.5, 3.0, 15.76 / 30.5e9, SLOW_DISK)


@dataclass(frozen=True)
class Step:
    """Seconds of a training step by phase; phases follow each other.

    Attributes:
        generating: The rollout.
        scoring: Log-probabilities of policy and reference, and the critic's values.
        training: Passes and updates of policy and critic.
        syncing: New weights to the engines.
        saving: What verl writes while it waits.
        validating: Answers to the validation problems, spread over the steps.
    """

    generating: float
    scoring: float
    training: float
    syncing: float
    saving: float
    validating: float

    @property
    def total(self) -> float:
        """All phases."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Work:
    """What a step has to do, on which GPUs.

    Attributes:
        shape: The model.
        critic: C.
        card: Kind of GPU.
        gpus: G.
        shard: S.
        engine_gpus: GPUs of one vLLM engine.
        sequences: Most answers that an engine decodes at once.
        cache_tokens: Tokens for which its cache has room.
        samples: Kept samples of a step.
        filtered: Whether dynamic sampling drops some.
        training_passes: How often a step's samples are trained on.
        updates: Optimizer updates of the policy in a step.
        critic_updates: The critic's.
        update_bytes: Bytes that an update of the policy moves per parameter (`update_bytes`).
        reference: Whether there is a KL term.
        prompt: Tokens of a prompt.
        saved_bytes: Bytes saved per step.
        validated: Answers of one validation.
        validations: Validations per step.
        adapters: P.
    """

    shape: Architecture
    critic: int
    card: Card
    gpus: int
    shard: int
    engine_gpus: int
    sequences: int
    cache_tokens: float
    samples: int
    filtered: bool
    training_passes: int
    updates: int
    critic_updates: int
    update_bytes: int
    reference: bool
    prompt: float
    saved_bytes: float
    validated: int
    validations: float
    adapters: int = 0

    def step(self, length: Length, speed: Speed) -> Step:
        """Seconds of a step with responses of a length.

        Generating and validating are `Engine.seconds` for an engine's share of the samples (and
        candidates). Passes take their operations / (G F utilisation): log-probabilities 2 N T, the
        reference's 2 N T, values 2 C T; training 8 N T and 8 C T (6 and the recomputed forward
        pass), under LoRA 6 N T + 8 P T, as frozen weights need no gradient, once for each of the
        training passes. Each update moves 28 N / S bytes of AdamW's state on every GPU (of SGD's 20
        or 12), under LoRA of P, one of the critic 28 C / S. Left out: attention's own operations,
        moving offloaded state, rewards, the start of a job.
        """
        parameters, tokens = self.shape.parameters, self.samples * (self.prompt + length.mean)
        engine = Engine(
            shape=self.shape,
            gpus=self.engine_gpus,
            card=self.card,
            sequences=self.sequences,
            cache_tokens=self.cache_tokens,
            efficiency=speed.decoding,
        )
        share = self.engine_gpus / self.gpus
        sampled = self.samples * (speed.candidates if self.filtered else 1)
        validation = engine.seconds(self.validated * share, self.prompt, length)
        rate = self.gpus * self.card.flops * speed.utilisation
        passes = (4 if self.reference else 2) * parameters + 2 * self.critic
        passed = 8 * (self.adapters + self.critic) + (6 if self.adapters else 8) * parameters
        state = self.update_bytes * self.updates * (self.adapters or parameters)
        state += update_bytes(ADAM_STATE_BYTES) * self.critic_updates * self.critic
        return Step(
            generating=engine.seconds(sampled * share, self.prompt, length),
            scoring=passes * tokens / rate,
            training=self.training_passes * passed * tokens / rate
            + state / self.shard / self.card.bandwidth,
            syncing=speed.sync * parameters,
            saving=self.saved_bytes / speed.disk,
            validating=self.validations * validation,
        )


def update_bytes(kept: int) -> int:
    """Bytes per parameter that an update moves: it reads state and gradient, and writes the state.

    Args:
        kept: Bytes of the state, which has the weight in it.
    """
    return 2 * kept + FLOAT_BYTES


def work_of(config: RunConfig) -> Work:
    """Return what a step of a configuration has to do."""
    trainer, algorithm, shape = config.trainer, config.algorithm, shape_of(config.model)
    return Work(
        shape=shape,
        critic=critic_count(shape, algorithm),
        card=card_of(trainer.gpu_memory_gib),
        gpus=trainer.nodes * trainer.gpus_per_node,
        shard=trainer.shard,
        engine_gpus=trainer.tensor_parallel,
        sequences=trainer.rollout_sequences,
        cache_tokens=memory(config).cache_tokens,
        samples=trainer.prompts_per_step * algorithm.group_size,
        filtered=algorithm.dynamic_sampling,
        training_passes=trainer.passes,
        updates=trainer.updates_per_rollout,
        critic_updates=trainer.critic_updates_per_rollout,
        update_bytes=update_bytes(state_bytes(config)),
        reference=algorithm.kl_loss_coef > 0 or algorithm.kl_reward_coef > 0,
        prompt=min(PROMPT_TOKENS, trainer.max_prompt_tokens),
        saved_bytes=save(config).bytes_per_step,
        validated=config.data.validation_problems * trainer.validation_samples,
        validations=_validations(config) / trainer.steps,
        adapters=adapter_count(shape, algorithm),
    )


def _validations(config: RunConfig) -> int:
    """Before the first step, at every `validate_every`-th and at the last."""
    steps, every = config.trainer.steps, config.trainer.validate_every
    return 0 if every is None else 1 + math.ceil(steps / every)


def response_tokens(config: RunConfig) -> Range:
    """Return the mean response in training, tokens."""
    tokens = mean_tokens(config.model.name, training_data(config))
    limit = config.trainer.max_response_tokens
    return Range(short_answers(tokens, limit).mean, long_answers(tokens, limit).mean)


def steps_of(config: RunConfig) -> tuple[Step, Step]:
    """Return the fast and the slow estimate of a step."""
    work, limit = work_of(config), config.trainer.max_response_tokens
    tokens = mean_tokens(config.model.name, training_data(config))
    return work.step(short_answers(tokens, limit), FAST), work.step(
        long_answers(tokens, limit), SLOW
    )


def training_hours(config: RunConfig) -> Range:
    """Return the hours from the first to the last training step, on all GPUs of the run."""
    fast, slow = steps_of(config)
    return Range(fast.total, slow.total).times(config.trainer.steps / 3600)
