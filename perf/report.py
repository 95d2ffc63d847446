"""Rows of measurements, and the two output files: results.json and table.md."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlvr_dynamics.system.atomic import write_json, write_text

NAN = float("nan")
DASH = "-"


@dataclass(frozen=True)
class Row:
    """One quantity: ours and a reference, measured in the same run.

    Attributes:
        what: The quantity.
        unit: Its unit; empty for a pure number.
        ours: Our value; NaN if not measured.
        reference: The reference's value; NaN if there is none.
        against: What the reference is.
        comparable: Whether the ratio is meaningful (not for errors at rounding level).
    """

    what: str
    unit: str
    ours: float
    reference: float = NAN
    against: str = ""
    comparable: bool = True

    @property
    def ratio(self) -> float:
        """reference / ours: above 1 is in our favour; NaN if undefined."""
        if not self.comparable or self.ours == 0 or math.isnan(self.ours + self.reference):
            return NAN
        return self.reference / self.ours


@dataclass(frozen=True)
class Part:
    """The results of one part of the benchmark.

    Attributes:
        title: Heading, with sizes and dtype.
        rows: The measurements.
        notes: What a reader must know to judge them.
        details: Everything else worth keeping, for results.json.
    """

    title: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def number(value: float) -> str:
    """Format a number with three significant digits, NaN as a dash."""
    if math.isnan(value):
        return DASH
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def markdown(parts: dict[str, Part], provenance: dict[str, Any]) -> str:
    """Return the tables of all parts as Markdown."""
    lines = [
        "# Speed and memory against plain references",
        "",
        f"{provenance['processor']}, {provenance['cores']} cores, "
        f"{provenance['memory_gib']} GiB; torch {provenance['versions']['torch']}, "
        f"{provenance['threads']} threads; {provenance['date']}; seed {provenance['seed']}; "
        f"load when it began {provenance['load_before']}.",
        "",
        "Both sides of a row were measured in the same run on the same files. "
        "Ratio = reference / ours: above 1 is in our favour.",
    ]
    for part in parts.values():
        lines += ["", f"## {part.title}", ""]
        lines += _grid(
            ("quantity", "unit", "ours", "reference", "ratio", "reference is"),
            (
                (
                    row.what,
                    row.unit,
                    number(row.ours),
                    number(row.reference),
                    number(row.ratio),
                    row.against or DASH,
                )
                for row in part.rows
            ),
        )
        lines += ["", *(f"- {note}" for note in part.notes)]
    return "\n".join(lines) + "\n"


def _grid(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    rows = [list(head), *map(list, body)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def write(parts: dict[str, Part], provenance: dict[str, Any], out: Path) -> str:
    """Write results.json and table.md; return the table."""
    found = {
        name: {
            **asdict(part),
            "rows": [{**asdict(row), "ratio": row.ratio} for row in part.rows],
        }
        for name, part in parts.items()
    }
    write_json(out / "results.json", _without_nan({"provenance": provenance, "parts": found}))
    table = markdown(parts, provenance)
    write_text(out / "table.md", table)
    return table


def _without_nan(value: Any) -> Any:
    """Replace NaN by None, because JSON has no NaN."""
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
