"""The runs behind a study: a row and a page for each."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import (
    DASH,
    MINUS,
    general,
    integer,
    percent,
    percent_interval,
)
from rlvr_dynamics.results.rounding import LARGEST, rounding_of
from rlvr_dynamics.results.scores import paired_accuracy
from rlvr_dynamics.results.study import NO_CONTROL, Cell, Study
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.system.copies import copy_file, copy_folder, keep_inside

COMPANIONS = ("claims.csv", "tables", "figures")  # files and folders that a run's page links to


def runs_table(study: Study) -> Table:
    """Build one row per run: its settings, its contents, and how much its training gained."""
    rows = [_row(cell) for cell in study.cells]
    formats = {
        "learning rate": rate,
        "steps": integer,
        "base seed": integer,
        "seed": integer,
        "base": percent,
        "trained": percent,
        "questions": integer,
        "rounding": general,
        "minutes": lambda value: general(value, 3),
    }
    return Table(
        "runs",
        "Runs",
        "In-domain accuracy of the base and of the last checkpoint on the same questions, with 95 "
        "% intervals (Wilson or the bootstrap, whichever is wider). Rounding: what rounding to the "
        "stored dtype accounts for in the squared norm of the last update, median over tensors; "
        f"above {LARGEST:.0%} rank-1 shares and explained variance are read too low. Minutes: all "
        "stages, with a preparation that was taken over from another run.",
        pd.DataFrame(rows),
        formats,
    )


def _row(cell: Cell) -> dict[str, Any]:
    results = cell.results
    final = results.final_step
    models = () if final is None else (ModelId.base(), ModelId.checkpoint(final))
    in_domain = results.benchmarks("in_domain")
    pair = paired_accuracy(results, models, in_domain) if models and in_domain else None
    accuracies = [None, None] if pair is None else [pair.accuracy(0), pair.accuracy(1)]
    base, trained = (
        (found.value, percent_interval(found.low, found.high)) if found else (math.nan, None)
        for found in accuracies
    )
    stages = (results.provenance.get("stages") or {}).values()
    rounding = rounding_of(results)
    seconds = [stage["seconds"] for stage in stages if stage.get("seconds") is not None]
    return {
        "cell": cell.name,
        "model": cell.model,
        "algorithm": cell.algorithm,
        "learning rate": cell.learning_rate,
        "steps": math.nan if final is None else final,
        "base seed": cell.base_seed,
        "seed": cell.seed,
        "control": "" if cell.control == NO_CONTROL else cell.control.replace("_", " "),
        "base": base[0],
        "base, 95 %": base[1],
        "trained": trained[0],
        "trained, 95 %": trained[1],
        "questions": math.nan if pair is None else pair.questions,
        "answers": None if pair is None else pair.protocol,
        "dtype": results.dtype,
        "rounding": math.nan if rounding is None else rounding.share,
        "minutes": sum(seconds) / 60 if seconds else math.nan,
        "missing": ", ".join(results.missing_stages) or "nothing",
    }


def facts_of(study: Study, names: Iterable[str]) -> list[tuple[str, str]]:
    """Return what readers ask about the runs behind a table or figure, as (question, answer)."""
    wanted = set(names)
    cells = [cell for cell in study.cells if cell.name in wanted]
    if not cells:
        return []
    answers: dict[str, list[Any]] = {
        "models": [cell.model for cell in cells],
        "algorithms": [cell.algorithm for cell in cells],
        "learning rates": [cell.learning_rate and rate(cell.learning_rate) for cell in cells],
        "steps": [cell.steps for cell in cells],
        "seeds": [cell.seeds for cell in cells],
        "dtype of the checkpoints": [cell.results.dtype for cell in cells],
        "commit": [cell.results.provenance.get("commit") for cell in cells],
    }
    controls = [cell.control.replace("_", " ") for cell in cells if cell.control != NO_CONTROL]
    return [
        ("runs", str(len(cells))),
        *((question, _distinct(found)) for question, found in answers.items()),
        *([("of these controls", f"{len(controls)} ({_distinct(controls)})")] if controls else []),
    ]


def rate(value: float) -> str:
    """Format a learning rate, always as a power of ten, so that `1e−4` and `1e−5` compare."""
    digits, _, power = f"{value:.2e}".partition("e")
    return f"{general(float(digits))}e{int(power)}".replace("-", MINUS)


def _distinct(found: Iterable[Any]) -> str:
    known = {str(item) for item in found if item is not None}
    return ", ".join(sorted(known, key=lambda item: (len(item), item))) or DASH


def missing_tables(cell: Cell) -> list[tuple[str, str]]:
    """Return file and stage of every table that a run lacks."""
    return [
        (table.file, table.stage)
        for name, table in TABLES.items()
        if cell.results.tables[name] is None
    ]


def own_report(cell: Cell) -> Path | None:
    """Return the run's own page; None if its report stage has not run."""
    page = cell.results.run_dir / "report" / "index.html"
    return page if page.is_file() else None


def copy_report(cell: Cell, page: Path, cells: Path, back: str) -> None:
    """Copy a run's page to `cells/<name>.html` and the files it links to, to `cells/<name>/`.

    Args:
        cell: The run.
        page: Its page.
        cells: The folder of all runs' pages, which must exist.
        back: HTML linking back to the study, inserted at the top.
    """
    keep_inside(page, page.parent)
    own = cells / cell.name
    own.mkdir()
    for name in COMPANIONS:
        source = page.parent / name
        if source.is_dir():
            copy_folder(source, own / name, page.parent)
        elif source.exists():
            copy_file(source, own / name, page.parent)
    html = page.read_text(encoding="utf-8")
    links = "|".join(re.escape(name) for name in COMPANIONS)
    html = re.sub(rf'href="({links})', rf'href="{quote(cell.name)}/\1', html)
    html = html.replace("<main>", f"<main>\n{back}", 1)
    (cells / f"{cell.name}.html").write_text(html, encoding="utf-8", newline="\n")
