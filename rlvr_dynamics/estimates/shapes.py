"""How large a model is: its shapes and what an element of it takes."""

from rlvr_dynamics.schema import Algorithm, Architecture, HubModel, TinyModel
from rlvr_dynamics.training.tiny_base import architecture

GIB = 2**30

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "fp32": 4, "bf16": 2, "fp16": 2}
BETWEEN_STEPS_BYTES = 12  # float32 weight and Adam's two moments; also what a saved state holds


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


def pinned_share(shape: Architecture, shard: int) -> float:
    """How much page-locked host memory float32 weights of S GPUs take, of what they hold.

    A GPU's part of each matrix (rows / S, rounded up) is one block, and PyTorch's allocator of
    page-locked memory rounds blocks up to powers of two (CachingHostAllocator). Between 1 and
    about 2; vectors are left out.
    """
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    gate_up = (
        [(2 * shape.intermediate, shape.hidden)]
        if shape.family == "glm4"
        else 2 * [(shape.intermediate, shape.hidden)]
    )
    layer = [(q, shape.hidden), (kv, shape.hidden), (kv, shape.hidden), (shape.hidden, q)]
    layer += [*gate_up, (shape.hidden, shape.intermediate)]
    ends = (1 if shape.tied else 2) * [(shape.vocabulary, shape.hidden)]
    held = blocks = 0
    for rows, columns in shape.layers * layer + ends:
        part = 4 * -(-rows // shard) * columns
        held += part
        blocks += 1 << (part - 1).bit_length()
    return blocks / held
