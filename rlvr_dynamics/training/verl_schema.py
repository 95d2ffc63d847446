"""Checks overrides against verl's configuration before Ray starts, without importing verl.

verl composes YAML files with Hydra and later builds dataclasses from part of the result. The files
define which keys exist; for added keys (``+key=``) the dataclasses are read from verl's source,
because verl silently accepts some wrong additions and fails on others minutes later.
"""

import ast
import copy
import difflib
import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

MAIN = "ppo_trainer"
DATACLASSES = ("workers/config", "trainer/config", "utils/profiler", "utils/skip", "base_config.py")
# Keys of verl that its V1 trainer never reads, where values are lost, and what to use instead; None
# if nothing does the same.
UNREAD: dict[str, str | None] = {
    "custom_reward_function": "reward.custom_reward_function",
    "reward_model": "reward.reward_model, reward.reward_manager or reward.num_workers",
    "sandbox_fusion": "reward.sandbox_fusion",
    "algorithm.filter_groups.max_num_gen_batches": "trainer.stall_timeout_seconds, which ends "
    "a step that draws for ever",
    "critic.ppo_max_token_len_per_gpu": "+critic.ppo_infer_max_token_len_per_gpu",
    "actor_rollout_ref.actor.grad_clip": "actor_rollout_ref.actor.optim.clip_grad",
    "critic.grad_clip": "critic.optim.clip_grad",
    "actor_rollout_ref.nccl_timeout": "a disk that takes the whole model within 30 minutes, "
    "PyTorch's limit, which this verl leaves as it is",
    "critic.nccl_timeout": "a disk that takes the whole model within 30 minutes, PyTorch's limit, "
    "which this verl leaves as it is",
    "critic.forward_max_token_len_per_gpu": "+critic.ppo_infer_max_token_len_per_gpu",
    "critic.forward_micro_batch_size": "+critic.ppo_infer_max_token_len_per_gpu",
    "critic.forward_micro_batch_size_per_gpu": "+critic.ppo_infer_max_token_len_per_gpu",
    "critic.ulysses_sequence_parallel_size": "critic.fsdp.ulysses_sequence_parallel_size",
    "actor_rollout_ref.actor.use_torch_compile": "actor_rollout_ref.actor.fsdp_config."
    "use_torch_compile",
    "actor_rollout_ref.ref.use_torch_compile": "actor_rollout_ref.ref.fsdp_config."
    "use_torch_compile",
    "actor_rollout_ref.rollout.do_sample": "trainer.temperature",
    "actor_rollout_ref.actor.use_prefix_grouper": None,
    "actor_rollout_ref.actor.freeze_vision_tower": None,
    "actor_rollout_ref.model.tiled_mlp": None,
    "critic.model.tiled_mlp": None,
    "actor_rollout_ref.rollout.over_sample_rate": None,
    "actor_rollout_ref.rollout.multi_stage_wake_up": None,
    "actor_rollout_ref.rollout.multi_turn.num_repeat_rollouts": None,
    "actor_rollout_ref.rollout.agent.custom_async_server": None,
    "data.return_raw_input_ids": None,
    "trainer.balance_batch": None,
    "trainer.esi_redundant_time": None,
    "trainer.ray_wait_register_center_timeout": None,
}
# Read by name from the plain configuration (DAPO's reward manager), not part of any dataclass.
OVERLONG = "reward.reward_kwargs.overlong_buffer_cfg"
READ_BY_NAME = (
    "reward.reward_kwargs.max_resp_len",
    *(f"{OVERLONG}.{part}" for part in ("enable", "len", "penalty_factor", "log")),
)
# Arguments of another library's function, which rejects unknown ones itself.
PASSED_ON = ("ray_kwargs.ray_init",)


def verl_folder() -> Path | None:
    """Return the folder of the installed verl, None if it is not installed."""
    spec = importlib.util.find_spec("verl")
    locations = spec.submodule_search_locations if spec else None
    return Path(locations[0]) if locations else None


