"""Convert `key=value` as a shell passes it to Hydra's grammar.

Hydra treats `=`, commas, brackets, `#`, `~` and non-ASCII letters specially. If a key holds text (a
path, a name, a pattern), the value is taken literally as typed.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from rlvr_dynamics.system.command_line import unquoted

_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|true|false", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([\\()\[\]{}:=, \t])")  # what Hydra lets a backslash escape


def quoted(value: object) -> str:
    """Return a value in Hydra's grammar: quoted if it has more than plain characters."""
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return "'" + re.sub(r"(\\*)('|$)", _doubled, text, flags=re.DOTALL) + "'"


def _doubled(found: re.Match[str]) -> str:
    # Backslashes must be doubled before a quote and at the end.
    return found[1] * 2 + ("\\'" if found[2] else "")


def key_of(override: str) -> str:
    """Return the key of `key=value`, also with a leading `+` or `~`."""
    return override.lstrip("+~").partition("=")[0]


def value_at(overrides: Iterable[str], key: str) -> str | None:
    """Return the value that the last of some overrides gives a key; None if none does."""
    given = [each.partition("=")[2] for each in overrides if key_of(each) == key]
    return given[-1] if given else None


def changed(command: str, values: Mapping[str, object]) -> str:
    """Return a command with some values changed, in place or appended.

    Args:
        command: The command as typed.
        values: New values by key; None removes the key.
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
    """Return an override whose value Hydra reads as typed, if the key holds text.

    Quotes, and backslashes before special characters, keep their meaning in Hydra; `${...}` stays a
    reference.

    Args:
        override: `key=value`, also with a leading `+`.
        config: The typed configuration, which gives the type of a key.
    """
    key, equals, value = override.partition("=")
    if not equals or key.startswith("~") or unquoted(value) != value:
        return override
    kinds = _kinds(key.lstrip("+").split("."), [config])
    if str not in kinds or value.strip().lower() == "null":
        return override
    if {bool, int, float} & set(kinds) and _NUMBER.fullmatch(value.strip()):
        return override  # a key that holds either
    text = quoted(_ESCAPED.sub(r"\1", value))
    # Otherwise numbers, `true` and the like would not be read as text.
    in_quotes = text if text.startswith("'") else f"'{text}'"
    return f"{key}={in_quotes}"


def below_null(override: str, config: type[BaseModel]) -> str:
    """Return an override that also works where a section above its key is null.

    Hydra knows no keys below a null section: they are then added, and what they need besides has a
    default or is missing.

    Args:
        override: `key=value`.
        config: The typed configuration, which says which sections may be null.
    """
    path = key_of(override).split(".")
    above = (_kinds(path[:count], [config]) for count in range(1, len(path)))
    optional = any(type(None) in kinds for kinds in above)
    return f"++{override}" if optional and override[0] not in "+~" else override


def _kinds(path: list[str], annotations: list[Any]) -> list[Any]:
    """Return the types at a dotted key, with unions split; empty for an unknown key."""
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
