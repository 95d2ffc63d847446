"""Tiny trajectories on disk with known weights, for the tests of the extrapolators."""

import json

import torch
from safetensors.torch import load_file, save_file

from rlvr_dynamics.checkpoints import Trajectory, write_manifest

NORM = "model.norm.weight"
UP = "model.layers.0.mlp.up_proj.weight"
SHAPES = {
    "model.embed_tokens.weight": (9, 6),
    "model.layers.0.self_attn.q_proj.weight": (6, 6),
    UP: (10, 6),
    "model.layers.0.mlp.down_proj.weight": (6, 10),
    NORM: (6,),
}


def gaussian(seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }


def build(root, weights, dtype=torch.float32, tied=True):
    """Save the weights of steps 0 (the base), 1, 2, ... given as {step: tensors}."""
    for step, tensors in weights.items():
        folder = root / ("base" if step == 0 else f"checkpoints/step_{step}")
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
        rounded = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        save_file(rounded, folder / "model.safetensors")
        write_manifest(folder, step, "test")
    return Trajectory.open(root / "base", root / "checkpoints", allow_gaps=True)


def block_matrices(trajectory):
    """Return the names of the tensors that are or contain matrices of the layers."""
    return [name for name in trajectory.names if trajectory.structure.matrices_of(name)]


def on_a_line(steps, slope=2.0**-9):
    """Move every weight on its own line, in powers of two so that float32 is exact."""
    base = {name: (tensor * 8).round() / 8 for name, tensor in gaussian(0).items()}
    direction = {name: (tensor * 4).round() for name, tensor in gaussian(1).items()}
    return {
        step: {name: base[name] + slope * step * direction[name] for name in base}
        for step in (0, *steps)
    }


def wandering(steps):
    """Return a line plus noise plus a random walk."""
    weights, walk = {0: gaussian(0)}, gaussian(1)
    for step in steps:
        noise = gaussian(100 + step)
        walk = {name: walk[name] + 0.3 * noise[name] for name in walk}
        weights[step] = {name: weights[0][name] + 0.01 * step * walk[name] for name in walk}
    return weights


def load(prediction):
    return load_file(prediction.folder / "model.safetensors")


def stack(weights, name, steps):
    return torch.stack([(weights[step][name] - weights[0][name]).reshape(-1) for step in steps])


def accuracies(steps):
    """Return rising accuracies for steps, enough for any method that needs them."""
    return {step: 0.9 - 0.6 * 0.9**step for step in steps}


def run(method, trajectory, observe, targets, out, **settings):
    """Run a method, with accuracies if it needs them, and networks that learn only a little."""
    if method.needs_accuracy:
        settings.setdefault("accuracy", accuracies(trajectory.steps))
    if "epochs" in method.parameters:
        settings.setdefault("epochs", 20)
    return method.run(trajectory, observe, targets, out, **settings)