def resolved(overrides: list[str]) -> dict[str, Any]:
    """Return verl's whole configuration under the overrides, with interpolations resolved.

    Args:
        overrides: As on the command line of `verl.trainer.main_ppo`.

    Returns:
        Nested plain values, as verl itself will print them.

    Raises:
        UserError: verl does not know, would ignore or cannot read an override; the message names
            the key and the closest existing one.
        ModuleNotFoundError: verl is not installed.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    folder = verl_folder()
    if folder is None:
        raise ModuleNotFoundError("verl is not installed")
    groups = {path.name for path in (folder / "trainer" / "config").iterdir() if path.is_dir()}
    parser, own, values = OverridesParser.create(), [], []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise UserError(
                "verl cannot read this override",
                where=text,
                way_out="KEY=VALUE; quote a value that holds =, commas or spaces: KEY='VALUE'",
            ) from error
        key = override.key_or_group
        chooses = override.package is not None or ("." not in key and key in groups)
        own.append(text) if chooses else values.append((text, override))
    composed = copy.deepcopy(_composed(folder, tuple(own)))
    for text, override in values:
        _apply(folder, composed, override, text)
    try:
        plain = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"verl's configuration: {' '.join(str(error).split())}") from error
    if not isinstance(plain, dict):
        raise TypeError("verl's configuration is not a mapping")
    return {str(key): value for key, value in plain.items()}


def check(overrides: list[str]) -> str:
    """Say in one line whether verl knows every override; raises what `resolved` raises.

    If verl is not installed, the line says that nothing could be checked.
    """
    if verl_folder() is None:
        return "verl is not installed here: its keys were not checked"
    resolved(overrides)
    return f"verl knows all {len(overrides)} overrides"


@lru_cache(maxsize=8)
def _composed(folder: Path, choices: tuple[str, ...]) -> "DictConfig":
    """Compose verl's configuration with its defaults, or with the given group choices."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    try:
        with initialize_config_dir(str(folder / "trainer" / "config"), version_base=None):
            return compose(MAIN, overrides=list(choices))
    except HydraException as error:
        raise UserError(" ".join(str(error).split()), where=" ".join(choices)) from error


def _apply(folder: Path, config: "DictConfig", override: Any, text: str) -> None:
    """Apply one override the way Hydra does."""
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    key = override.key_or_group
    for unread, instead in UNREAD.items():
        if key == unread or key.startswith(unread + "."):
            raise UserError(
                f"{key}: verl takes this key and never reads it",
                where=text,
                way_out=f"use {instead}" if instead else "leave it out",
            )
    there = _there(config, key)
    adds = override.is_add() or override.is_force_add()
    if not there and not adds:
        raise UserError(f"{key}: verl has no such key", where=text, way_out=_nearest(config, key))
    if there and override.is_add() and not isinstance(OmegaConf.select(config, key), _container()):
        raise UserError(f"{key}: verl has this key already", where=text, way_out="leave out the +")
    if not there:
        _check_addition(folder, config, key, text)
    try:
        if override.is_delete():
            parent, _, last = key.rpartition(".")
            node = OmegaConf.select(config, parent) if parent else config
            with open_dict(node):
                del node[last]
            return
        if override.is_sweep_override():
            raise UserError(
                f"{key}: several values, and a run needs one",
                where=text,
                way_out="quote a value that holds commas: KEY='A,B'",
            )
        OmegaConf.update(config, key, override.value(), merge=True, force_add=adds)
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: {' '.join(str(error).split())}", where=text) from error


def _container() -> tuple[type, ...]:
    from omegaconf import DictConfig, ListConfig

    return DictConfig, ListConfig


