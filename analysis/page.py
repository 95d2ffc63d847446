"""The page of a study and the pages of its runs: plain HTML that asks nothing of the network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis import runs
from analysis.build import Built
from analysis.closing import next_command
from rlvr_dynamics import reporting
from rlvr_dynamics.claims.printed import PROVENANCE
from rlvr_dynamics.reporting.artefact import CELL_COLUMNS, label, split_cells
from rlvr_dynamics.reporting.ledger_view import claims_in_words, ledger_view
from rlvr_dynamics.reporting.page import next_command as next_command_of_run
from rlvr_dynamics.reporting.page import visible
from rlvr_dynamics.reporting.tables import Table, write_table
from rlvr_dynamics.results.study import Study

MOST_ROWS = 300  # rows of one table on the page; the files have all
LONG_WORDS = 60  # characters; a column with longer fields may wrap
LEDGER_NAME = "claims"  # of the ledger's own table, and what its sisters' names begin with
SECTIONS = (
    (
        "ours",
        "Where predictability ends",
        "Ours, in neither paper: the runs of this study side by side.",
    ),
    (
        "alpharl",
        "AlphaRL",
        "Tables and figures of “On Predictability of Reinforcement Learning Dynamics for Large "
        "Language Models” (arXiv 2510.00553), from the runs of this study.",
    ),
    (
        "relex",
        "RELEX",
        "Tables and figures of “You Only Need Minimal RLVR Training” (arXiv 2605.21468), from the "
        "runs of this study.",
    ),
)
CLAIMS_ABOUT = (
    "Every claim with the papers’ number and ours. It holds when the whole 95 % interval of our "
    "value lies above its threshold and the null does not get there as well, nor, where the claim "
    "is about learning, the control; it fails when none of the interval lies above; otherwise it "
    "is inconclusive, as it is where it holds at one learning rate and fails at another. A claim "
    "that no run here could test is not measured."
)
LEGEND = Markup(
    ' <span class="legend"><b>Shaded</b>: printed in the paper; the rest is ours.</span>'
)


def write_pages(
    study: Study,
    built: Sequence[Built],
    claims: pd.DataFrame | None,
    folder: Path,
    command: str,
    ledger_error: str = "",
) -> None:
    """Write index.html, tables/runs.* and cells/*.

    Args:
        study: The runs.
        built: Tables and figures, in order.
        claims: The ledger, or None.
        folder: Where; has `tables` and `cells`.
        command: What wrote it.
        ledger_error: Traceback of a ledger that broke; its last line is shown.
    """
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, Path(reporting.__file__).parent]),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    listing = runs.runs_table(study)
    write_table(listing, folder / "tables")
    broken = [(item.artefact.name, item.error) for item in built if item.error]
    if ledger_error:
        broken.insert(0, ("claims ledger", ledger_error.strip().splitlines()[-1]))
    page = environment.get_template("study.html").render(
        title=_title(study),
        answer=_answer(study, built, claims),
        sections=_sections(study, built, claims),
        toc_open=len(built) > 1,
        ledger=None if claims is None else _ledger(claims, study, folder),
        broken=broken,
        runs=_table_view(listing, study, heading=False),
        command=command,
        next_command=next_command(study, built),
    )
    (folder / "index.html").write_text(page, encoding="utf-8", newline="\n")
    link = '<a href="../index.html#part-runs">All runs of the study</a>'
    back = Markup(f'<p class="kicker">{link}</p>')  # noqa: S704 - words of ours
    template = environment.get_template("cell.html")
    for cell in study.cells:
        report = runs.own_report(cell)
        if report is not None:
            runs.copy_report(cell, report, folder / "cells", str(back))
            continue
        html = template.render(
            cell=cell,
            back=back,
            missing=runs.missing_tables(cell),
            next_command=next_command_of_run(cell.results),
        )
        path = folder / "cells" / f"{cell.name}.html"
        path.write_text(html, encoding="utf-8", newline="\n")


def _title(study: Study) -> str:
    count = len(study.cells)
    models = sorted({cell.model for cell in study.cells})
    which = models[0] if len(models) == 1 else f"{len(models)} models"
    return f"{count} run{'' if count == 1 else 's'} of {which}"


def _answer(study: Study, built: Sequence[Built], claims: pd.DataFrame | None) -> str:
    there = sum(item.there for item in built)
    facts = dict(runs.facts_of(study, [cell.name for cell in study.cells]))
    asked = ("algorithms", "learning rates", "steps", "seeds")
    words = "; ".join(f"{question} {facts[question]}" for question in asked)
    parts = [f"{words[:1].upper()}{words[1:]}."]
    if claims is not None:
        parts += claims_in_words(claims)
    parts.append(f"{there} of {len(built)} tables and figures could be filled from these runs.")
    return " ".join(parts)


def _sections(
    study: Study, built: Sequence[Built], claims: pd.DataFrame | None
) -> list[dict[str, Any]]:
    found = []
    beside = []
    if claims is not None:
        beside = [item for item in built if item.artefact.name.startswith(LEDGER_NAME)]
        items = [_item(item, study, LEDGER_NAME) for item in beside]
        found.append(_section("claims", "Claims ledger", CLAIMS_ABOUT, items))
    for paper, heading, about in SECTIONS:
        here = [item for item in built if item.artefact.paper == paper and item not in beside]
        items = [_item(item, study) for item in here]
        if items:
            words = about if paper == "ours" else Markup("%s%s") % (about, LEGEND)
            found.append(_section(paper, heading, words, items))
    return found


def _section(name: str, heading: str, about: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    contents = [{key: entry[key] for key in ("id", "label", "state")} for entry in entries]
    return {
        "id": name,
        "heading": heading,
        "about": about,
        "entries": entries,
        "contents": contents,
    }


def _item(item: Built, study: Study, shown_above: str = "") -> dict[str, Any]:
    """What the template shows of a table or figure, less a table that is on the page already."""
    artefact = item.artefact
    known = {cell.name for cell in study.cells}
    cells = [name for name in item.cells if name in known]
    own = [table for table in item.tables if table.name != shown_above]
    lone = len(own) == 1 < len(item.tables)  # what is left of several gives the entry its title
    title = own[0].title if lone else artefact.title
    tables = [
        _table_view(table, study, heading=len(own) > 1 and table.title != title) for table in own
    ]
    questions = runs.facts_of(study, cells)
    files = [file for table in tables for file in table["files"]]
    if item.image:
        files += [f"figures/{artefact.name}.{ending}" for ending in ("pdf", "png")]
    return {
        "id": artefact.name,
        "label": label(artefact.number, title),
        "look_at": artefact.look_at,
        "error": item.error,
        "image": item.image,
        "missing": item.missing,
        "facts": item.facts,
        "tables": tables,
        "there": item.there,
        "state": "" if item.there else "broke" if item.error else "not measured",
        "questions": questions,
        "cells": cells,
        "files": files,
        "summary": _summary(questions),
    }


def _summary(questions: list[tuple[str, str]]) -> str:
    known = dict(questions)
    if not known:
        return "printed numbers and files"
    count, seeds = known["runs"], known["seeds"]
    return (
        f"{count} run{'' if count == '1' else 's'}, seed{'s' if ',' in seeds else ''} {seeds}, "
        f"{known['dtype of the checkpoints']}, files"
    )


def _table_view(table: Table, study: Study, *, heading: bool) -> dict[str, Any]:
    """What the template shows of a table."""
    shown = {
        "title": table.title,
        "caption": table.caption,
        "missing": table.missing,
        "heading": heading,
        "folded": table.long,
        "columns": [],
        "rows": [],
        "left_out": 0,
        "files": [],
    }
    if table.frame is None:
        return shown | {"missing": table.missing or "Not measured."}
    names = [str(name) for name in table.frame.columns]
    top = Table(
        table.name,
        table.title,
        table.caption,
        table.frame.head(MOST_ROWS),
        table.formats,
        table.headings,
    )
    values = top.cells()
    known = {cell.name for cell in study.cells}
    columns = [
        {
            "heading": column,
            "cells": name in CELL_COLUMNS,
            "kind": _kind(name, column, numeric, [row[place] for row in values]),
        }
        for place, (name, column, numeric) in enumerate(
            zip(names, table.header, table.numeric, strict=True)
        )
    ]
    place = {name: position for position, name in enumerate(names)}
    rows = []
    for row in values:
        source = row[place["source"]] if "source" in place else ""
        behind = [row[place[name]] for name in CELL_COLUMNS if name in place]
        rows.append(
            {
                "fields": row,
                "printed": _is_printed(source),
                "cells": [name for name in split_cells(", ".join(behind)) if name in known],
            }
        )
    return shown | {
        "columns": columns,
        "rows": rows,
        "left_out": len(table.frame) - len(rows),
        "files": [f"tables/{table.name}.{ending}" for ending in ("csv", "md", "tex")],
    }


def _is_printed(source: str) -> bool:
    """Whether a row's source is a paper and not a run of ours."""
    return source.startswith("printed") or source.split(",")[0].strip() in PROVENANCE


def _kind(name: str, heading: str, numeric: bool, shown: Sequence[str]) -> str:
    kinds = []
    if name in CELL_COLUMNS:
        kinds.append("cells")
    elif numeric:
        kinds.append("number")
    elif any(len(value) > LONG_WORDS for value in shown):
        kinds.append("words")
    if "printed" in heading.lower() and "recomputed" not in heading.lower():
        kinds.append("printed")
    return " ".join(kinds)


def _ledger(claims: pd.DataFrame, study: Study, folder: Path) -> dict[str, Any]:
    shown = ledger_view(claims, {cell.name for cell in study.cells})
    files = folder / "tables"
    endings = [name for name in ("md", "tex") if (files / f"{LEDGER_NAME}.{name}").is_file()]
    return shown | {"endings": endings}
