"""Memory of training with verl, on the GPUs and on the host, and whether it fits.

Legend: N parameters, C parameters of PPO's critic, L layers, h hidden size, V vocabulary,
S GPUs that share one copy of the training state, tokens of one pass = longest prompt + response.
"""

from dataclasses import dataclass

from rlvr_dynamics.estimates.shapes import (
    BETWEEN_STEPS_BYTES,
    DTYPE_BYTES,
    GIB,
    critic_count,
    shape_of,
)
from rlvr_dynamics.schema import RunConfig

IN_STEP_BYTES = 16  # float32 weight, both moments of Adam and the float32 gradient
LOGIT_BYTES = 8  # logits, the same over the temperature, log-softmax and gradient, 2 bytes each
RESERVED_BYTES = 6 * GIB  # CUDA context, NCCL buffers, what the allocator cannot use
ENGINE_BYTES = 2 * GIB  # vLLM's own activations and captured graphs, inside its share


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
