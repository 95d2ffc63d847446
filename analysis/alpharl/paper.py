"""Naming of AlphaRL's tables and figures."""

from collections.abc import Callable, Sequence

from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.study import Study


def table(
    number: str, title: str, look_at: str, question: str, make: Callable[[Study], Sequence[Table]]
) -> Artefact:
    """Describe a table of the paper; arguments as in `Artefact`, `number` as printed."""
    name = f"alpharl_table_{number}"
    return Artefact(name, "alpharl", f"Table {number}", title, look_at, question, make)


def figure(
    number: str, title: str, look_at: str, question: str, draw: Callable[[Study], Drawing]
) -> Artefact:
    """Describe a figure of the paper; arguments as in `Artefact`, `number` as printed."""
    several = "s" if " to " in number else ""
    name = f"alpharl_figure_{number.replace(' to ', '_')}"
    return Artefact(name, "alpharl", f"Figure{several} {number}", title, look_at, question, draw)
