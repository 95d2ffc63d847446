"""The table of docs/grid.md: what a model's GRPO cell needs."""

import re
from collections.abc import Sequence
from pathlib import Path

from rlvr_dynamics.system.atomic import write_text

from .cell_need import Need

PAGE = Path(__file__).parents[1] / "docs" / "grid.md"
HEAD = (
    "| model | GPUs of 80 GiB | training: hours on them | GPU-hours | scoring: answers | GPU-hours "
    "| disk |\n|---|---|---|---|---|---|---|\n"
)
TABLE = re.compile(r"^\| model \|.*\n(?:\|.*\n)+", re.MULTILINE)


def table(needs: Sequence[tuple[str, Need]]) -> str:
    """Return the table, a line for each model and its needs, in Markdown."""
    lines = [
        f"| `{model}` | {need.gpus} | {need.training_hours} | {need.training_gpu_hours} | "
        f"{need.answers:,} | {need.scoring_gpu_hours} | {need.disk_bytes / 1e12:.1f} TB |\n"
        for model, need in needs
    ]
    return HEAD + "".join(lines)


def written(page: Path = PAGE) -> str:
    """Return the table that stands on the page."""
    found = TABLE.search(page.read_text(encoding="utf-8"))
    return found[0] if found else ""


def write(text: str, page: Path = PAGE) -> bool:
    """Put a table in the place of the page's; returns whether that changed it."""
    before = page.read_text(encoding="utf-8")
    after = TABLE.sub(lambda _: text, before, count=1)
    if after != before:
        write_text(page, after)
    return after != before
