"""What a page shows: a table or a figure, or what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.reporting.tables import Table

if TYPE_CHECKING:  # matplotlib costs a second that a list of names need not pay
    from matplotlib.figure import Figure

CELL_COLUMNS = ("cell", "cells")  # names of the runs behind a row, separated by commas


@dataclass(frozen=True)
class Drawing:
    """A figure that could be drawn, or what it lacks.

    Attributes:
        figure: None where there is nothing to draw.
        facts: n, interval, seeds, dtype and the tables behind it.
        cells: Names of the runs it was drawn from.
        missing: What is missing where there is no figure.
    """

    figure: Figure | None
    facts: str = ""
    cells: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Artefact:
    """A table or figure of a page.

    Attributes:
        name: What `python -m analysis NAME` asks for; also the name of a figure's files.
        paper: Whose it is: `alpharl`, `relex` or `ours`; empty in the report of one run.
        number: The paper's own name for it ("Table 1"); empty where it has none.
        title: Heading; empty where the table has its own.
        look_at: What a reader should look at.
        question: The module of `experiments` whose runs it needs.
        make: The tables or the drawing, from a `Study`, or from the `Results` of one run.
    """

    name: str
    paper: str
    number: str
    title: str
    look_at: str
    question: str
    make: Callable[[Any], Sequence[Table] | Drawing]

    @property
    def label(self) -> str:
        """The paper's name for it and the title."""
        return label(self.number, self.title)


def label(number: str, title: str) -> str:
    """`Table 1: title`, or the title alone."""
    return f"{number}: {title}" if number else title


def cells_of(tables: Sequence[Table]) -> tuple[str, ...]:
    """Names of the runs behind the rows of some tables, in order."""
    found: dict[str, None] = {}
    for table in tables:
        for column in CELL_COLUMNS:
            if table.frame is not None and column in table.frame:
                for value in table.frame[column].dropna():
                    found |= dict.fromkeys(split_cells(value))
    return tuple(found)


def split_cells(value: object) -> list[str]:
    """The names in a `cell` field."""
    return [name.strip() for name in str(value).split(",") if name.strip()]
