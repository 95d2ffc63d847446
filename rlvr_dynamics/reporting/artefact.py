"""The items of a page: a table, a figure, or a note of what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.reporting.tables import Table

if TYPE_CHECKING:  # importing matplotlib takes a second that listing names does not need
    from matplotlib.figure import Figure

CELL_COLUMNS = ("cell", "cells")  # comma-separated names of the runs behind a row


@dataclass(frozen=True)
class Drawing:
    """A drawn figure, or what is missing to draw it.

    Attributes:
        figure: None if there is nothing to draw.
        facts: n, interval, seeds, dtype and the tables behind it.
        cells: Names of the runs behind it.
        missing: What is missing if there is no figure.
    """

    figure: Figure | None
    facts: str = ""
    cells: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Artefact:
    """A table or figure of a page.

    Attributes:
        name: Name in `python -m analysis NAME`, and of a figure's files.
        paper: Its paper: `alpharl`, `relex` or `ours`; empty in the report of one run.
        number: The paper's own name for it ("Table 1"); empty if it has none.
        title: Heading; empty if the table has its own.
        look_at: What a reader should look at.
        question: The module of `experiments` whose runs it needs.
        make: Makes the tables or the drawing from a `Study` or one run's `Results`.
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
        """The paper's name for it, and the title."""
        return label(self.number, self.title)


def label(number: str, title: str) -> str:
    """Return `Table 1: title`, or the title alone."""
    return f"{number}: {title}" if number else title


def cells_of(tables: Sequence[Table]) -> tuple[str, ...]:
    """Return the names of the runs behind the rows of tables, in order."""
    found: dict[str, None] = {}
    for table in tables:
        for column in CELL_COLUMNS:
            if table.frame is not None and column in table.frame:
                for value in table.frame[column].dropna():
                    found |= dict.fromkeys(split_cells(value))
    return tuple(found)


def split_cells(value: object) -> list[str]:
    """Split a `cell` field into names."""
    return [name.strip() for name in str(value).split(",") if name.strip()]
