"""How large a model is, and what training it needs: memory, disk and time from its shapes.

Pure functions of the configuration. Parameters and disk are exact counts; memory is a sum of its
known large parts, with an allowance for the rest; GPU-hours rest on assumed lengths and
utilisations, named below, and are good to a factor of about two.

Legend: N parameters, C parameters of PPO's critic, L layers, h hidden size, V vocabulary,
S GPUs that share one copy of the training state, tokens of one pass = longest prompt + response.
"""

from dataclasses import dataclass

from rlvr_dynamics.schema import Algorithm, Architecture, HubModel, RunConfig, TinyModel
from rlvr_dynamics.training.tiny_base import architecture

GIB = 2**30

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "fp32": 4, "bf16": 2}
BETWEEN_STEPS_BYTES = 12  # float32 weight and Adam's two moments; also what a saved state holds
IN_STEP_BYTES = 16  # and the float32 gradient
LOGIT_BYTES = 8  # logits, the same over the temperature, log-softmax and gradient, 2 bytes each
RESERVED_BYTES = 6 * GIB  # CUDA context, NCCL buffers, what the allocator cannot use
ENGINE_BYTES = 2 * GIB  # vLLM's own activations and captured graphs, inside its share

PEAK_FLOPS = 989e12  # bfloat16, dense, of an H100 or H800 (the manufacturer's figure)
TRAINING_UTILISATION = 0.35  # assumed
ROLLOUT_UTILISATION = 0.10  # assumed: decoding is bound by memory, and waits for the longest answer
RESPONSE_SHARE = 0.25  # assumed mean length of a response, of the longest allowed
PROMPT_SHARE = 0.10  # the same for a prompt
CANDIDATES = 2.0  # assumed samples per kept sample under dynamic sampling; AlphaRL allows up to 3


def critic_count(shape: Architecture, algorithm: Algorithm) -> int:
    """C, the elements of PPO's critic: the decoder with one output; 0 without a critic."""
    if algorithm.critic is None:
        return 0
    head = 0 if shape.tied else shape.vocabulary * shape.hidden
    return shape.parameters - head + shape.hidden + 1


def shape_of(model: TinyModel | HubModel) -> Architecture:
    """The shapes of a model of a configuration."""
    if model.kind == "hub":
        return model.architecture
    return architecture(model)


@dataclass(frozen=True)
class Memory:
    """Bytes that training with verl needs, per GPU, and on the host per node.

    Attributes:
        state: Float32 weights, gradients and both moments of the actor: 16 N / S.
        critic: What PPO's critic adds to it at the actor's peak: 12 C / S; with offloading 0.
        gathered: Two layers, embedding and head as FSDP gathers them, and one layer's gradient.
        activations: Inputs of all layers that gradient checkpointing keeps (2 bytes each,
            tokens x h x L), and the inner values of the one layer that is computed again.
        logits: 8 bytes x tokens x V.
        between: State of actor and critic while vLLM generates: 12 (N + C) / S; offloaded 0.
        rollout: vLLM's share of the card: weights, cache and its own activations.
        cache_tokens: Tokens for which the cache inside that share has room, in one engine.
        host: On a node: offloaded state, the reference model (verl keeps it there, float32), and
            the float32 weights that are gathered for a checkpoint.
    """

    state: int
    critic: int
    gathered: int
    activations: int
    logits: int
    between: int
    rollout: int
    cache_tokens: int
    host: int

    @property
    def training(self) -> int:
        """Peak of a training pass."""
        parts = self.state + self.critic + self.gathered + self.activations + self.logits
        return parts + RESERVED_BYTES

    @property
    def generating(self) -> int:
        """Peak while vLLM generates."""
        return self.between + self.rollout + RESERVED_BYTES


