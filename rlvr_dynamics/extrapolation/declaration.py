"""The declaration of a method: its names, source, settings and look.

Tables, figures and documents take all of these from here, through the registry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlvr_dynamics.extrapolation.parameters import Parameter


@dataclass(frozen=True)
class Look:
    """How a method is drawn.

    Attributes:
        colour: One of `system.palette`.
        marker: A matplotlib marker.
        line: A matplotlib line style, for figures that draw lines.
    """

    colour: str
    marker: str
    line: str = "-"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A method as tables, figures and documents see it.

    Attributes:
        name: Its key in the registry and in a run's configuration.
        title: Its name in tables and figures.
        paper: Where it is described.
        summary: What it does, in one line.
        look: How figures draw it.
        labels: Titles of variants with their own label: a pattern that matches the full label, and
            a title whose braces are filled with the pattern's groups.
        principal: Whether it stays in figures that cannot show all methods.
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
