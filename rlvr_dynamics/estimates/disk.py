"""Weights on disk, counted from the shapes.

Legend: N parameters, P of LoRA's adapters, C parameters of PPO's critic, p bytes of a policy's
parameter in a saved state (`state_bytes`): 12 with AdamW, 8 or 4 with SGD.
"""

from dataclasses import dataclass

from rlvr_dynamics.estimates.shapes import (
    ADAM_STATE_BYTES,
    DTYPE_BYTES,
    adapter_count,
    critic_count,
    shape_of,
    state_bytes,
)
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.model_id import BASE, LOGITS, REAL
from rlvr_dynamics.scoring.sizes import planned_models

# Bytes per second, assumed: a shared file system under load, and a local NVMe disk or a parallel
# file system. One process that writes a model alone is rarely faster.
SLOW_DISK, FAST_DISK = 0.5e9, 2e9
# What the other processes wait for the first one to write the model: verl 0.9.1 opens its process
# groups without a limit of its own, their barrier is gloo's ("cpu:gloo,cuda:nccl"), and PyTorch's
# default for it is 30 minutes.
WAIT_SECONDS = 1800
# Of a checkpoint, with a delta against the base every 16 steps: measured where 4 to 8 % of the
# bfloat16 values change in a step, and rounded up.
DELTA_SHARE = {"bfloat16": 0.08, "float32": 0.6}
WAIT_MARGIN = 2  # of the rate, for gathering the weights and for a disk that others use too


@dataclass(frozen=True)
class Disk:
    """Bytes that a run writes.

    Attributes:
        base: The model before training, N in the checkpoints' dtype.
        checkpoints: One per step, N in the checkpoints' dtype each; as deltas `DELTA_SHARE` of it,
            and two whole ones while training.
        unpacked: As deltas, the steps that are scored, N in the checkpoints' dtype each.
        states: For a resume: p N + 12 C for each kept state and the one being written, or for as
            many as the steps have, from every copy of the training state, as each GPU saves its
            part; where checkpoints are bfloat16 also the float32 copy of N that verl saves first.
            Under LoRA P in place of N, and the adapters that verl saves first.
        predictions: N in the checkpoints' dtype for each predicted and rebuilt step.
        directions: N in float32 where measure.directions asks for them.
    """

    base: int
    checkpoints: int
    unpacked: int
    states: int
    predictions: int
    directions: int

    @property
    def training(self) -> int:
        """The train stage alone."""
        return self.checkpoints + self.states

    @property
    def total(self) -> int:
        """All stages together; tables and answers are negligible and not counted."""
        weights = self.base + self.unpacked + self.predictions + self.directions
        return self.training + weights


@dataclass(frozen=True)
class Save:
    """Bytes that verl writes after a step, while training waits.

    Attributes:
        weights: The gathered model, 4 N, which rank 0 writes alone; every step. Under LoRA the
            adapters, 4 P.
        state: For a resume: p N + 12 C from every copy of the training state, each rank its part;
            under LoRA p P + 12 C.
        every: Steps from one state to the next.
    """

    weights: int
    state: int
    every: int

    @property
    def bytes_per_step(self) -> float:
        """Mean over the steps."""
        return self.weights + self.state / self.every

    @property
    def least_rate(self) -> float:
        """Bytes per second that the disk must take from one process, or training is ended."""
        return WAIT_MARGIN * self.weights / WAIT_SECONDS

    def seconds_per_step(self, rate: float) -> float:
        """Mean time of saving where the disk takes `rate` bytes per second."""
        return self.bytes_per_step / rate


def save(config: RunConfig) -> Save:
    """Count what verl writes after a step.

    The copy in the checkpoints' dtype, or with adapters merged, is left out: it is made beside the
    next step.
    """
    shape, trainer = shape_of(config.model), config.trainer
    weights = adapter_count(shape, config.algorithm) or shape.parameters
    critic = critic_count(shape, config.algorithm)
    copies = trainer.nodes * max(trainer.gpus_per_node, 1) // trainer.shard
    anchor = 0 if config.acceleration is None else 4 * weights
    return Save(
        weights=4 * weights,
        state=(state_bytes(config) * weights + ADAM_STATE_BYTES * critic + anchor) * copies,
        every=trainer.save_state_every,
    )


def disk(config: RunConfig) -> Disk:
    """Count the weights on disk of the stages that a configuration asks for."""
    shape, trainer = shape_of(config.model), config.trainer
    weights = shape.parameters
    width = DTYPE_BYTES[trainer.checkpoint_dtype]
    rewritten = width < 4 or config.algorithm.lora is not None
    gathered = save(config).weights if rewritten else 0
    saved = trainer.steps // trainer.save_state_every
    states = save(config).state * min(trainer.keep_optimizer_states + 1, saved)
    published = config.source.published
    fetches = "train" in config.stages and published is not None and not published.stream
    fetched = len(published.steps) if fetches and published is not None else 0
    steps = trainer.steps if config.trains else fetched
    predicted = prediction_count(config) if "extrapolate" in config.stages else 0
    deltas = (config.trains or fetches) and trainer.keep == "deltas"
    kept = steps * DELTA_SHARE[trainer.checkpoint_dtype] + 2 if deltas else steps
    real = {model.step for model in planned_models(config) if model.method == REAL}
    scored = len(real) if deltas and "score" in config.stages else 0
    return Disk(
        base=width * weights if "prepare" in config.stages else 0,
        checkpoints=round(width * weights * kept),
        unpacked=width * weights * scored,
        states=states + gathered if config.trains else 0,
        predictions=width * weights * predicted,
        directions=4 * weights if config.measure.directions and "measure" in config.stages else 0,
    )


def prediction_count(config: RunConfig) -> int:
    """Predicted and rebuilt steps, each a whole model on disk; of a grid every candidate."""
    variants = {method.title: len(method.variants) for method in config.extrapolation.methods}
    return sum(
        variants.get(model.method, 1)
        for model in planned_models(config)
        if model.method not in (BASE, LOGITS, REAL)
    )
