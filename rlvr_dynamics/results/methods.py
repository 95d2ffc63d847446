"""How methods are shown: title, position and look of every label.

A label is a method's name, a variant that the method declares, or either followed by a value, such
as `expo_alpha_0_5`. A label chosen by the user is shown unchanged.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rlvr_dynamics.extrapolation import METHODS, Declaration, Look
from rlvr_dynamics.results.formatting import MINUS
from rlvr_dynamics.system.palette import ORANGE, PURPLE, SKY

USES_FUTURE = "uses the future"
CHECKPOINTS = {"base": "base", "real": "real checkpoint"}
"""Titles of the models not made by a method; they come before all methods."""

_VARIANT_MARKERS = ("o", "s", "d", "v", "<", "p", "h", "*")
_OWN_LOOKS = (Look(ORANGE, "P"), Look(SKY, "<"), Look(PURPLE, ">"), Look(ORANGE, "h"))


@dataclass(frozen=True)
class _Declared:
    """The declared label that a label equals or starts with.

    Attributes:
        method: The method that declares it.
        place: The method's position in the registry and the label's position in the method.
        title: Its title.
        rest: What follows it in the label.
    """

    method: Declaration
    place: tuple[int, int]
    title: str
    rest: str


def _declared(label: str) -> _Declared | None:
    """Return the longest declared label at the start of a label, or None."""
    found = []
    for place, method in enumerate(METHODS.values()):
        titles = {re.escape(method.name): method.title, **method.labels}
        for position, (pattern, title) in enumerate(titles.items()):
            if match := re.match(rf"(?:{pattern})(?=_|$)", label):
                title, rest = title.format(*match.groups()), label[match.end() :]
                found.append(_Declared(method, (place, position), title, rest))
    return min(found, key=lambda each: len(each.rest), default=None)


def method_name(label: str) -> str:
    """Return the title of a label; an undeclared label is its own title."""
    if label in CHECKPOINTS:
        return CHECKPOINTS[label]
    found = _declared(label)
    if found is None or not found.rest:
        return found.title if found else label
    value = re.fullmatch(r"_([a-z]+(?:_[a-z]+)*?)_(minus_)?(\d+(?:_\d+)?)", found.rest)
    if value is None:
        return label
    sign = MINUS if value[2] else ""
    return f"{found.title}, {value[1].replace('_', ' ')} {sign}{value[3].replace('_', '.')}"


def method_rank(label: str) -> tuple[int, int, str]:
    """Sort key: checkpoints, then the methods in the registry's order, then any other label.

    A method's variants follow it in declared order, then by their numbers.
    """
    # Numbers in labels sort numerically: 5 before 10, and 0_25 before 0_4.
    padded = re.sub(r"(?<!\d)(?<!\d_)\d+", lambda digits: digits[0].zfill(4), label)
    if label in CHECKPOINTS:
        return (-1, list(CHECKPOINTS).index(label), padded)
    found = _declared(label)
    place, variant = found.place if found else (len(METHODS), 0)
    return (place, variant, padded)


def look(label: str, shown: Iterable[str] = ()) -> Look:
    """Return how a label is drawn: like its method, with a different marker for a variant.

    Args:
        label: The label.
        shown: All labels in the figure, so that variants and user-defined labels differ.
    """
    found = _declared(label)
    if found and label == found.method.name:
        return found.method.look
    kin = [
        each
        for each in sorted(set(shown), key=method_rank)
        if each not in METHODS and _method_of(each) is (found.method if found else None)
    ]
    place = kin.index(label) if label in kin else 0
    if found is None:
        return _OWN_LOOKS[place % len(_OWN_LOOKS)]
    own = found.method.look
    markers = [marker for marker in _VARIANT_MARKERS if marker != own.marker]
    return Look(own.colour, markers[place % len(markers)], own.line)


def _method_of(label: str) -> Declaration | None:
    found = _declared(label)
    return found.method if found else None


def introduced(labels: Iterable[str]) -> list[Declaration]:
    """Return the methods that declare any of some labels, each once, in the registry's order."""
    found = {method.name for label in labels if (method := _method_of(label))}
    return [method for name, method in METHODS.items() if name in found]


def is_principal(label: str) -> bool:
    """Whether a label is kept in a figure that has no room for all."""
    return label in METHODS and METHODS[label].principal
