"""From `configs/` and the command line to a typed `RunConfig`; the only code that knows Hydra.

Below this nobody sees a DictConfig. Imports neither torch, verl nor vllm.
"""

import difflib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import RunConfig

CONFIG_FOLDER = Path(__file__).resolve().parent.parent / "configs"


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
    if not CONFIG_FOLDER.is_dir():
        raise UserError(
            "the folder configs/ is missing",
            where=str(CONFIG_FOLDER),
            way_out="install from a checkout with `pip install -e .`",
        )
    if not any(item.lstrip("+").split("=")[0] == "exp" for item in overrides):
        overrides = ["+exp=demo", *overrides]
    overrides = ["+" + item if item.startswith("exp=") else item for item in overrides]
    return _validate(_compose(overrides))


def _compose(overrides: list[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            composed = compose("config", overrides=overrides)
            values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error, overrides) from error
    if not isinstance(values, dict):
        raise TypeError("configs/config.yaml is not a mapping")
    return {str(key): value for key, value in values.items()}


def _explain(error: Exception, overrides: list[str]) -> UserError:
    """Hydra's several lines about an override, as one that says what is allowed."""
    text = str(error)
    for item in overrides:
        key = item.lstrip("+~").split("=")[0]
        group, _, given = item.lstrip("+").partition("=")
        if f"'{group}/{given}'" in text and (CONFIG_FOLDER / group).is_dir():
            choices = sorted(path.stem for path in (CONFIG_FOLDER / group).glob("*.yaml"))
            close = difflib.get_close_matches(given, choices, n=3) or choices
            return UserError(
                f"{group}={given}: no such choice", way_out=f"allowed: {', '.join(close)}"
            )
        if key in text and ("not in struct" in text or "Could not override" in text):
            return UserError(f"{key}: unknown key", where=item, way_out=_allowed(key))
    return UserError(" ".join(text.split()), where=" ".join(overrides))


def _fields(location: tuple[Any, ...]) -> list[str]:
    """Keys that exist below a location of the configuration (union members together)."""
    models: list[Any] = [RunConfig]
    for part in location:
        found: list[Any] = []
        for model in models:
            field = model.model_fields.get(str(part))
            if field is not None:
                found += _models_in(field.annotation)
            elif model.__name__ in ("TinyModel", "HubModel", "ArithmeticData", "HubData"):
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


def _validate(values: dict[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        location = tuple(part for part in first["loc"] if part not in ("tiny", "hub", "arithmetic"))
        key = ".".join(str(part) for part in location) or "configuration"
        if first["type"] == "extra_forbidden":
            raise UserError(f"{key}: unknown key", way_out=_allowed(key)) from error
        wanted = str(first.get("ctx", {}).get("error", "")) or first["msg"]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "value_error":
            raise UserError(f"{key}: {wanted}{more}") from error
        given = "" if isinstance(first["input"], dict) else f"given {first['input']!r}{more}"
        raise UserError(f"{key}: {given or wanted + more}", way_out=f"allowed: {wanted}") from error
