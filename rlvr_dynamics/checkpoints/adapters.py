"""Low-rank adapters of peft (LoRA, arXiv 2106.09685), read as changes of a base's tensors.

A changed matrix is W_0 + s B A with s = alpha / r, or alpha / sqrt(r) with rank stabilisation
(arXiv 2312.03732). Biases and full modules trained along with it replace the base's. Any other
variant is rejected by name. Nothing here needs torch.

Legend: m x n a weight as stored, r its rank, B of shape (m, r), A of shape (r, n).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.adapter_patterns import first_match
from rlvr_dynamics.checkpoints.header import NEW_COPY
from rlvr_dynamics.checkpoints.layout import Adapter, Change, Layout, Shard, TensorEntry
from rlvr_dynamics.checkpoints.matching import prefix_of
from rlvr_dynamics.checkpoints.shards import read_shard
from rlvr_dynamics.checkpoints.weight_files import ADAPTER, holds_weights
from rlvr_dynamics.checkpoints.wrappers import unwrapped
from rlvr_dynamics.errors import UserError

CONFIG = "adapter_config.json"
_MERGE = "merge it with peft's merge_and_unload(), save each step whole, and give those"
_PREFIX = "base_model.model."
# Settings that change neither what is stored nor what it means.
_HARMLESS = {
    *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path"),
    *("revision", "inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha"),
    *("lora_dropout", "fan_in_fan_out", "bias", "use_rslora", "modules_to_save"),
    *("init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern"),
    *("alpha_pattern", "megatron_config", "megatron_core", "loftq_config", "eva_config"),
    *("corda_config", "lora_ga_config", "qalora_group_size", "runtime_config", "lora_bias"),
    "ensure_weight_tying",
}
# Other initialisations (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) also change the base, and that change
# is not stored.
_STARTS_AT_BASE = (True, False, None, "true", "false", "gaussian", "eva", "orthogonal")


@dataclass
class _Parts:
    """Tensors of one module of an adapter, by role."""

    low_rank: dict[str, TensorEntry] = field(default_factory=dict)
    bias: TensorEntry | None = None


def read_adapter(folder: Path, base: Layout) -> Adapter:
    """Read what an adapter changes; headers and settings only.

    Raises:
        UserError: A file is missing or damaged, the kind of adapter is not supported, or it does
            not fit the base.
    """
    if holds_weights(folder):
        raise UserError(
            "whole weights and an adapter in one folder; which of them is the step is not clear",
            where=str(folder),
            way_out="move one of them away",
        )
    settings = _settings(folder)
    shard = read_shard(folder / ADAPTER)
    for name, entry in shard.others.items():
        raise UserError(
            f"tensor {name} of the adapter "
            + ("has no elements: a placeholder of ZeRO-3" if not entry.numel else entry.dtype),
            where=str(folder / ADAPTER),
            way_out="gather the adapter when it is saved, and save it in float32 or bfloat16",
        )
    modules, replaced = _sorted_by_module(shard, folder)
    wanted = {f"{module}.weight" for module in modules} | replaced.keys()
    old, new = prefix_of(wanted, base.home.keys()) or ("", "")
    changes: dict[str, Change] = {}
    for name, entry in replaced.items():
        name = new + name.removeprefix(old)
        _check_fits(name, entry.shape, base, folder)
        changes[name] = Change(replacement=entry)
    for module, parts in modules.items():
        name = new + module.removeprefix(old)
        scale = _add_low_rank(name, module, parts, settings, base, folder, changes)
        if parts.bias is not None:
            _check_fits(f"{name}.bias", parts.bias.shape, base, folder)
            change = changes.setdefault(f"{name}.bias", Change())
            change.addition, change.scale = parts.bias, scale
    if not changes:
        raise UserError("an adapter without tensors", where=str(folder), way_out=NEW_COPY)
    return Adapter(
        path=folder / ADAPTER,
        settings=folder / CONFIG,
        changes=changes,
        size=shard.size,
        ties=bool(settings.get("ensure_weight_tying")),
    )


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"an adapter without its {CONFIG}: its scale is not known",
            where=str(folder),
            way_out=f"put {CONFIG} beside {ADAPTER}",
        )
    try:
        settings = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"damaged {CONFIG}", where=str(path), way_out=NEW_COPY) from error
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise UserError(
            f"an adapter of type {kind}; only LORA is read", where=str(path), way_out=_MERGE
        )
    if settings.get("use_dora"):
        raise UserError("a DoRA adapter; only LoRA is read", where=str(path), way_out=_MERGE)
    start = settings.get("init_lora_weights", True)
    if start not in _STARTS_AT_BASE:
        raise UserError(
            f"init_lora_weights={start!r}: such a training starts from another base, which it "
            "changes at its start",
            where=str(path),
            way_out="convert the adapter to plain LoRA when saving "
            "(path_initial_model_for_weight_conversion), or " + _MERGE,
        )
    for key, value in settings.items():
        if key not in _HARMLESS and value:
            raise UserError(
                f"an adapter with {key}={json.dumps(value)[:60]}, which is not read",
                where=str(path),
                way_out=_MERGE,
            )
    alpha = settings.get("lora_alpha")
    if not _is_number(alpha) or alpha == 0:
        raise UserError(
            f"lora_alpha is {alpha!r}, so the adapter's scale is not known (verl's merger writes 0 "
            "where it does not know it)",
            where=str(path),
            way_out="set it to what the training used",
        )
    for key in ("rank_pattern", "alpha_pattern"):
        given = settings.get(key) or {}
        if not isinstance(given, dict) or not all(map(_is_number, given.values())):
            raise UserError(f"damaged {CONFIG}: {key}", where=str(path), way_out=NEW_COPY)
        settings[key] = given
    return settings


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _sorted_by_module(
    shard: Shard, folder: Path
) -> tuple[dict[str, _Parts], dict[str, TensorEntry]]:
    """Split an adapter's tensors into low-rank parts by module and replacement tensors."""
    modules: dict[str, _Parts] = {}
    replaced: dict[str, TensorEntry] = {}
    for stored, plain in unwrapped(shard.entries).items():
        parts = plain.removeprefix(_PREFIX).split(".")
        at = next((i for i, part in enumerate(parts) if part.startswith("lora_")), None)
        entry = shard.entries[stored]
        if at is None:
            if "modules_to_save" in parts:
                place = parts.index("modules_to_save")
                del parts[place : place + (2 if len(parts) - place > 2 else 1)]
            replaced[".".join(part for part in parts if part != "base_layer")] = entry
            continue
        kind, rest = parts[at], parts[at + 1 :]
        mine = modules.setdefault(
            ".".join(part for part in parts[:at] if part != "base_layer"), _Parts()
        )
        known = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B")
        if kind not in known or len(rest) > 2:
            what = "DoRA" if "magnitude" in kind else kind
            raise UserError(
                f"an adapter with {what} ({stored}), which is not read",
                where=str(folder / ADAPTER),
                way_out=_MERGE,
            )
        if rest[-1:] == ["bias"]:
            mine.bias = entry
        else:
            mine.low_rank[kind.removeprefix("lora_")] = entry
    return modules, replaced


