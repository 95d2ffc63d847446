"""What a tensor's name says: its layer, its module, and whether the papers analyse it.

Source of the selection: AlphaRL (arXiv 2510.00553) takes every two-dimensional weight of the
attention and MLP blocks and leaves embeddings, head, norms and biases alone.
"""

import re
from collections.abc import Sequence

HEAD = "lm_head.weight"
EMBEDDING_SUFFIX = "embed_tokens.weight"
ATTENTION_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP_PROJECTIONS = ("gate_proj", "up_proj", "gate_up_proj", "down_proj")  # GLM-4 fuses the first two

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_BLOCK_MATRIX = re.compile(
    r"(?:^|\.)(?:layers|h|blocks)\.\d+\.(?:self_attn|attention|attn|mlp)\.(?:.+\.)?\w+\.weight$"
)
_MLP = re.compile(r"(?:^|\.)mlp\.")


def layer_of(name: str) -> float:
    """Return the layer number of a tensor, NaN when it belongs to no layer.

    A float, because tables keep missing values as NaN.
    """
    found = _LAYER.search(name)
    return float(found.group(1)) if found else float("nan")


def module_of(name: str) -> str:
    """Return the last module of a name: `q_proj`, `input_layernorm`, `q_proj.bias`, ..."""
    parts = name.split(".")
    if parts[-1] == "weight" and len(parts) > 1:
        return parts[-2]
    return ".".join(parts[-2:])


def is_mlp(name: str) -> bool:
    """Return whether a tensor belongs to an MLP block, whatever its family calls the parts."""
    return _MLP.search(name) is not None


def is_block_matrix(name: str, shape: Sequence[int]) -> bool:
    """Return whether the tensor is a matrix of an attention or MLP block."""
    return len(shape) == 2 and _BLOCK_MATRIX.search(name) is not None
