"""One column of a table, and a table as its makers and readers know it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

OURS = "ours"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name in the file.
        kind: Unit or kind of value: `share`, `cosine`, `step`, `name`, `norm`, ...
        formula: How it is computed, in words or symbols.
        source: Paper and equation, or `ours`.
        required: Whether readers refuse a table without it; the others may be missing in a run
            directory of an earlier version.
    """

    name: str
    kind: str
    formula: str
    source: str = OURS
    required: bool = False


def needed(name: str, kind: str, formula: str, source: str = OURS) -> Column:
    """A column that readers cannot do without."""
    return Column(name, kind, formula, source, required=True)


@dataclass(frozen=True)
class TableFile:
    """A table of a run directory.

    Attributes:
        file: Its place below the run directory.
        stage: The stage that writes it.
        columns: Its columns in the order of the file.
        is_open: Whether the file has further columns, which others name.
    """

    file: str
    stage: str
    columns: tuple[Column, ...]
    is_open: bool = False

    @property
    def name(self) -> str:
        """Its name without folder and ending."""
        return PurePosixPath(self.file).stem

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    def lacking(self, found: Iterable[str]) -> list[str]:
        """The required columns that a table does not have."""
        there = set(found)
        return [each.name for each in self.columns if each.required and each.name not in there]


def table(file: str, stage: str, *columns: Column, is_open: bool = False) -> TableFile:
    """A table with its columns in the order of the file."""
    return TableFile(file, stage, columns, is_open)
