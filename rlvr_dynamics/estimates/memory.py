"""Memory of training with verl, on the GPUs and on the host, and whether it fits.

Legend: N parameters, P of LoRA's adapters, C parameters of PPO's critic, L layers, h hidden size,
V vocabulary, S GPUs that share one copy of the training state, tokens of one pass
(`Trainer.tokens_per_pass`), p bytes of a policy's parameter between steps (`state_bytes`): 12 with
AdamW, 8 or 4 with SGD.
"""

from dataclasses import dataclass

from rlvr_dynamics.estimates.shapes import (
    ADAM_STATE_BYTES,
    DTYPE_BYTES,
    FLOAT_BYTES,
    FROZEN_BYTES,
    GIB,
    adapter_count,
    critic_count,
    pinned_share,
    shape_of,
    state_bytes,
)
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.training.verl_command import without_flash_attention

LOGIT_COPIES = 2  # logits and their gradient; flash-attn's cross entropy makes no other
MORE_LOGIT_COPIES = 2  # without it log-softmax and its gradient; with an entropy bonus its own two
REDUCED_BYTES = 4  # the float32 copy of a gradient that is reduced over the GPUs
RESERVED_BYTES = 6 * GIB  # CUDA contexts, NCCL buffers, what the allocator cannot use
ENGINE_BYTES = 2 * GIB  # vLLM's own activations and captured graphs; it keeps them while asleep
SPARE_BYTES = 2 * GIB  # left free on the card: the estimate's own error


