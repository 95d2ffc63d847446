"""What a tensor's name alone tells: its module, and which part of a layer it belongs to.

Which tensors are matrices of a layer is decided in `checkpoints.structure`.
"""

import re

HEAD = "lm_head.weight"
EMBEDDING_MODULES = (
    *("embed_tokens", "wte", "word_embeddings", "word_embedding", "embed_in", "tok_embeddings"),
    *("tokens_embed", "token_embedding", "token_embeddings", "embeddings", "embedding", "embed"),
    *("input_embedding", "shared"),
)
HEAD_MODULES = (
    *("lm_head", "embed_out", "output", "output_layer", "output_projection", "proj_out", "head"),
    *("unembed", "unembedding"),
)
ATTENTION_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP_PROJECTIONS = ("gate_proj", "up_proj", "gate_up_proj", "down_proj")  # GLM-4 fuses the first two

_NORM = re.compile(r"norm|(?:^|_)ln(?:_|\d|$)|(?:^|_)rms", re.IGNORECASE)
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_MLP = re.compile(r"mlp|feed_?forward|ffn|expert|moe|dense_?relu_?dense", re.IGNORECASE)
_MLP_PROJECTION = re.compile(
    r"(?:gate_|up_|down_|gate_up_)proj|fc\d?|fc_(?:in|out)|c_fc|w[123]|dense_h_to_4h|dense_4h_to_h"
)
_ATTENTION_PROJECTION = re.compile(r"(?:[qkvo]|qkv)_proj|query_key_value|wqkv|w[qkvo]", re.I)


def module_of(name: str) -> str:
    """Return the last module of a name: `q_proj`, `input_layernorm`, `q_proj.bias`, ..."""
    parts = name.split(".")
    if parts[-1] == "weight" and len(parts) > 1:
        return parts[-2]
    return ".".join(parts[-2:])


def modules_of(name: str) -> list[str]:
    """Return all modules that contain a tensor, outermost first, and the parameter's own name.

    `weight` and `bias` are not modules.
    """
    parts = name.split(".")
    return parts[:-1] if len(parts) > 1 and parts[-1] in ("weight", "bias") else parts


def is_norm(name: str) -> bool:
    """Return whether a tensor belongs to a normalisation layer, by its module's name."""
    return _NORM.search(modules_of(name)[-1]) is not None


def part_of(name: str) -> str:
    """Return which part of a layer a matrix belongs to, for any family's naming.

    Args:
        name: The tensor, or one matrix of it (`...experts.down_proj[3]`).

    Returns:
        `attention`, `mlp`, or `mixer` for anything else, such as a state space model.
    """
    modules = modules_of(name.partition("[")[0])
    for part, block in (("attention", _ATTENTION), ("mlp", _MLP)):
        if any(block.search(module) for module in modules):
            return part
    for part, projection in (("attention", _ATTENTION_PROJECTION), ("mlp", _MLP_PROJECTION)):
        if projection.fullmatch(modules[-1]):
            return part
    return "mixer"
