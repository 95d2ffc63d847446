"""Tables as csv, Markdown and LaTeX; a missing value is a dash, or an empty field in csv."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from rlvr_dynamics.errors import one_line, shown
from rlvr_dynamics.results.formatting import DASH, Formatter, is_missing, text
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.system.foreign_text import as_csv

LONGEST_CELL = 45  # characters; longer texts are set as a paragraph in LaTeX
LONGEST_OPEN = 60  # rows
LONGEST_FLOAT = 40  # rows; longer tables break over pages in LaTeX
# Markdown turns these into links by itself: https://, mailto:, www., somebody@example.org
_ADDRESS = re.compile(
    r":(?=//)|(?<=mailto):|(?<=xmpp):|(?<=www)\.|@(?=[\w-]+\.)", re.IGNORECASE | re.ASCII
)

_TEX = {
    "√": r"\ensuremath{\surd}",
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "_": r"\_",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "−": r"$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "∞": r"$\infty$",
    "²": r"$^2$",
    "β": r"$\beta$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "λ": r"$\lambda$",
    "α": r"$\alpha$",
    "’": "'",
    "“": "``",
    "”": "''",
    "→": r"$\rightarrow$",
    "Δ": r"$\Delta$",
    "‖": r"$\|$",
    "₁": r"$_1$",
    "ᵀ": r"$^T$",
    "ε": r"$\epsilon$",
    "Σ": r"$\Sigma$",
    "Ŵ": r"$\hat{W}$",
    "∈": r"$\in$",
    "…": r"\ldots{}",
    "\n": " ",
}
_TEX_PATTERN = re.compile("|".join(re.escape(character) for character in _TEX))


@dataclass(frozen=True)
class Table:
    """A table with the format of each column.

    Attributes:
        name: File name without extension, in `tables/`.
        title: Heading.
        caption: What it holds and what n is.
        frame: The values; None if not measured.
        formats: Column to formatter; defaults to text.
        headings: Column to heading; defaults to the column's name.
        missing: What is missing if there is no frame.
        folded: Collapse it on the page, however short it is.
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame | None
    formats: dict[str, Formatter] = field(default_factory=dict)
    headings: dict[str, str] = field(default_factory=dict)
    missing: str = ""
    folded: bool = False

    @property
    def header(self) -> list[str]:
        """Headings of the columns."""
        return (
            []
            if self.frame is None
            else [shown(self.headings.get(str(name), str(name))) for name in self.frame.columns]
        )

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers (right-aligned)."""
        if self.frame is None:
            return []
        return [
            str(name) in self.formats or pd.api.types.is_numeric_dtype(self.frame[name])
            for name in self.frame.columns
        ]

    @property
    def long(self) -> bool:
        """Whether the page collapses it and omits it in print."""
        return self.frame is not None and (self.folded or len(self.frame) > LONGEST_OPEN)

    def cells(self) -> list[list[str]]:
        """The table as shown."""
        if self.frame is None:
            return []
        formatters = [self.formats.get(str(name), text) for name in self.frame.columns]
        return [
            [
                DASH if is_missing(value) else shown(formatter(value))
                for formatter, value in zip(formatters, row, strict=True)
            ]
            for row in self.frame.itertuples(index=False, name=None)
        ]


def absent(name: str, title: str, *sources: str) -> Table:
    """Return a placeholder for a table whose stage has not run; the page names the stage."""
    needs = ", ".join(TABLES[source].file for source in sources)
    stages = " and ".join(dict.fromkeys(TABLES[source].stage for source in sources))
    return Table(name, title, "", None, missing=f"Not measured: needs {needs} (stage {stages}).")


def write_table(table: Table, folder: Path) -> None:
    """Write `<name>.csv` (full precision), `<name>.md` and `<name>.tex` (as shown)."""
    if table.frame is None:
        return
    csv = as_csv(table.frame)
    for ending, content in (("csv", csv), ("md", as_markdown(table)), ("tex", as_tex(table))):
        (folder / f"{table.name}.{ending}").write_text(content, encoding="utf-8", newline="\n")


def as_markdown(table: Table) -> str:
    """Format as a pipe table with its title and caption."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(_escape_markdown(cell) for cell in cells) + " |"

    rule = ["---:" if numeric else ":---" for numeric in table.numeric]
    rows = [line(table.header), "| " + " | ".join(rule) + " |", *map(line, table.cells())]
    about = without_links(f"**{one_line(table.title)}.** {one_line(table.caption)}")
    return f"{about}\n\n" + "\n".join(rows) + "\n"


def _escape_markdown(cell: str) -> str:
    escaped = one_line(cell).replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")
    return without_links(escaped).replace("*", "\\*").replace("_", "\\_")


def without_links(text: str) -> str:
    """Escape Markdown so that nothing is a link, an image or HTML; intervals stay unchanged."""
    text = text.replace("<", "&lt;").replace("](", "]\\(").replace("][", "]\\[")
    return _ADDRESS.sub(lambda found: f"\\{found.group()}", text)


def as_tex(table: Table) -> str:
    """Format as a `table` environment, or a `longtable` where it has more rows than a page.

    It needs the package booktabs, and longtable for the second.
    """
    columns = "".join(
        "r" if numeric else "p{0.35\\linewidth}" if _is_prose(table, position) else "l"
        for position, numeric in enumerate(table.numeric)
    )

    def line(cells: list[str]) -> str:
        return " & ".join(escape_tex(cell) for cell in cells) + r" \\"

    caption = rf"\caption{{{escape_tex(table.title)}. {escape_tex(table.caption)}}}"
    label = rf"\label{{tab:{table.name.replace('_', '-')}}}"
    rows, head = table.cells(), [r"\toprule", line(table.header), r"\midrule"]
    body = [*map(line, rows), r"\bottomrule"]
    if len(rows) > LONGEST_FLOAT:
        head = [f"{caption}{label} \\\\", *head, r"\endfirsthead", *head, r"\endhead"]
        parts = [
            r"% \usepackage{booktabs,longtable}",
            r"{\small",
            rf"\begin{{longtable}}{{{columns}}}",
            *head,
            *body,
            r"\end{longtable}",
            "}",
        ]
    else:
        parts = [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            r"\small",
            caption,
            label,
            rf"\begin{{tabular}}{{{columns}}}",
            *head,
            *body,
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join([*parts, ""])


def _is_prose(table: Table, column: int) -> bool:
    return any(len(cells[column]) > LONGEST_CELL for cells in table.cells())


def escape_tex(value: str) -> str:
    """Escape text for LaTeX."""
    return _TEX_PATTERN.sub(lambda found: _TEX[found.group()], value)
