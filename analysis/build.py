"""Build the folder with every table, figure and claim, and the page."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import pandas as pd

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.build import Built, build, note, write_csv
from rlvr_dynamics.results.study import Study
from rlvr_dynamics.system.atomic import atomic_folder
from rlvr_dynamics.system.progress import bar

from .page import write_pages

MARK = "analysis.json"
WRITTEN = {MARK, "cells", "claims.csv", "figures", "index.html", "tables"}
LEDGER = "claims ledger"


@dataclass(frozen=True)
class Analysis:
    """The written analysis.

    Attributes:
        out: The folder.
        built: Every table and figure, in order.
        claims: The ledger; None if it was not asked for.
        broken: Name and traceback of each failure.
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
    remark: str = "",
) -> Analysis:
    """Write tables, figures, claims and the page; `out` appears complete or not at all.

    Args:
        study: The runs.
        artefacts: What to build, in the order of the page.
        out: The folder; the output of an earlier call is replaced.
        ledger: Builds the claims ledger; None to omit it.
        command: The command that the page says wrote it.
        strict: Raise the first error instead of showing it on the page.
        remark: A sentence for the head of the page.

    Raises:
        UserError: `out` holds something else, or the disk is full.
    """
    check_out(out)
    broken: dict[str, str] = {}
    built: list[Built] = []
    claims = None
    with atomic_folder(out) as folder:
        (folder / "cells").mkdir()
        with bar(total=len(artefacts) + 2, desc="analysis", unit="part") as progress:
            if ledger is not None:
                try:
                    claims = ledger(study)
                    write_csv(claims, folder / "claims.csv")
                except Exception as error:
                    broken[LEDGER] = note(error, strict)
            progress.update()
            for artefact in artefacts:
                built += build([artefact], study, folder, strict=strict)
                progress.update()
            broken |= {item.artefact.name: item.error for item in built if item.error}
            write_pages(study, built, claims, folder, command, broken, remark)
            _write_mark(study, built, folder)
            progress.update()
    return Analysis(out, tuple(built), claims, broken)


def check_out(out: Path) -> None:
    """Refuse a folder whose content is not ours, because it would be replaced.

    Raises:
        UserError: It is a file, a folder with other content, or not writable.
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


def _write_mark(study: Study, built: Sequence[Built], folder: Path) -> None:
    mark = {
        "runs": [cell.name for cell in study.cells],
        "written": [item.artefact.name for item in built if item.there],
        "not_measured": [item.artefact.name for item in built if not item.there and not item.error],
        "broken": [item.artefact.name for item in built if item.error],
    }
    (folder / MARK).write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")
