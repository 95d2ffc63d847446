"""How large a model is: its shapes and what an element of it takes."""

from rlvr_dynamics.schema import Algorithm, Architecture, HubModel, RunConfig, TinyModel
from rlvr_dynamics.schema.optimizers import optimizer_keys
from rlvr_dynamics.training.tiny_base import architecture

GIB = 2**30

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "fp32": 4, "bf16": 2, "fp16": 2}
FLOAT_BYTES = 4
ADAM_STATE_BYTES = 3 * FLOAT_BYTES  # weight and both moments, of the critic and most policies
FROZEN_BYTES = FLOAT_BYTES  # of a weight under LoRA, which no optimizer moves and no state holds


def state_bytes(config: RunConfig) -> int:
    """Bytes per parameter that training keeps of the policy between steps, and saves: p.

    The float32 weight with both moments of AdamW, or the one buffer of SGD's momentum; without
    momentum torch's SGD keeps none. An optimizer that is not known here counts as AdamW.
    """
    found = optimizer_keys(config.algorithm, config.trainer.verl_overrides)
    if found is None or found.name == "adamw":
        return ADAM_STATE_BYTES
    return FLOAT_BYTES * (1 + (found.betas[0] > 0.0))


def critic_count(shape: Architecture, algorithm: Algorithm) -> int:
    """C, the elements of PPO's critic: the decoder with one output; 0 without a critic."""
    if algorithm.critic is None:
        return 0
    head = 0 if shape.tied else shape.vocabulary * shape.hidden
    return shape.parameters - head + shape.hidden + 1


def adapter_count(shape: Architecture, algorithm: Algorithm) -> int:
    """P, the elements of LoRA's adapters: r (m + n) for each m x n matrix; 0 without LoRA."""
    if algorithm.lora is None:
        return 0
    chosen = algorithm.lora.layers_of(shape.family)
    each = sum(sum(sizes) for name, sizes in shape.matrices.items() if name in chosen)
    return shape.layers * algorithm.lora.rank * each


def shape_of(model: TinyModel | HubModel) -> Architecture:
    """The shapes of a model of a configuration."""
    if model.kind == "hub":
        return model.architecture
    return architecture(model)


def pinned_share(shape: Architecture, shard: int) -> float:
    """How much page-locked host memory float32 weights of S GPUs take, of what they hold.

    A GPU's part of each matrix (rows / S, rounded up) is one block, and PyTorch's allocator of
    page-locked memory rounds blocks up to powers of two (CachingHostAllocator). Between 1 and
    about 2; vectors are left out.
    """
    ends = (1 if shape.tied else 2) * [(shape.vocabulary, shape.hidden)]
    held = blocks = 0
    for rows, columns in shape.layers * [*shape.matrices.values()] + ends:
        part = 4 * -(-rows // shard) * columns
        held += part
        blocks += 1 << (part - 1).bit_length()
    return blocks / held
