"""Declared settings of a method: defaults, types and ranges, checked before reading any weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlvr_dynamics.errors import UserError


@dataclass(frozen=True)
class Parameter:
    """A declared setting of a method: its default and allowed values.

    Attributes:
        default: Value when nothing is given; its type is the allowed type, and a float also
            accepts whole numbers.
        summary: What it does, in one line.
        choices: Allowed values, or empty.
        minimum: Smallest allowed number, or None.
        maximum: Largest allowed number, or None.
    """

    default: bool | int | float | str
    summary: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def check(self, method: str, name: str, value: Any) -> Any:
        """Check a value and return it in the declared type.

        Raises:
            UserError: It is not allowed; names method, parameter, given value and allowed values.
        """
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or not self._allows(value):
            raise UserError(
                f"{method}: {name} cannot be {value!r}", way_out=f"allowed: {self._allowed()}"
            )
        return value

    def _allows(self, value: Any) -> bool:
        if isinstance(value, str):
            return not self.choices or value in self.choices
        if isinstance(value, bool):
            return True
        return (
            math.isfinite(value)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )

    def _allowed(self) -> str:
        if self.choices:
            return " or ".join(self.choices)
        limits = [
            f"{word} {limit:g}"
            for word, limit in (("at least", self.minimum), ("at most", self.maximum))
            if limit is not None
        ]
        name = type(self.default).__name__
        return f"{name} of {' and '.join(limits)}" if limits else name


def complete_parameters(
    method: str, declared: Mapping[str, Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the declared defaults overridden by the given values, all checked.

    Raises:
        UserError: An unknown parameter, or a value that is not allowed.
    """
    for name in given:
        if name not in declared:
            raise UserError(
                f"{method} has no parameter {name!r}",
                way_out=f"it has: {', '.join(declared) or 'none'}",
            )
    return {
        name: parameter.check(method, name, given.get(name, parameter.default))
        for name, parameter in declared.items()
    }
