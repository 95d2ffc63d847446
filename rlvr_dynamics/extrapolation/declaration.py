"""What a method says about itself: its names, its source, its settings, and how it is drawn.

Tables, figures and documents take all of it from here, through the registry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlvr_dynamics.extrapolation.parameters import Parameter


@dataclass(frozen=True)
class Look:
    """How a method is drawn.

    Attributes:
        colour: One of `system.palette`.
        marker: A marker of matplotlib.
        line: A line style of matplotlib, for figures that draw lines.
    """

    colour: str
    marker: str
    line: str = "-"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A method as its readers know it.

    Attributes:
        name: Its key in the registry and in a run's configuration.
        title: Its name in tables and figures.
        paper: Where it is described.
        summary: What it does, in one line.
        look: How figures draw it.
        labels: Titles of the variants that have a label of their own: a pattern that matches the
            whole label, and a title whose braces take the pattern's groups.
        principal: Whether it stays in a figure that has no room for all methods.
        parameters: Declared settings.
    """

    name: str
    title: str
    paper: str
    summary: str
    look: Look
    labels: Mapping[str, str] = field(default_factory=dict)
    principal: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
