"""A tiny trajectory to publish on the loopback hub, and a base that can be queried."""

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from tests.support.small_models import save_model

SHAPES = {
    "model.embed_tokens.weight": (40, 16),
    "model.layers.0.self_attn.q_proj.weight": (16, 16),
    "model.layers.0.self_attn.q_proj.bias": (16,),
    "model.layers.0.mlp.down_proj.weight": (16, 24),
    "model.layers.0.input_layernorm.weight": (16,),
    "model.norm.weight": (16,),
}
REPO, BASE = "relex/tiny-rlvr", "relex/tiny-base"


def tensors_of(step, dtype, rows=40):
    base = _draw(0, rows)
    direction, noise = _draw(1, rows), _draw(100 + step, rows)
    return {
        name: (base[name] + 1e-2 * step * (direction[name] + 0.1 * noise[name])).to(dtype)
        for name in SHAPES
    }


def _draw(seed, rows):
    generator = torch.Generator().manual_seed(seed)
    shapes = SHAPES | {"model.embed_tokens.weight": (rows, 16)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def write_trajectory(folder, steps, dtype=torch.float32, shards=2, rows=40):
    """Write `base` and `step_N` in a folder."""
    save_model(folder / "base", tensors_of(0, dtype, rows))
    write_tokenizer(folder / "base")
    for step in steps:
        save_model(folder / f"step_{step}", tensors_of(step, dtype, rows), shards=shards)


def write_tokenizer(folder):
    words = Tokenizer(WordLevel({"<end>": 0, "<unknown>": 1, "one": 2}, unk_token="<unknown>"))  # noqa: S106
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>")  # noqa: S106
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(folder)


def change(folder, seed):
    """Save other weights into a step's folder."""
    generator = torch.Generator().manual_seed(seed)
    file = folder / "model.safetensors"
    save_file({name: torch.randn(SHAPES[name], generator=generator) for name in SHAPES}, file)
