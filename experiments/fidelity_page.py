"""docs/fidelity.md: where the cells differ from the papers, written from their configurations."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rlvr_dynamics.config import CONFIG_FOLDER
from rlvr_dynamics.fidelity import DIFFERS, Row, names_of
from rlvr_dynamics.system.atomic import write_text

from .cells import Cell

PAGE = CONFIG_FOLDER.parent / "docs" / "fidelity.md"
TEXTS = Path(__file__).with_name("fidelity.md")
HEADINGS = {"alpharl": "AlphaRL's cells", "relex": "RELEX's cells"}
COLUMNS = ("setting", "paper", "here", "state", "source", "why")
TABLES_HERE, CELLS_HERE = "{tables}", "{cells}"
Found = Mapping[Cell, tuple[Row, ...]]


def write(found: Found, path: Path = PAGE) -> bool:
    """Write the page; returns whether it changed."""
    text = page(found)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True


def page(found: Found) -> str:
    """Return the page: each row once, with the cells that have it, and a list of cells."""
    lines = []
    for paper, heading in HEADINGS.items():
        own = {cell: rows for cell, rows in found.items() if cell.protocol.paper == paper}
        rows = _in_order(own, names_of(paper))
        shown = [(*fields(row), who(cells, list(own))) for row, cells in rows.items()]
        lines += [f"## {heading}", "", *table((*COLUMNS, "cells"), shown), ""]
    names = [
        (f"`{cell.name}`", "; ".join(row.setting for row in rows if row.state == DIFFERS))
        for cell, rows in found.items()
    ]
    text = TEXTS.read_text(encoding="utf-8")
    text = text.replace(TABLES_HERE, "\n".join(lines).rstrip())
    return text.replace(CELLS_HERE, "\n".join(table(("cell", "differs in"), names)))


def _in_order(rows: Found, names: Sequence[str]) -> dict[Row, list[Cell]]:
    """Return each row with the cells that have it, in the order of the settings' names."""
    cells: dict[Row, list[Cell]] = {}
    for cell, own in rows.items():
        for row in own:
            cells.setdefault(row, []).append(cell)
    return dict(sorted(cells.items(), key=lambda item: names.index(item[0].setting)))


def who(cells: Sequence[Cell], every: Sequence[Cell]) -> str:
    """Return which cells these are, by algorithm or model where that says it, else by name."""
    if len(cells) == len(every):
        return "all"
    for field in ("algorithm", "model"):
        values = list(dict.fromkeys(getattr(cell, field) for cell in cells))
        if len(cells) == sum(getattr(cell, field) in values for cell in every):
            return ", ".join(f"`{value}`" for value in values)
    return ", ".join(f"`{cell.name}`" for cell in cells)


def fields(row: Row) -> tuple[str, ...]:
    """Return a row's fields in the order of `COLUMNS`."""
    return row.setting, row.paper, row.ours, row.state, row.source, row.reason


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(_cell(field) for field in line) + " |" for line in lines]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