def _add_low_rank(
    name: str,
    module: str,
    parts: _Parts,
    settings: Mapping[str, Any],
    base: Layout,
    folder: Path,
    changes: dict[str, Change],
) -> float:
    """Add a module's low-rank product to `changes` and return its scale."""
    embedding = "embedding_A" in parts.low_rank
    keys = ("embedding_A", "embedding_B") if embedding else ("A", "B")
    if parts.low_rank.keys() != set(keys):
        raise UserError(
            f"the adapter has only part of {module}: {', '.join(sorted(parts.low_rank))}",
            where=str(folder / ADAPTER),
            way_out=NEW_COPY,
        )
    a, b = (parts.low_rank[key] for key in keys)
    asked = first_match(settings["rank_pattern"], module, settings.get("r"), folder / CONFIG)
    rank = a.shape[0] if len(a.shape) == len(b.shape) == 2 else 0
    if not rank or b.shape[1] != rank or rank != asked:
        raise UserError(
            f"the adapter of {module} is {b.shape} times {a.shape}, and its settings say rank "
            f"{asked}",
            where=str(folder),
            way_out=f"give the {CONFIG} of this adapter; convolutions are not read",
        )
    alpha = first_match(settings["alpha_pattern"], module, settings["lora_alpha"], folder / CONFIG)
    scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    weight = f"{name}.weight"
    plain, flipped = (b.shape[0], a.shape[1]), (a.shape[1], b.shape[0])
    shape = base.entry(weight).shape if weight in base.home else plain
    turned = shape == flipped and (
        shape != plain or embedding or bool(settings.get("fan_in_fan_out"))
    )
    _check_fits(weight, flipped if turned else plain, base, folder)
    change = changes.setdefault(weight, Change())
    change.left, change.right = (a, b) if turned else (b, a)
    change.transposed, change.scale = turned, scale
    return scale


def _check_fits(name: str, shape: tuple[int, ...], base: Layout, folder: Path) -> None:
    if name not in base.home:
        raise UserError(
            f"the adapter changes {name}, which is not a tensor of the base",
            where=f"{folder} and {base.folder}",
            way_out="give the base that this run started from; adapters of experts that are stored "
            "as one tensor, and of a head tied to the embedding, are read only when merged",
        )
    if base.entry(name).shape != shape:
        raise UserError(
            f"the adapter's change of {name} is {shape}, and the base's tensor is "
            f"{base.entry(name).shape}",
            where=f"{folder} and {base.folder}",
            way_out="give the base that this run started from, its vocabulary resized as in it",
        )
