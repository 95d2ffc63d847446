"""`key=value` as a shell passes it, in Hydra's grammar.

Hydra gives `=`, commas, brackets, `#`, `~` and letters beyond ASCII a meaning of their own. Where a
key holds text (a path, a name, a pattern) what was typed is the value, as it stands.
"""

import re
import shlex
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from rlvr_dynamics.system.command_line import unquoted

_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")
_ESCAPED = re.compile(r"\\([\\()\[\]{}:=, \t])")  # what Hydra lets a backslash stand before


def quoted(value: object) -> str:
    """A value as Hydra's grammar reads it back: quoted where it holds more than plain letters."""
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return "'" + re.sub(r"(\\*)('|$)", _doubled, text, flags=re.DOTALL) + "'"


def _doubled(found: re.Match[str]) -> str:
    # Before a quote, and at the end, backslashes count twice.
    return found[1] * 2 + ("\\'" if found[2] else "")


def key_of(override: str) -> str:
    """The key of `key=value`, also with `+` or `~` in front."""
    return override.lstrip("+~").partition("=")[0]


def changed(command: str, values: Mapping[str, object]) -> str:
    """A command with other values of some keys, in their old place or at its end.

    Args:
        command: As it was typed.
        values: By key; one with None is left out.
    """
    parts, left = [], dict(values)
    for part in shlex.split(command):
        key = key_of(part)
        if "=" not in part or key not in values:
            parts.append(part)
        elif (value := left.pop(key, None)) is not None:
            parts.append(f"{key}={value}")
    return shlex.join(
        parts + [f"{key}={value}" for key, value in left.items() if value is not None]
    )


def as_typed(override: str, config: type[BaseModel]) -> str:
    """An override whose value Hydra reads as it was typed, where the key holds text.

    Quotes, and backslashes before what Hydra gives a meaning, are read as Hydra reads them;
    `${...}` stays a reference.

    Args:
        override: `key=value`, also with `+` in front.
        config: The typed configuration, which says what a key holds.
    """
    key, equals, value = override.partition("=")
    if not equals or key.startswith("~") or unquoted(value) != value:
        return override
    holds_text = str in _kinds(key.lstrip("+").split("."), [config])
    if not holds_text or value.strip().lower() == "null":
        return override
    text = quoted(_ESCAPED.sub(r"\1", value))
    # A number, `true` and the like would be read as what they look like.
    in_quotes = text if text.startswith("'") else f"'{text}'"
    return f"{key}={in_quotes}"


def _kinds(path: list[str], annotations: list[Any]) -> list[Any]:
    """What stands at a dotted key: types, unions taken apart; empty for an unknown key."""
    found = [kind for annotation in annotations for kind in _members(annotation)]
    if not path:
        return found
    below = []
    for kind in found:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(path[0])
            below += [] if field is None else [field.annotation]
        elif get_origin(kind) is dict:
            below.append(get_args(kind)[1])
    return _kinds(path[1:], below)


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for each in get_args(annotation) for kind in _members(each)]
    return [annotation]
