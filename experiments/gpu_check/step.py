"""A step of the check, as the runner sees it."""

from collections.abc import Callable
from dataclasses import dataclass

from .bench import Bench, Commands
from .finding import Finding


def no_commands(_bench: Bench) -> Commands:
    """The commands of a step that calls the product's functions."""
    return {}


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: Name of its folder.
        title: What it shows.
        work: Does it and returns what it found; a plain function of a module.
        minutes: Expected on one GPU, start of verl included.
        limit: Minutes after which it counts as hanging and is ended.
        commands: The calls of `python -m rlvr_dynamics.run` that it makes.
        version: Raised when it looks at other things; its old result then counts no more.
    """

    name: str
    title: str
    work: Callable[[Bench], list[Finding]]
    minutes: int
    limit: int
    commands: Callable[[Bench], Commands] = no_commands
    version: int = 1
