"""What a file in `configs/exp` predicts and scores, read without composing the configuration."""

from typing import Any

import yaml

from rlvr_dynamics.config import CONFIG_FOLDER


def declared(name: str, section: str) -> dict[str, Any]:
    """Return a section of `+exp=NAME`, as `rlvr_dynamics.config.load` does.

    Args:
        name: A file in `configs/exp`.
        section: A section that is a config group, such as `extrapolation` or `scoring`.
    """
    chosen = _read("exp", name)
    group = _chosen(_read("", "config")["defaults"], section)
    group = _chosen(chosen.get("defaults", ()), f"override /{section}") or group
    return _group(section, str(group)) | chosen.get(section, {})


def _chosen(defaults: Any, key: str) -> str | None:
    found = [each[key] for each in defaults if isinstance(each, dict) and key in each]
    return found[0] if found else None


def _group(section: str, name: str) -> dict[str, Any]:
    """Return a file of a group, merged with the files of the group that it builds on."""
    own = _read(section, name)
    values: dict[str, Any] = {}
    for base in own.pop("defaults", ()):
        if base != "_self_":
            values |= _group(section, base)
    return values | own


def _read(group: str, name: str) -> dict[str, Any]:
    path = CONFIG_FOLDER / group / f"{name}.yaml"
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
