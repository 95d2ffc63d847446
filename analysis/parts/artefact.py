"""What a module of this package offers: a table or a figure of a paper, built from a study."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.study import Study

Paper = Literal["alpharl", "relex", "ours"]


@dataclass(frozen=True)
class TableArtefact:
    """A table of a paper, regenerated.

    Attributes:
        name: What `python -m analysis NAME` asks for; also the name of its files.
        paper: Whose table it is.
        number: The paper's own name for it ("Table 1"); empty where the paper's is unknown.
        title: Heading.
        look_at: What a reader should look at.
        question: The module of `experiments` whose runs it needs.
        build: The tables, by file name; a table that cannot be filled has no frame and says what
            is missing.
    """

    name: str
    paper: Paper
    number: str
    title: str
    look_at: str
    question: str
    build: Callable[[Study], Sequence[Table]]

    @property
    def label(self) -> str:
        """The paper's name for it and the title."""
        return label(self.number, self.title)


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
class FigureArtefact:
    """A figure of a paper, redrawn; attributes as in `TableArtefact`."""

    name: str
    paper: Paper
    number: str
    title: str
    look_at: str
    question: str
    draw: Callable[[Study], Drawing]

    @property
    def label(self) -> str:
        """The paper's name for it and the title."""
        return label(self.number, self.title)


Artefact = TableArtefact | FigureArtefact


def label(number: str, title: str) -> str:
    """`Table 1: title`, or the title alone."""
    return f"{number}: {title}" if number else title
