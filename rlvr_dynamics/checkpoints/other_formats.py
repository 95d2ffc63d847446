"""Recognise unsupported weight formats and say how to convert them to safetensors.

Opening a pickle runs code, so nothing here opens one: formats are recognised by file names.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from rlvr_dynamics.errors import UserError

_DEEPEST = 3
_SHOWN = 5
_MOST = 2000
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_MERGE = "python -m verl.model_merger merge --backend {backend} --local_dir {place} --target_dir "


def _verl_shards(path: Path) -> tuple[str, str]:
    place = path.parent
    command = _MERGE.format(backend="fsdp", place=place) + str(place / "huggingface")
    return (
        f"verl's unmerged shards ({path.name}), which run code when they are opened",
        f"merge them yourself: {command} (it writes bfloat16, which hides small updates), or "
        "train with hf_model in actor.checkpoint.save_contents",
    )


def _verl_megatron(path: Path) -> tuple[str, str]:
    place = path.parent.parent
    command = _MERGE.format(backend="megatron", place=place) + str(place / "huggingface")
    return (
        f"a distributed checkpoint of Megatron ({path.name})",
        f"merge it, if verl wrote it: {command}; otherwise with the converter of the tool that did",
    )


def _distributed(path: Path) -> tuple[str, str]:
    place = path.parent
    return (
        f"a distributed checkpoint of PyTorch ({path.name}), one part per process",
        f"merge it: accelerate merge-weights {place} {place / 'merged'}, or the converter of the "
        "tool that wrote it (NeMo-RL: convert_dcp_to_hf.py)",
    )


def _deepspeed(path: Path) -> tuple[str, str]:
    place = path.parent.parent
    return (
        f"DeepSpeed's ZeRO states ({path.name}), which run code when they are opened",
        f"gather them yourself: python {place / 'zero_to_fp32.py'} {place} {place} "
        "--safe_serialization",
    )


def _megatron(path: Path) -> tuple[str, str]:
    return (
        f"a checkpoint of Megatron ({path.name})",
        "convert it to a Hugging Face folder with the converter of the tool that wrote it",
    )


def _gguf(path: Path) -> tuple[str, str]:
    return f"a quantised GGUF file ({path.name})", "give the unquantised safetensors of this model"


def _mistral(path: Path) -> tuple[str, str]:
    return (
        f"weights in Mistral's own naming ({path.name})",
        "give the Hugging Face version of this model, which has model.safetensors; or save it "
        "again with transformers",
    )


def _adapter(path: Path) -> tuple[str, str]:
    return (
        f"an adapter ({path.name}) and not a whole model",
        "give whole weights here; adapters are read as steps of source.checkpoints",
    )


_KINDS: tuple[tuple[str, Callable[[Path], tuple[str, str]]], ...] = (
    (r"model_world_size_\d+_rank_\d+\.pt", _verl_shards),
    (r"dist_ckpt/[^/]+\.distcp", _verl_megatron),
    (r"[^/]+\.distcp", _distributed),
    (r"[^/]*(model|optim)_states\.pt", _deepspeed),
    (r"mp_rank_\d+(_\d+)*/[^/]+\.pt|common\.pt", _megatron),
    (r"[^/]+\.gguf", _gguf),
    (r"consolidated[^/]*\.safetensors", _mistral),
    (r"adapter_model\.(safetensors|bin)", _adapter),
)


def refuse_unreadable(folder: Path) -> None:
    """Raise an error that says what a folder without readable weights holds and what to do.

    Raises:
        UserError: Always.
    """
    files = _files_below(folder)
    for pattern, describe in _KINDS:
        for path in files:
            if re.search(rf"(?:^|/)(?:{pattern})$", path.as_posix()):
                what, way_out = describe(path)
                raise UserError(
                    f"no readable weights here, but {what}", where=str(folder), way_out=way_out
                )
    for path in files:
        if path.parent == folder and path.suffix in _PICKLED:
            raise UserError(
                f"only safetensors is read, and this folder has {path.name}: such files run code "
                "when they are opened",
                where=str(folder),
                way_out="convert it: AutoModelForCausalLM.from_pretrained(folder)"
                ".save_pretrained(folder, safe_serialization=True)",
            )
    for path in files:
        if path.parent == folder and path.suffix == ".safetensors":
            raise _weights_under_another_name(path)
    present = sorted(path.name for path in folder.iterdir())
    if not present:
        raise UserError(
            "empty checkpoint folder", where=str(folder), way_out="check the path that you gave"
        )
    inner = [path for path in sorted(folder.glob("snapshots/*")) if path.is_dir()]
    way_out = "point at the folder that holds the safetensors files"
    raise UserError(
        "not a checkpoint folder: neither model.safetensors nor model.safetensors.index.json, but "
        f"{', '.join(present[:_SHOWN])}",
        where=str(folder),
        way_out=f"{way_out}: {inner[0]}" if inner else way_out,
    )


def _weights_under_another_name(path: Path) -> UserError:
    if not path.exists():
        return UserError(
            f"{path.name} is a link to {os.readlink(path)}, which is not there",
            where=str(path.parent),
            way_out="fetch the model again, or copy the folder with the files that its links name "
            "(cp -rL)",
        )
    return UserError(
        f"no weights under a name that is read, but {path.name}",
        where=str(path.parent),
        way_out=f"if it holds the whole model, rename it to model.safetensors; if {path.name} is "
        "one of several, number them model-00001-of-0000N.safetensors",
    )


def _files_below(folder: Path) -> list[Path]:
    """Return the files up to three levels down, nearest first, at most a few thousand."""
    found: list[Path] = []
    level = [folder]
    for _ in range(_DEEPEST + 1):
        below: list[Path] = []
        for place in level:
            for path in sorted(place.iterdir()):
                if path.is_dir():
                    below += [] if path.is_symlink() else [path]
                elif len(found) < _MOST:
                    found.append(path)
        level = below
    return found
