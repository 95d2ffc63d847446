"""The page of a run or study: a single HTML file that opens from disk and loads nothing else."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rlvr_dynamics.claims.printed import PROVENANCE
from rlvr_dynamics.errors import shown
from rlvr_dynamics.extrapolation import Declaration
from rlvr_dynamics.reporting.artefact import CELL_COLUMNS, label, split_cells
from rlvr_dynamics.reporting.build import Built, last_line
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.methods import introduced
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.system.installation import as_typed_here

LONG_WORDS = 60  # characters; a column with longer fields may wrap


def write_page(path: Path, **parts: Any) -> None:
    """Write a page.

    Args:
        path: Output file.
        parts: Variables of `page.html`: `title`, `answer` and `next_command`; optionally `base`,
            `back`, `remark`, `lead` (the entry of the picture below the answer), `sections`,
            `broken` and `command`.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = dict.fromkeys(("base", "back", "remark", "command"), "")
    empty = {**words, "lead": None, "sections": [], "broken": []}
    html = environment.get_template("page.html").render({**empty, **parts})
    path.write_text(as_typed_here(html), encoding="utf-8", newline="\n")


def _visible(value: Any) -> Any:
    """Spell out control characters in a text for a page."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def section(
    name: str,
    heading: str,
    about: str = "",
    entries: Sequence[dict[str, Any]] = (),
    *,
    ledger: dict[str, Any] | None = None,
    passages: Sequence[tuple[str, str]] = (),
    points: Sequence[str] = (),
    methods: Sequence[Declaration] = (),
    missing: str = "",
) -> dict[str, Any]:
    """Describe a section of a page.

    Args:
        name: Gives its anchor on the page, `part-<name>`.
        heading: Its heading.
        about: Introductory text.
        entries: Its tables and figures, from `entry`.
        ledger: Claims, from `ledger_view.ledger_view`.
        passages: Quoted texts with their headings.
        points: Sentences, as a list.
        methods: Methods to introduce.
        missing: What is missing.
    """
    return {
        "id": name,
        "heading": heading,
        "about": about,
        "entries": entries,
        "ledger": ledger,
        "passages": passages,
        "points": points,
        "methods": methods,
        "missing": missing,
    }


def methods_section(runs: Iterable[Results]) -> list[dict[str, Any]]:
    """Return a section with a line on every method that runs were predicted by; none without."""
    found = introduced(label for results in runs for label in results.methods)
    about = "Each in a line; docs/methods.md has their settings."
    return [section("methods", "The methods", about, methods=found)] if found else []


def picture(built: Sequence[Built], names: Sequence[str]) -> Built | None:
    """Return the first of some figures that was drawn; None if none was."""
    drawn = {item.artefact.name: item for item in built if item.image}
    return next((drawn[name] for name in names if name in drawn), None)


def entry(
    item: Built,
    address: str,
    *,
    number: str = "",
    known: Collection[str] = (),
    facts: Sequence[tuple[str, str]] = (),
    again: str = "",
    shown_above: str = "",
    most_rows: int | None = None,
) -> dict[str, Any]:
    """Return what the page shows of a table or figure.

    Args:
        item: The built artefact.
        address: Its anchor on the page.
        number: Shown before its title; defaults to the paper's own number.
        known: Names of the runs that have pages; only these become links.
        facts: Questions about the runs behind it, with the answers.
        again: The command that rebuilds it.
        shown_above: Name of a table that is already on the page.
        most_rows: Maximum rows shown of a table; the files have all.
    """
    artefact = item.artefact
    own = [table for table in item.tables if table.name != shown_above]
    # The only table left gives the entry its title.
    lone = len(own) == 1 and (len(item.tables) > 1 or not artefact.title)
    title = own[0].title if lone else artefact.title
    return {
        "id": address,
        "label": label(number or artefact.number, title),
        "look_at": artefact.look_at,
        "error": last_line(item.error),
        "image": item.image,
        "missing": item.missing,
        "facts": item.facts,
        "tables": [
            table_view(
                table, known, heading=len(own) > 1 and table.title != title, most_rows=most_rows
            )
            for table in own
        ],
        "there": item.there,
        "state": "" if item.there else "broke" if item.error else "not measured",
        "questions": facts,
        "cells": [name for name in item.cells if name in known],
        "files": item.files,
        "again": again,
        "summary": _summary(dict(facts)),
    }


def _summary(facts: dict[str, str]) -> str:
    if not facts:
        return "printed numbers and files"
    count, seeds = facts["runs"], facts["seeds"]
    return (
        f"{count} run{'' if count == '1' else 's'}, seed{'s' if ',' in seeds else ''} {seeds}, "
        f"{facts['dtype of the checkpoints']}, files"
    )


def plain_entry(table: Table, known: Collection[str] = (), files: Sequence[str] = ()) -> dict:
    """Return what the page shows of a table that is not an artefact, under its own title."""
    return {
        **dict.fromkeys(("look_at", "error", "image", "missing", "facts", "state", "again"), ""),
        **dict.fromkeys(("questions", "cells"), ()),
        "id": f"table-{table.name}",
        "label": table.title,
        "tables": [table_view(table, known)],
        "there": True,
        "files": files,
        "summary": "",
    }


def table_view(
    table: Table,
    known: Collection[str] = (),
    *,
    heading: bool = False,
    most_rows: int | None = None,
) -> dict[str, Any]:
    """Return what the page shows of a table; `heading`: show its title; others as in `entry`."""
    names = [] if table.frame is None else [str(name) for name in table.frame.columns]
    frame = None if table.frame is None else table.frame.head(most_rows or len(table.frame))
    values = replace(table, frame=frame).cells()
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
        behind = ", ".join(row[place[name]] for name in CELL_COLUMNS if name in place)
        cells = [name for name in split_cells(behind) if name in known]
        rows.append({"fields": row, "printed": _is_printed(source), "cells": cells})
    return {
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "missing": "" if names else table.missing or "Not measured.",
        "heading": heading,
        "folded": table.long,
        "columns": columns,
        "rows": rows,
        "left_out": 0 if table.frame is None else len(table.frame) - len(rows),
    }


def _is_printed(source: str) -> bool:
    """Whether a row comes from a paper and not from a run of ours."""
    return source.startswith("printed") or source.split(",")[0].strip() in PROVENANCE


def _kind(name: str, heading: str, numeric: bool, shown: Iterable[str]) -> str:
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
