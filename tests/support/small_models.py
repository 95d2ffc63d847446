"""Random models of a few kilobytes, as stored on disk."""

import json

import torch
from safetensors.torch import save_file

from rlvr_dynamics.checkpoints import write_manifest

EMBEDDING = "model.embed_tokens.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
SHAPES = {
    EMBEDDING: (11, 8),
    QUERY: (8, 8),
    "model.layers.0.self_attn.q_proj.bias": (8,),
    "model.layers.0.mlp.down_proj.weight": (8, 12),
    "model.layers.0.input_layernorm.weight": (8,),
    "model.norm.weight": (8,),
}


def random_tensors(seed, dtype=torch.float32, shapes=SHAPES):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()
    }


def save_model(folder, tensors, *, shards=1, tie=True, manifest_step=None):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": tie}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        names, weight_map = list(tensors), {}
        for number in range(shards):
            file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
            mine = names[number::shards]
            save_file({name: tensors[name] for name in mine}, folder / file)
            weight_map |= dict.fromkeys(mine, file)
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    if manifest_step is not None:
        write_manifest(folder, manifest_step, "test")
    return folder
