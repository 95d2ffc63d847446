"""One setting of a paper, beside the key that holds ours."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from rlvr_dynamics.schema import RunConfig

Value = str | bool | int | float | None


def always(_config: RunConfig) -> bool:
    """Whether a setting applies to every run."""
    return True


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting as a paper has it.

    Attributes:
        name: What it is.
        key: The key of ours, or the nearest one.
        paper: The paper's value, in the key's terms; None if it is not printed. A function of the
            configuration where it depends on model or algorithm.
        source: Where the paper, or its released code, has it or ought to.
        words: The paper's value as shown, if not as it stands.
        ours: Our value, if it is not what the key holds.
        chosen: The grid's value, which `reason` explains; None if it explains any value.
        reason: Why ours differs, or why it is what it is where the paper is silent.
        applies: Whether a run has this setting.
    """

    name: str
    key: str
    source: str
    paper: Value | Callable[[RunConfig], Value] = None
    words: str = ""
    ours: Callable[[RunConfig], Value] | None = None
    chosen: Value | Callable[[RunConfig], Value] = None
    reason: str = ""
    applies: Callable[[RunConfig], bool] = always

    def of_paper(self, config: RunConfig) -> Value:
        """Return the paper's value for a run; None if it is not printed."""
        return self.paper(config) if callable(self.paper) else self.paper

    def of_cells(self, config: RunConfig) -> Value:
        """Return the grid's value; None if `reason` explains any value."""
        return self.chosen(config) if callable(self.chosen) else self.chosen

    def of_run(self, config: RunConfig) -> Value:
        """Return the run's own value."""
        return at(config, self.key) if self.ours is None else self.ours(config)


def at(config: RunConfig, key: str) -> Any:
    """Return the value at a dotted key; None below a part that the run does not have."""
    return reduce(lambda part, name: getattr(part, name, None), key.split("."), config)


def algorithms(*names: str) -> Callable[[RunConfig], bool]:
    """Return whether a run uses one of the algorithms."""
    return lambda config: config.algorithm.name in names


def models(*names: str) -> Callable[[RunConfig], bool]:
    """Return whether a run trains one of the models."""
    return lambda config: config.model.name in names