@dataclass(frozen=True)
class Memory:
    """Bytes that training with verl needs, per GPU, and on the host per node.

    Attributes:
        state: Float32 weights, gradients and what the optimizer keeps of the actor: (p + 4) N / S;
            under LoRA (4 N + (p + 4) P) / S, as only the adapters have more than weights.
        critic: What PPO's critic adds to it at the actor's peak: 12 C / S; with offloading 0.
        gathered: Two layers, embedding and head as FSDP gathers them, and the gradient of the
            larger of a layer and the head, as computed and in the float32 in which it is reduced;
            under LoRA the gradient of a layer's adapters.
        activations: Inputs of all layers that gradient checkpointing keeps (2 bytes each,
            tokens x h x L), and the inner values of the one layer that is computed again; those of
            adapters, r for each of its matrices, are left out.
        logits: 2 copies of tokens x V; 2 more without flash-attn and 2 with an entropy bonus, one
            more at a temperature other than 1.
        between: State of actor and critic while vLLM generates: (p N + 12 C) / S, under LoRA
            (4 N + p P + 12 C) / S; offloaded 0.
        rollout: vLLM's share of the card: weights, cache and its own activations.
        cache_tokens: Tokens for which the cache inside that share has room, in one engine.
        host: On a node: offloaded state and the reference model (verl keeps it there, float32),
            both page-locked, and whole models in float32: the one that the first rank gathers for
            a checkpoint, or those that are loaded at the start. With a tied head verl loads one in
            every process (`_build_module` of its FSDP engine takes no meta device then), otherwise
            one for each copy of the training state. Under LoRA the policy without adapters is the
            reference, and the base that is copied while merged weights are sent is no larger than
            the models loaded at the start. The anchor of jumps is one more copy of what is trained.
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
        return parts + ENGINE_BYTES + RESERVED_BYTES

    @property
    def generating(self) -> int:
        """Peak while vLLM generates."""
        return self.between + self.rollout + RESERVED_BYTES


def memory(config: RunConfig) -> Memory:
    """Estimate the memory of training on GPUs (FSDP with float32 weights, gradient checkpointing).

    Without the optimizer's and vLLM's own small buffers, for which `RESERVED_BYTES` and
    `ENGINE_BYTES` stand. vLLM holds nothing on the host: verl starts it with random weights, sends
    the trained ones through buffers of 2 GiB, and lets it drop them while training.
    """
    trainer, algorithm, shape = config.trainer, config.algorithm, shape_of(config.model)
    actor, critic, layer = shape.parameters, critic_count(shape, algorithm), shape.layer_parameters
    adapters = adapter_count(shape, algorithm)
    trained, frozen = (adapters, FROZEN_BYTES * actor) if adapters else (actor, 0)
    between = frozen + state_bytes(config) * trained + ADAM_STATE_BYTES * critic
    compute, tokens = DTYPE_BYTES[trainer.precision], trainer.tokens_per_pass
    head = shape.vocabulary * shape.hidden
    inner = 6 * shape.hidden + 2 * (shape.heads + shape.kv_heads) * shape.head_dim
    inner += 4 * shape.intermediate
    held = 0 if trainer.offload else 1
    rollout = int(trainer.rollout_memory_share * trainer.gpu_memory_gib * GIB)
    room = rollout - ENGINE_BYTES - compute * actor // trainer.tensor_parallel
    cached = 2 * compute * shape.layers * shape.kv_heads * shape.head_dim / trainer.tensor_parallel
    return Memory(
        state=(frozen + in_step_bytes(config) * trained) // trainer.shard,
        critic=held * ADAM_STATE_BYTES * critic // trainer.shard,
        gathered=compute * (2 * layer + (1 if shape.tied else 2) * head)
        + (compute + REDUCED_BYTES) * (adapters // shape.layers if adapters else max(layer, head)),
        activations=compute * tokens * (shape.hidden * shape.layers + inner),
        logits=_logit_copies(config) * compute * tokens * shape.vocabulary,
        between=held * between // trainer.shard,
        rollout=rollout,
        cache_tokens=max(0, int(room / cached)),
        host=_host(config, between),
    )


def in_step_bytes(config: RunConfig) -> int:
    """Bytes per parameter of the policy in a step: its state and the float32 gradient."""
    return state_bytes(config) + FLOAT_BYTES


def _logit_copies(config: RunConfig) -> int:
    plain, bonus = without_flash_attention(config.trainer), config.algorithm.entropy_coef > 0
    scaled = config.trainer.temperature != 1  # divided by it into a copy
    return LOGIT_COPIES + MORE_LOGIT_COPIES * (plain + bonus) + scaled


def _host(config: RunConfig, state: int) -> int:
    trainer, algorithm, shape = config.trainer, config.algorithm, shape_of(config.model)
    on_node = min(1.0, trainer.gpus_per_node / trainer.shard)
    copies = max(1, trainer.gpus_per_node // trainer.shard)
    actor, has_kl = shape.parameters, algorithm.kl_loss_coef > 0 or algorithm.kl_reward_coef > 0
    reference = actor if has_kl and algorithm.lora is None else 0
    offloaded = state if trainer.offload else 0
    trained = adapter_count(shape, algorithm) or actor
    anchor = 0 if config.acceleration is None else 4 * trained
    pinned = (offloaded + 4 * reference) * pinned_share(shape, trainer.shard)
    whole = trainer.gpus_per_node if shape.tied else copies
    return int((pinned + anchor) * on_node * copies) + 4 * actor * max(1, whole)


def misfits(config: RunConfig) -> list[str]:
    """Say why training will not fit into trainer.gpu_memory_gib with `SPARE_BYTES` to spare.

    Empty when the estimate fits.
    """
    need, trainer = memory(config), config.trainer
    card = trainer.gpu_memory_gib * GIB - SPARE_BYTES
    longest = trainer.longest_sample
    found = []
    if need.training > card:
        shorter = "trainer.max_response_tokens"
        if trainer.tokens_per_pass > longest:
            shorter = "trainer.micro_batch_tokens"
        found.append(
            f"a training pass needs {need.training / GIB:.0f} GiB on each GPU of "
            f"{trainer.gpu_memory_gib}: more GPUs in trainer.shard, or a smaller {shorter}"
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