def memory(config: RunConfig) -> Memory:
    """Estimate the memory of training on GPUs (FSDP with float32 weights, gradient checkpointing).

    Without the optimizer's and vLLM's own small buffers, for which `RESERVED_BYTES` and
    `ENGINE_BYTES` stand.
    """
    trainer, algorithm, shape = config.trainer, config.algorithm, shape_of(config.model)
    actor, critic, layer = shape.parameters, critic_count(shape, algorithm), shape.layer_parameters
    compute = DTYPE_BYTES[trainer.precision]
    tokens = trainer.max_prompt_tokens + trainer.max_response_tokens
    embeddings = (1 if shape.tied else 2) * shape.vocabulary * shape.hidden
    inner = 6 * shape.hidden + 2 * (shape.heads + shape.kv_heads) * shape.head_dim
    inner += 4 * shape.intermediate
    held = 0 if trainer.offload else 1
    rollout = int(trainer.rollout_memory_share * trainer.gpu_memory_gib * GIB)
    room = rollout - ENGINE_BYTES - compute * actor // trainer.tensor_parallel
    cached = 2 * compute * shape.layers * shape.kv_heads * shape.head_dim / trainer.tensor_parallel
    on_node = min(1.0, trainer.gpus_per_node / trainer.shard)
    reference = actor if algorithm.kl_loss_coef > 0 or algorithm.kl_reward_coef > 0 else 0
    offloaded = (1 - held) * BETWEEN_STEPS_BYTES * (actor + critic)
    copies = max(1, trainer.gpus_per_node // trainer.shard)
    return Memory(
        state=IN_STEP_BYTES * actor // trainer.shard,
        critic=held * BETWEEN_STEPS_BYTES * critic // trainer.shard,
        gathered=compute * (3 * layer + embeddings),
        activations=compute * tokens * (shape.hidden * shape.layers + inner),
        logits=LOGIT_BYTES * tokens * shape.vocabulary,
        between=held * BETWEEN_STEPS_BYTES * (actor + critic) // trainer.shard,
        rollout=rollout,
        cache_tokens=max(0, int(room / cached)),
        host=int((offloaded + 4 * reference) * on_node * copies) + 4 * actor,
    )


def misfits(config: RunConfig) -> list[str]:
    """Say why training will not fit into trainer.gpu_memory_gib; empty when the estimate fits."""
    need, trainer = memory(config), config.trainer
    card = trainer.gpu_memory_gib * GIB
    longest = trainer.max_prompt_tokens + trainer.max_response_tokens
    found = []
    if need.training > card:
        found.append(
            f"a training pass needs {need.training / GIB:.0f} GiB on each GPU of "
            f"{trainer.gpu_memory_gib}: more GPUs in trainer.shard, or a shorter "
            "trainer.max_response_tokens"
        )
    if need.generating > card:
        found.append(
            f"generating needs {need.generating / GIB:.0f} GiB on each GPU of "
            f"{trainer.gpu_memory_gib}: a smaller trainer.rollout_memory_share, or "
            "trainer.offload=true"
        )
    if need.cache_tokens < longest:
        found.append(
            f"vLLM's cache has room for {need.cache_tokens:,} tokens, fewer than one prompt and "
            f"response ({longest:,}): a larger trainer.rollout_memory_share or "
            "trainer.tensor_parallel"
        )
    return found


@dataclass(frozen=True)
class Disk:
    """Bytes that a run writes.

    Attributes:
        base: The model before training, N in the checkpoints' dtype.
        checkpoints: One per step, N in the checkpoints' dtype each.
        states: For a resume: 12 (N + C) for each kept state and the one being written, from every
            copy of the training state, as each GPU saves its part; where checkpoints are bfloat16
            also the float32 copy of N that verl saves first.
        predictions: N in the checkpoints' dtype for each predicted and rebuilt step.
        directions: N in float32 where measure.directions asks for them.
    """

    base: int
    checkpoints: int
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
        return self.base + self.training + self.predictions + self.directions


def disk(config: RunConfig) -> Disk:
    """Count the weights on disk of the stages that a configuration asks for."""
    shape, trainer = shape_of(config.model), config.trainer
    weights, critic = shape.parameters, critic_count(shape, config.algorithm)
    width = DTYPE_BYTES[trainer.checkpoint_dtype]
    gathered = 4 * weights if width < 4 else 0
    copies = trainer.nodes * max(trainer.gpus_per_node, 1) // trainer.shard
    states = BETWEEN_STEPS_BYTES * (weights + critic) * (trainer.keep_optimizer_states + 1) * copies
    published = config.source.published
    fetches = "train" in config.stages and published is not None and not published.stream
    fetched = len(published.steps) if fetches and published is not None else 0
    steps = trainer.steps if config.trains else fetched
    predicted = prediction_count(config) if "extrapolate" in config.stages else 0
    return Disk(
        base=width * weights if "prepare" in config.stages else 0,
        checkpoints=width * weights * steps,
        states=states + gathered if config.trains else 0,
        predictions=width * weights * predicted,
        directions=4 * weights if config.measure.directions and "measure" in config.stages else 0,
    )


def prediction_count(config: RunConfig) -> int:
    """Predicted and rebuilt steps, each a whole model on disk; in short runs some coincide."""
    settings = config.extrapolation
    predicted = sum(
        len(method.variants)
        * len(method.windows or settings.windows)
        * len(method.targets or settings.targets)
        for method in settings.methods
    )
    return predicted + sum(len(each.targets) for each in settings.reconstructions)


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
