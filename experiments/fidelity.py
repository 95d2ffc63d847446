"""`python -m experiments.fidelity`: a cell's settings beside those of the paper that it follows."""

import sys
from collections.abc import Sequence

from rlvr_dynamics.errors import EXIT_DONE
from rlvr_dynamics.fidelity import Row, rows_of
from rlvr_dynamics.system.command_line import Parser, end, say

from .cells import Cell
from .fidelity_page import COLUMNS, fields, table
from .grid import configurations, select


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return end(lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    parser = Parser(
        prog="python -m experiments.fidelity",
        description="Show cells' settings beside those of the papers (docs/fidelity.md has all).",
    )
    parser.add_argument("cells", nargs="*", metavar="GLOB", help="only these, such as 'grpo_*'")
    for cell, rows in rows_by_cell(select(parser.parse_args(arguments).cells)).items():
        say(f"{cell.name}\n\n" + "\n".join(table(COLUMNS, map(fields, rows))) + "\n")
    return EXIT_DONE


def rows_by_cell(cells: Sequence[Cell]) -> dict[Cell, tuple[Row, ...]]:
    """Return every cell's rows."""
    made = configurations(list(cells))
    return {cell: rows_of(config) for cell, config in zip(cells, made, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
