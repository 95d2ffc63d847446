"""From `configs/` and the command line to a typed `RunConfig`; the only code that knows Hydra.

Below this nobody sees a DictConfig. Imports neither torch, verl nor vllm.
"""

import copy
import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.overrides import as_typed, below_null, key_of
from rlvr_dynamics.system.installation import HOME
from rlvr_dynamics.system.sealed import read_sealed_json

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONFIG_FOLDER = HOME / "configs"
_GIVEN = "given"  # name under which Hydra composes from a file of the user's


def experiments() -> list[str]:
    """Names that `+exp=` accepts."""
    return sorted(path.stem for path in (CONFIG_FOLDER / "exp").glob("*.yaml"))


def load(overrides: list[str]) -> RunConfig:
    """Compose the configuration and check it.

    Args:
        overrides: Hydra overrides such as ``+exp=demo`` or ``trainer.steps=20``. Without an
            ``exp`` the demo is taken.

    Raises:
        UserError: An unknown key, a wrong type or a value out of range; the message names the
            key, what was given and what is allowed.
    """
    if not any(item.lstrip("+").split("=")[0] == "exp" for item in overrides):
        overrides = ["+exp=demo", *overrides]
    overrides = ["+" + item if item.startswith("exp=") else item for item in overrides]
    return _validate(_resolved(_composed(overrides), overrides))


def load_file(path: Path, overrides: list[str]) -> RunConfig:
    """Load a whole configuration: what `--cfg` printed, or the config.json of a run directory.

    Args:
        path: The file, in JSON.
        overrides: What is different from it: keys, and whole groups such as ``scoring=cpu``, as
            their files have them.

    Raises:
        UserError: The file is no such configuration (the message names it and the key), or as for
            `load`.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    values = _recorded(path)
    groups = {folder.name for folder in CONFIG_FOLDER.iterdir() if folder.is_dir()}
    chosen: dict[str, str] = {}
    for item in overrides:
        group, _, name = item.lstrip("+").partition("=")
        if group not in groups:
            continue
        if group == "exp":
            way_out = "leave it out, or --config"
            raise UserError("a file holds a whole configuration", where=item, way_out=way_out)
        if not (CONFIG_FOLDER / group / f"{name}.yaml").is_file():
            raise _no_such_choice(group, name)
        chosen[group] = name
    if chosen:
        also = [f"+{group}@choices.{group}={name}" for group, name in chosen.items()]
        offered = _composed(also).choices
        values |= {group: OmegaConf.to_container(offered[group]) for group in chosen}
    ConfigStore.instance().store(_GIVEN, values)
    keys = [item for item in overrides if key_of(item) not in chosen]
    return _validate(_resolved(_composed(keys, _GIVEN), keys))


def _recorded(path: Path) -> dict[str, Any]:
    """Read a whole configuration from a file and check it."""
    way_out = "give what --cfg printed, or a run directory's config.json (edited: without its seal)"
    try:
        values = read_sealed_json(path)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"no configuration: {reason}", where=str(path), way_out=way_out) from error
    if "${" in json.dumps(values):
        raise UserError("a reference (${) in a whole configuration", where=str(path))
    try:
        _validate(values)
    except UserError as error:
        what = f"not a whole configuration: {error.what}"
        raise UserError(what, where=str(path), way_out=error.way_out or way_out) from error
    return values


def load_each(
    overrides: list[str], choices: list[Mapping[str, str]], values: list[Mapping[str, Any]]
) -> list[RunConfig]:
    """Load configurations that differ in a few groups and keys, from one composition.

    Gives what `load` gives for each, in a tenth of the time: Hydra works once, not once for each.

    Args:
        overrides: What they have in common; no ``exp`` is taken.
        choices: For each the name chosen in a group, such as ``{"model": "qwen3_4b"}``.
        values: For each the keys that are set after that, such as ``{"trainer.steps": 20}``.

    Raises:
        UserError: As for `load`.
    """
    from omegaconf import OmegaConf, open_dict

    wanted = sorted({pair for choice in choices for pair in choice.items()})
    also = [f"+{group}@choices.{group}.{name}={name}" for group, name in wanted]
    composed = _composed([*overrides, *also])
    with open_dict(composed):
        offered = composed.pop("choices", {})
    loaded = []
    for choice, keys in zip(choices, values, strict=True):
        made = copy.deepcopy(composed)
        for group, name in choice.items():
            made[group] = offered[group][name]
        for key, value in keys.items():
            OmegaConf.update(made, key, value)
        loaded.append(_validate(_resolved(made, overrides)))
    return loaded


def shell_completion(request: str) -> None:
    """Print what a shell needs to complete settings, or what may follow on its line (Hydra's).

    Args:
        request: `install=SHELL`, `uninstall=SHELL`, or `query=SHELL`, which reads COMP_LINE.

    Raises:
        UserError: There is no such request or shell.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        hydra: Any = GlobalHydra.instance().hydra
        try:
            hydra.shell_completion("config", [request])
        except (HydraException, OmegaConfBaseException):
            return  # what stands on the line is no setting yet
        except ValueError as error:
            raise UserError(
                "no such shell completion",
                where=request,
                way_out="install=bash, install=zsh or install=fish; uninstall= the same",
            ) from error


def _composed(overrides: list[str], name: str = "config") -> "DictConfig":
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    _check_words(overrides)
    if not CONFIG_FOLDER.is_dir():
        raise UserError(
            "the folder configs/ is missing",
            where=str(CONFIG_FOLDER),
            way_out="install the package again, or take a whole checkout",
        )
    try:
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            typed = [below_null(as_typed(item, RunConfig), RunConfig) for item in overrides]
            return compose(name, overrides=typed)
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error, overrides) from error
    except ValueError as error:
        if "Config group override" not in str(error):
            raise
        raise UserError(
            "a group of settings is chosen by a name, and not by a number or null",
            where=" ".join(overrides),
            way_out="--help lists the names; acceleration=none leaves jumps out",
        ) from error


