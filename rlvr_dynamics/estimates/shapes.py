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
