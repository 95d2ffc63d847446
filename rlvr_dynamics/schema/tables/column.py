"""The description of tables and their columns, shared by makers and readers."""

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
        required: Whether readers reject a table without it; other columns may be missing in run
            directories of earlier versions.
    """

    name: str
    kind: str
    formula: str
    source: str = OURS
    required: bool = False


def needed(name: str, kind: str, formula: str, source: str = OURS) -> Column:
    """Return a required column."""
    return Column(name, kind, formula, source, required=True)


@dataclass(frozen=True)
class TableFile:
    """A table of a run directory.

    Attributes:
        file: Its path in the run directory.
        stage: The stage that writes it.
        columns: Its columns in the order of the file.
        is_open: Whether the file has further columns, defined elsewhere.
    """

    file: str
    stage: str
    columns: tuple[Column, ...]
    is_open: bool = False

    @property
    def name(self) -> str:
        """Its name without folder and suffix."""
        return PurePosixPath(self.file).stem

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    def lacking(self, found: Iterable[str]) -> list[str]:
        """Return the required columns that are missing from a table."""
        there = set(found)
        return [each.name for each in self.columns if each.required and each.name not in there]


def table(file: str, stage: str, *columns: Column, is_open: bool = False) -> TableFile:
    """Return a table with its columns in the order of the file."""
    return TableFile(file, stage, columns, is_open)