def _check_words(overrides: list[str]) -> None:
    """Refuse words that are not settings, and settings of Hydra itself."""
    for item in overrides:
        key = item.lstrip("+~").partition("=")[0]
        if "=" not in item and not item.startswith("~"):
            raise UserError(f"{item!r} is not key=value", way_out="--help shows what is understood")
        if re.match(r"hydra\b", key):
            raise UserError(
                f"{key}: Hydra only composes the configuration here",
                where=item,
                way_out="run_dir=DIR says where everything goes",
            )


def _resolved(composed: "DictConfig", overrides: list[str]) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except InterpolationKeyError as error:
        raise _explain_reference(error, composed, overrides) from error
    except OmegaConfBaseException as error:
        raise _explain(error, overrides) from error
    if not isinstance(values, dict):
        raise TypeError("configs/config.yaml is not a mapping")
    return {str(key): value for key, value in values.items()}


def _explain_reference(error: Exception, composed: "DictConfig", overrides: list[str]) -> UserError:
    """A chosen group reads a section that another one does not have."""
    reads = re.search(r"Interpolation key '(\w+)\.(\w+)\.", str(error))
    reader = re.search(r"full_key: (\w+)", str(error))
    if reads is None or reader is None:
        return _explain(error, overrides)
    group, section = reads.groups()
    chosen = [item for item in overrides if item.startswith(f"{reader[1]}=")]
    name = composed[group].get("name", "")
    by = chosen[-1] if chosen else reader[1]
    return UserError(
        f"{group} {name} has no {section} section: {by} needs a {group} with one",
        way_out=f"choose another {group}=..., or another {reader[1]}=...",
    )


def _explain(error: Exception, overrides: list[str]) -> UserError:
    """Hydra's several lines about an override, as one that says what is allowed."""
    from hydra.errors import OverrideParseException

    text = str(error)
    if "--multirun" in text:
        swept = re.search(r"'([^']+)'", text)
        return UserError(
            f"{swept[1] if swept else text}: one value makes one run",
            way_out="a list is [A,B]; `python -m slurm submit CELL seed=0,1` makes several runs",
        )
    if isinstance(error, OverrideParseException):
        key, _, value = str(error.override).partition("=")
        return UserError(
            f"{key}: {value} cannot be read: {' '.join(text.splitlines()[0].split())}",
            way_out=f"""put quotes around the value, inside your shell's: '{key}="..."'""",
        )
    # The longest key first: a group's name is part of every key in it.
    for item in sorted(overrides, key=lambda each: -len(each.partition("=")[0])):
        key = item.lstrip("+~").split("=")[0]
        group, _, given = item.lstrip("+").partition("=")
        if f"'{group}/{given}'" in text and (CONFIG_FOLDER / group).is_dir():
            return _no_such_choice(group, given)
        if key in text and ("not in struct" in text or "Could not override" in text):
            return UserError(f"{key}: unknown key", where=item, way_out=_allowed(key))
    return UserError(" ".join(text.split()), where=" ".join(overrides))


def _no_such_choice(group: str, given: str) -> UserError:
    choices = sorted(path.stem for path in (CONFIG_FOLDER / group).glob("*.yaml"))
    close = difflib.get_close_matches(given, choices, n=3) or choices
    return UserError(f"{group}={given}: no such choice", way_out=f"allowed: {', '.join(close)}")


def _fields(location: tuple[Any, ...]) -> list[str]:
    """Keys that exist below a location of the configuration (union members together)."""
    models: list[Any] = [RunConfig]
    for part in location:
        found: list[Any] = []
        for model in models:
            field = model.model_fields.get(str(part))
            if field is not None:
                found += _models_in(field.annotation)
            elif model.__name__.endswith(("Model", "Data")):
                found.append(model)  # pydantic puts the union's tag into the location
        models = found or models
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _allowed(key: str) -> str:
    *parents, last = key.split(".")
    fields = _fields(tuple(parents))
    close = difflib.get_close_matches(last, fields, n=1)
    hint = f"did you mean {'.'.join([*parents, close[0]])}? " if close else ""
    return f"{hint}allowed: {', '.join(fields)}"


def _whole_group(key: str) -> str:
    """Say how to give a missing key a value: where nothing is chosen by default, by a choice."""
    group = key.partition(".")[0]
    names = {path.stem for path in (CONFIG_FOLDER / group).glob("*.yaml")}
    if "none" in names:
        return f"choose {group}=NAME first: {', '.join(sorted(names - {'none'}))}"
    return f"set it: {key}=..."


def _validate(values: dict[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        # A misspelt key also leaves the one that was meant missing.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        location = tuple(part for part in first["loc"] if part not in ("tiny", "hub", "arithmetic"))
        key = ".".join(str(part) for part in location) or "configuration"
        if first["type"] == "extra_forbidden":
            raise UserError(f"{key}: unknown key", way_out=_allowed(key)) from error
        if first["type"] == "missing":
            raise UserError(f"{key} has no value", way_out=_whole_group(key)) from error
        wanted = str(first.get("ctx", {}).get("error", "")) or first["msg"]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "value_error":
            raise UserError(f"{key}: {wanted}{more}") from error
        given = "" if isinstance(first["input"], dict) else f"given {first['input']!r}{more}"
        raise UserError(f"{key}: {given or wanted + more}", way_out=f"allowed: {wanted}") from error
