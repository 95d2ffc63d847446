"""Make artefacts and write their files: csv, Markdown and LaTeX, or pdf and png."""

from __future__ import annotations

import base64
import errno
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.reporting.artefact import Artefact, Drawing, cells_of
from rlvr_dynamics.reporting.tables import Table, write_table
from rlvr_dynamics.system.foreign_text import as_csv

LARGEST_SVG = 400_000  # bytes; a larger figure is shown as its PNG


@dataclass(frozen=True)
class Built:
    """The outcome of making a table or figure.

    Attributes:
        artefact: Its description.
        tables: Its tables; empty for a figure.
        cells: Names of the runs behind it, as far as known.
        facts: n, interval, seeds, dtype and source of a figure.
        image: `data:` address of a figure; None if it was not measured.
        missing: What is missing if there is nothing to show.
        error: Traceback of what broke; empty if nothing did.
    """

    artefact: Artefact
    tables: tuple[Table, ...] = ()
    cells: tuple[str, ...] = ()
    facts: str = ""
    image: str | None = None
    missing: str = ""
    error: str = ""

    @property
    def there(self) -> bool:
        """Whether there is anything to show."""
        return self.image is not None or any(table.frame is not None for table in self.tables)

    @property
    def files(self) -> list[str]:
        """The files written, relative to the page's folder."""
        written = [table.name for table in self.tables if table.frame is not None]
        files = [f"tables/{name}.{ending}" for name in written for ending in ("csv", "md", "tex")]
        pictures = [f"figures/{self.artefact.name}.{ending}" for ending in ("pdf", "png")]
        return [*files, *pictures] if self.image else files


def build(
    artefacts: Sequence[Artefact], source: Any, folder: Path, *, strict: bool = False
) -> list[Built]:
    """Make artefacts and write their files; a failing one does not affect the others.

    Args:
        artefacts: What to make.
        source: What they are made from.
        folder: Output folder; gets `tables` and `figures`.
        strict: Raise the first error instead of recording it.
    """
    # Imported here, not at the top: matplotlib takes a second that --help does not need.
    from rlvr_dynamics.reporting.figure_style import style

    for part in ("tables", "figures"):
        (folder / part).mkdir(exist_ok=True)
    with style():
        return [_build(artefact, source, folder, strict) for artefact in artefacts]


def _build(artefact: Artefact, source: Any, folder: Path, strict: bool) -> Built:
    tables: tuple[Table, ...] = ()
    try:
        made = artefact.make(source)
        if isinstance(made, Drawing):
            return _draw(artefact, made, folder / "figures")
        tables = tuple(made)
        for table in tables:
            write_table(table, folder / "tables")
        return Built(artefact, tables, cells=cells_of(tables))
    except Exception as error:
        noted = note(error, strict)
        # Leave no half-written artefact in the folder.
        broken = [f"tables/{table.name}.*" for table in tables]
        for pattern in (f"figures/{artefact.name}.*", *broken):
            for path in folder.glob(pattern):
                path.unlink()
        return Built(artefact, error=noted)


def _draw(artefact: Artefact, drawing: Drawing, folder: Path) -> Built:
    from rlvr_dynamics.reporting.figure_style import save

    if drawing.figure is None:
        return Built(artefact, cells=drawing.cells, missing=drawing.missing or "Not measured.")
    content, kind = save(drawing.figure, folder, artefact.name), "svg+xml"
    if len(content) > LARGEST_SVG:
        content, kind = (folder / f"{artefact.name}.png").read_bytes(), "png"
    image = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Built(artefact, cells=drawing.cells, facts=drawing.facts, image=image)


def note(error: Exception, strict: bool) -> str:
    """Return the traceback of an error in one part; raise others, such as a full disk."""
    if strict or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        raise error
    return "".join(traceback.format_exception(error))


def last_line(error: str) -> str:
    """Return the last line of a traceback: the error and its message."""
    return error.strip().rpartition("\n")[2]


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table with all significant digits."""
    path.write_text(as_csv(frame), encoding="utf-8", newline="\n")
