"""`python -m experiments.fidelity`: where cells differ from the paper that they follow, and why."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from experiments.cells import CELLS, Cell
from experiments.grid import configurations, select
from rlvr_dynamics.config import CONFIG_FOLDER
from rlvr_dynamics.errors import EXIT_DONE
from rlvr_dynamics.fidelity import DIFFERS, Row, names_of, rows_of
from rlvr_dynamics.system.atomic import write_text
from rlvr_dynamics.system.command_line import Parser, end, say

PAGE = CONFIG_FOLDER.parent / "docs" / "fidelity.md"
TEXTS = Path(__file__).with_name("fidelity.md")
HEADINGS = {
    "alpharl": "AlphaRL's cells",
    "relex": "RELEX's cells",
}
COLUMNS = ("setting", "paper", "here", "state", "source", "why", "cells")
TABLES_HERE, CELLS_HERE = "{tables}", "{cells}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return end(lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    parser = Parser(
        prog="python -m experiments.fidelity",
        description="Show a cell's settings beside the paper's; --write writes docs/fidelity.md.",
    )
    parser.add_argument("cells", nargs="*", metavar="GLOB", help="only these, such as 'grpo_*'")
    parser.add_argument("--write", action="store_true", help="write docs/fidelity.md")
    asked = parser.parse_args(arguments)
    if asked.write:
        say("docs/fidelity.md " + ("changed" if write_page() else "is up to date"))
        return EXIT_DONE
    for cell, rows in rows_by_cell(select(asked.cells)).items():
        say(f"{cell.name}\n\n" + "\n".join(table(COLUMNS[:-1], map(_fields, rows))) + "\n")
    return EXIT_DONE


def rows_by_cell(cells: Sequence[Cell]) -> dict[Cell, tuple[Row, ...]]:
    """Return every cell's rows."""
    made = configurations(list(cells))
    return {cell: rows_of(config) for cell, config in zip(cells, made, strict=True)}


def write_page(path: Path = PAGE) -> bool:
    """Write the page of all cells; returns whether it changed."""
    text = page()
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True


def page() -> str:
    """Return docs/fidelity.md: each row once, with the cells that have it, and a list of cells."""
    found = rows_by_cell(CELLS)
    lines = []
    for paper, heading in HEADINGS.items():
        own = {cell: rows for cell, rows in found.items() if cell.protocol.paper == paper}
        rows = _in_order(own, names_of(paper))
        shown = [(*_fields(row), who(cells, list(own))) for row, cells in rows.items()]
        lines += [f"## {heading}", "", *table(COLUMNS, shown), ""]
    names = [
        (f"`{cell.name}`", "; ".join(row.setting for row in rows if row.state == DIFFERS))
        for cell, rows in found.items()
    ]
    text = TEXTS.read_text(encoding="utf-8")
    text = text.replace(TABLES_HERE, "\n".join(lines).rstrip())
    return text.replace(CELLS_HERE, "\n".join(table(("cell", "differs in"), names)))


def _in_order(rows: Mapping[Cell, tuple[Row, ...]], names: Sequence[str]) -> dict[Row, list[Cell]]:
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


def _fields(row: Row) -> tuple[str, ...]:
    return row.setting, row.paper, row.ours, row.state, row.source, row.reason


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(_cell(field) for field in line) + " |" for line in lines]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(main())