def _there(config: "DictConfig", key: str) -> bool:
    """Whether a key exists, even if its value is null or still missing."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, _container()[0]) or part not in node.keys():  # noqa: SIM118
            return False
        node = node._get_node(part)
    return True


def _deepest(config: "DictConfig", key: str) -> tuple[Any, list[str], list[str]]:
    """Return the deepest existing node of a key, the names leading to it and the new names."""
    parts, depth = key.split("."), 0
    node: Any = config
    while depth < len(parts) and _there(config, ".".join(parts[: depth + 1])):
        node = node._get_node(parts[depth])
        depth += 1
    return node, parts[:depth], parts[depth:]


def _check_addition(folder: Path, config: "DictConfig", key: str, text: str) -> None:
    """Reject a ``+key`` that nothing in verl would read."""
    node, parents, new = _deepest(config, key)
    parent = ".".join(parents)
    if key in READ_BY_NAME or parent in PASSED_ON or node._is_none():
        return
    if not isinstance(node, _container()[0]):
        raise UserError(f"{key}: {parent} holds a value, no keys", where=text)
    if parents and not len(node):  # an empty mapping in verl's files: arguments for others
        return
    known = _fields(folder, str(node.get("_target_", "")).rpartition(".")[2])
    if known is None:
        if _mentioned(folder, new[0]):
            return
    else:
        while new and new[0] in known:
            known, new = _fields(folder, known[new[0]]) or {}, new[1:]
            if not known:
                return
        if not new:
            return
    raise UserError(
        f"+{key}: verl reads no such key", where=text, way_out=_nearest(config, key, known or {})
    )


def _nearest(config: "DictConfig", key: str, more: dict[str, str] | None = None) -> str:
    """Return the closest existing key: a similar sibling, or else one of the same name."""
    node, parents, new = _deepest(config, key)
    added = difflib.get_close_matches(key, READ_BY_NAME, n=1, cutoff=0.8)
    if added:
        return f"did you mean +{added[0]}?"
    inside = isinstance(node, _container()[0]) and not node._is_none()
    beside = [str(name) for name in node if not str(name).startswith("_")] if inside else []
    close = difflib.get_close_matches(new[0], [*beside, *(more or ())], n=1) if new else []
    if close:
        missing = "" if close[0] in beside else "+"
        return f"did you mean {missing}{'.'.join([*parents, close[0]])}?"
    paths = _paths(config)
    same_name = [path for path in paths if path.rpartition(".")[2] == new[-1:][0]]
    near = difflib.get_close_matches(key, same_name, n=1, cutoff=0)
    near = near or difflib.get_close_matches(key, paths, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"{'.'.join(parents) or 'verl'} has: {', '.join(sorted(beside))}"


def _paths(config: Any, prefix: str = "") -> list[str]:
    found = []
    for name in config:
        child = config._get_node(str(name))
        found.append(f"{prefix}{name}")
        if isinstance(child, _container()[0]) and not child._is_none():
            found += _paths(child, f"{prefix}{name}.")
    return found


@lru_cache(maxsize=1)
def _classes(folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Map verl's configuration classes to (base names, annotations of their own fields)."""
    found = {}
    files = [
        file
        for place in DATACLASSES
        for file in ([folder / place] if place.endswith(".py") else (folder / place).glob("*.py"))
    ]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                fields = {
                    item.target.id: ast.unparse(item.annotation)
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                }
                found[node.name] = (bases, fields)
    return found


def _fields(folder: Path, annotation: str) -> dict[str, str] | None:
    """Return the fields of the configuration class named by an annotation, None if none is."""
    classes = _classes(folder)
    for name in re.findall(r"\w+", annotation):
        if name in classes:
            bases, own = classes[name]
            inherited: dict[str, str] = {}
            for base in bases:
                inherited |= _fields(folder, base) or {}
            return inherited | own
    return None


@lru_cache(maxsize=1)
def _source(folder: Path) -> str:
    return "\n".join(file.read_text(errors="replace") for file in folder.rglob("*.py"))


def _mentioned(folder: Path, key: str) -> bool:
    """Whether any line of verl reads a key of this name, as an attribute or as a string."""
    return bool(re.search(rf"\.{re.escape(key)}\b|[\"']{re.escape(key)}[\"']", _source(folder)))
