"""Synthetic training runs: safetensors folders with tensor names and shapes of a small Qwen2.

The updates imitate reinforcement learning with float32 master weights, saved in bf16: a direction
that drifts with the step (rank one in every matrix) plus a random walk, both so small that most
elements round back to their old value. Norm weights are near 1, where bf16 is too coarse for them
to move at all. `pace` scales all updates, and with them the share that changes in a step.

Legend: T steps, d elements of one tensor.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.stored_values import raw_bytes, write_at

WEIGHT_SCALE = 0.02  # standard deviation of the base weights, as Qwen2 initialises them
DRIFT = 3e-5  # root mean square of the drift at the last written step, as |W_T - W_0| in real runs
WALK = 1.5e-5  # root mean square of the random walk at the last written step


@dataclass(frozen=True)
class Size:
    """Widths of a Qwen2-like model with a tied head."""

    vocabulary: int
    hidden: int
    layers: int
    key_value: int
    intermediate: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor names and shapes, in file order."""
        h, k, i = self.hidden, self.key_value, self.intermediate
        found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocabulary, h)}
        for layer in range(self.layers):
            block = {
                "input_layernorm.weight": (h,),
                "mlp.down_proj.weight": (h, i),
                "mlp.gate_proj.weight": (i, h),
                "mlp.up_proj.weight": (i, h),
                "post_attention_layernorm.weight": (h,),
                "self_attn.k_proj.bias": (k,),
                "self_attn.k_proj.weight": (k, h),
                "self_attn.o_proj.weight": (h, h),
                "self_attn.q_proj.bias": (h,),
                "self_attn.q_proj.weight": (h, h),
                "self_attn.v_proj.bias": (k,),
                "self_attn.v_proj.weight": (k, h),
            }
            found |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
        return found | {"model.norm.weight": (h,)}

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(math.prod(shape) for shape in self.shapes.values())


SIZES = {
    "100K": Size(vocabulary=512, hidden=64, layers=2, key_value=16, intermediate=144),
    "10M": Size(vocabulary=8192, hidden=256, layers=8, key_value=64, intermediate=1024),
    "100M": Size(vocabulary=32768, hidden=768, layers=10, key_value=128, intermediate=2560),
}


@dataclass(frozen=True)
class Files:
    """A base and its steps on disk.

    Attributes:
        root: Folder with everything.
        size: Key in `SIZES`.
        written: Number of steps with distinct bytes.
        changed_share: Share of the elements that differ from the base, at the last written step.
        step_share: Share that differs from the step before, mean over the written steps.
    """

    root: Path
    size: str
    written: int
    changed_share: float
    step_share: float

    @property
    def base(self) -> Path:
        """Folder of the model before training."""
        return self.root / "base"

    @property
    def file_bytes(self) -> int:
        """Bytes of one checkpoint's weight file."""
        return (self.base / "model.safetensors").stat().st_size

    def paths(self, last: int) -> list[Path]:
        """Return weight files of the base and of the distinct steps up to `last`."""
        folders = [self.base, *(self.root / f"step_{n}" for n in range(1, self.written + 1))]
        return [folder / "model.safetensors" for folder in folders[: last + 1]]

    def checkpoints(self, last: int) -> Path:
        """Return a folder with exactly the steps 1 to `last`, made of hard links.

        Steps after the last written one repeat the written ones from the first: page cache and disk
        see the same bytes again, but the arithmetic costs as much as with distinct bytes.
        """
        folder = self.root / f"first_{last}"
        for step in range(1, last + 1):
            source = self.root / f"step_{(step - 1) % self.written + 1}"
            target = folder / f"step_{step}"
            if not target.exists():
                target.mkdir(parents=True)
                for path in source.iterdir():
                    os.link(path, target / path.name)
        return folder


def write_files(root: Path, size: str, written: int, seed: int, pace: float = 1.0) -> Files:
    """Write a base and its steps, or return them if the same ones already exist.

    Only one tensor is in memory at a time. The walk's increments are rotations of one Gaussian draw
    per tensor, so a step costs as little as an addition and increments are nearly orthogonal.

    Args:
        root: Folder for the files.
        size: Key in `SIZES`.
        written: Number of steps.
        seed: Seed of all draws.
        pace: Factor of all updates.
    """
    shapes = SIZES[size].shapes
    asked = {"size": size, "written": written, "seed": seed, "pace": pace}
    asked["widths"] = asdict(SIZES[size])
    finished = root / "files.json"
    if finished.exists():
        known = json.loads(finished.read_text())
        if {key: known.get(key) for key in asked} == asked:
            return Files(root, size, written, known["changed_share"], known["step_share"])
    header, places = header_of(shapes)
    changed = stepped = 0
    with ExitStack() as stack:
        files: list[int] = []
        for name in ("base", *(f"step_{step}" for step in range(1, written + 1))):
            folder = root / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(
                json.dumps({"model_type": "qwen2", "tie_word_embeddings": True})
            )
            file = stack.enter_context((folder / "model.safetensors").open("wb"))
            file.write(header)
            file.flush()
            files.append(file.fileno())
        for index, (name, shape) in enumerate(shapes.items()):
            base = before = torch.empty(0)
            made = _tensor(name, shape, written, seed, index, pace)
            for file, values in zip(files, made, strict=True):
                base, before = (values, values) if file == files[0] else (base, before)
                write_at(file, raw_bytes(values), len(header) + places[name])
                stepped += int((values != before).sum())
                before = values
                if file == files[-1]:
                    changed += int((values != base).sum())
    shares = {
        "changed_share": changed / SIZES[size].parameters,
        "step_share": stepped / SIZES[size].parameters / written,
    }
    finished.write_text(json.dumps({**asked, **shares}))
    return Files(root, size, written, **shares)


def header_of(shapes: dict[str, tuple[int, ...]]) -> tuple[bytes, dict[str, int]]:
    """Return the header of a safetensors file of bf16 tensors, and their places behind it."""
    entries: dict[str, Any] = {}
    places: dict[str, int] = {}
    offset = 0
    for name, shape in shapes.items():
        places[name] = offset
        end = offset + 2 * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, places


def _tensor(
    name: str, shape: tuple[int, ...], written: int, seed: int, index: int, pace: float
) -> Iterator[Tensor]:
    """Yield the values of one tensor in bf16, flattened: the base, then every step."""
    generator = torch.Generator().manual_seed(seed * 100_003 + index)
    d = math.prod(shape)
    base = torch.randn(d, generator=generator).mul_(WEIGHT_SCALE)
    if name.endswith("norm.weight"):
        base.add_(1.0)
    rounded = base.to(torch.bfloat16)
    yield rounded
    latent = base.copy_(rounded)  # training starts from the base as stored
    noise = torch.randn(d, generator=generator).mul_(pace * WALK / math.sqrt(written))
    direction = torch.ones(())
    for length in shape:
        direction = direction[..., None] * torch.randn(length, generator=generator)
    direction = direction.reshape(-1).mul_(pace * DRIFT / written)
    shifts = torch.randint(0, d, (written,), generator=generator).tolist()
    lengths = (1.0 + 0.2 * torch.randn(written, generator=generator)).tolist()
    for shift, length in zip(shifts, lengths, strict=True):
        latent.add_(direction, alpha=length)
        latent[:shift].add_(noise[d - shift :])
        latent[shift:].add_(noise[: d - shift])
        yield latent.to(torch.bfloat16)
