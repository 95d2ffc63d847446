"""From runs to the folder with every table, figure, claim and the page."""

import base64
import errno
import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import pandas as pd

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.reporting.artefact import Artefact, Drawing, cells_of
from rlvr_dynamics.reporting.tables import Table, write_table
from rlvr_dynamics.results.study import Study
from rlvr_dynamics.system.atomic import atomic_folder
from rlvr_dynamics.system.foreign_text import as_csv
from rlvr_dynamics.system.progress import bar

MARK = "analysis.json"
WRITTEN = {MARK, "cells", "claims.csv", "figures", "index.html", "tables"}
LARGEST_SVG = 400_000  # bytes; a larger figure is shown as its PNG
LEDGER = "claims ledger"


@dataclass(frozen=True)
class Built:
    """A table or figure as it came out.

    Attributes:
        artefact: What it is.
        tables: Its tables; empty for a figure.
        cells: Names of the runs behind it, as far as it says.
        facts: n, interval, seeds, dtype and source of a figure.
        image: `data:` address of a figure; None where it was not measured.
        missing: What is missing where there is nothing.
        error: What broke; empty where nothing did.
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
        """Whether it has anything to show."""
        return self.image is not None or any(table.frame is not None for table in self.tables)


@dataclass(frozen=True)
class Analysis:
    """What was written.

    Attributes:
        out: The folder.
        built: Every table and figure, in order.
        claims: The ledger; None where it was not asked for.
        broken: Name and traceback of what broke.
    """

    out: Path
    built: tuple[Built, ...]
    claims: pd.DataFrame | None
    broken: dict[str, str]

    @property
    def page(self) -> Path:
        """The page."""
        return self.out / "index.html"


def analyse(
    study: Study,
    artefacts: Sequence[Artefact],
    out: Path,
    *,
    ledger: Callable[[Study], pd.DataFrame] | None = None,
    command: str = "python -m analysis",
    strict: bool = False,
) -> Analysis:
    """Write tables, figures, claims and the page; `out` appears whole or not at all.

    Args:
        study: The runs.
        artefacts: What to build, in the order of the page.
        out: The folder; one that an earlier call wrote is replaced.
        ledger: Builds the claims ledger; None leaves it out.
        command: What the page says wrote it.
        strict: Let the first error through, in place of reporting it beside the rest.

    Raises:
        UserError: `out` holds something else, or the disk is full.
    """
    # Here and not at the top: matplotlib costs a second that --help need not pay.
    from analysis.page import write_pages
    from rlvr_dynamics.reporting.figure_style import style

    check_out(out)
    broken: dict[str, str] = {}
    built: list[Built] = []
    claims = None
    with atomic_folder(out) as folder, style():
        for part in ("tables", "figures", "cells"):
            (folder / part).mkdir()
        with bar(total=len(artefacts) + 2, desc="analysis", unit="part") as progress:
            if ledger is not None:
                try:
                    claims = ledger(study)
                    write_csv(claims, folder / "claims.csv")
                except Exception as error:
                    broken[LEDGER] = _told(error, strict)
            progress.update()
            for artefact in artefacts:
                try:
                    built.append(_build(artefact, study, folder))
                except Exception as error:
                    broken[artefact.name] = _told(error, strict)
                    built.append(Built(artefact, error=f"{type(error).__name__}: {error}"))
                    for path in folder.glob(f"figures/{artefact.name}.*"):
                        path.unlink()
                progress.update()
            write_pages(study, built, claims, folder, command, broken.get(LEDGER, ""))
            _write_mark(study, built, folder)
            progress.update()
    return Analysis(out, tuple(built), claims, broken)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table with all digits that matter."""
    path.write_text(as_csv(frame), encoding="utf-8", newline="\n")


def check_out(out: Path) -> None:
    """Refuse a folder whose content is not ours: it would be replaced.

    Raises:
        UserError: It is a file, or a folder with something else in it, or no place to write.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UserError(
            "out cannot be written", where=f"{out}: {error}", way_out="out=DIR with a new folder"
        ) from error
    found = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if (out.exists() and not out.is_dir()) or (found and (MARK not in found or found - WRITTEN)):
        raise UserError(
            "out holds something that python -m analysis did not write and would replace",
            where=str(out),
            way_out="out=DIR with a new folder",
        )


def _told(error: Exception, strict: bool) -> str:
    """The traceback of an error that stops one part; one that stops everything goes on."""
    if strict or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        raise error
    return "".join(traceback.format_exception(error))


def _build(artefact: Artefact, study: Study, folder: Path) -> Built:
    made = artefact.make(study)
    if isinstance(made, Drawing):
        return _draw(artefact, made, folder)
    tables = tuple(made)
    try:
        for table in tables:
            write_table(table, folder / "tables")
    except Exception:  # half of something that broke must not lie beside what is whole
        for path in [path for table in tables for path in folder.glob(f"tables/{table.name}.*")]:
            path.unlink()
        raise
    return Built(artefact, tables, cells=cells_of(tables))


def _draw(artefact: Artefact, drawing: Drawing, folder: Path) -> Built:
    from rlvr_dynamics.reporting.figure_style import save

    if drawing.figure is None:
        return Built(artefact, cells=drawing.cells, missing=drawing.missing or "Not measured.")
    content, kind = save(drawing.figure, folder / "figures", artefact.name), "svg+xml"
    if len(content) > LARGEST_SVG:
        content, kind = (folder / "figures" / f"{artefact.name}.png").read_bytes(), "png"
    image = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Built(artefact, cells=drawing.cells, facts=drawing.facts, image=image)


def _write_mark(study: Study, built: Sequence[Built], folder: Path) -> None:
    mark = {
        "runs": [cell.name for cell in study.cells],
        "written": [item.artefact.name for item in built if item.there],
        "not_measured": [item.artefact.name for item in built if not item.there and not item.error],
        "broken": [item.artefact.name for item in built if item.error],
    }
    (folder / MARK).write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")
