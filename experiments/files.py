"""The configuration files generated from declarations: cells, and lists of predictions."""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from rlvr_dynamics.config import CONFIG_FOLDER
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import write_text
from rlvr_dynamics.system.installation import HOME, IN_WHEEL

from .cells import CELLS, Cell
from .predictions import entries
from .question import Question

CELL_FOLDER = CONFIG_FOLDER / "exp"
LIST_FOLDER = CONFIG_FOLDER / "extrapolation"
CELL_MARK = "# Written by `python -m experiments.grid --write` from experiments/cells.py."
LIST_MARK = "# Written by `python -m experiments.questions --write` from experiments/{}.py."
# Questions whose lists users would otherwise type; `recovery` lists the reconstructions.
LISTED = ("acceleration", "far_extrapolation", "ablations", "baselines")
LINE = 100


def check_checkout() -> None:
    """Refuse to write where there are no sources.

    Raises:
        UserError: This is an installed wheel.
    """
    if IN_WHEEL:
        raise UserError(
            "--write changes files of a checkout, and this is an installed package",
            where=str(HOME),
            way_out="clone the repository and run the command there",
        )


def text_of(cell: Cell) -> str:
    """Return the file content of a cell."""
    groups = {
        "model": cell.model,
        "data": cell.protocol.data,
        "benchmark": cell.protocol.benchmark,
        "algorithm": cell.algorithm,
        "trainer": "gpu_node",
        "measure": "large",
        "scoring": cell.protocol.scoring,
    }
    lines = ["# @package _global_", CELL_MARK, *_comment(cell.why)]
    lines += ["defaults:", *(f"  - override /{group}: {name}" for group, name in groups.items())]
    lines += ["", f"name: {cell.name}"]
    sections: dict[str, list[str]] = {}
    for key, value in cell.keys.items():
        section, dot, name = key.partition(".")
        if dot:
            sections.setdefault(section, []).append(f"  {name}: {value}")
        else:
            lines.append(f"{key}: {value}")
    for section, keys in sections.items():
        lines += [f"{section}:", *keys]
    return "\n".join(lines) + "\n"


def list_of(question: Question) -> str:
    """Return the file content with the papers' own windows, targets and methods of a question."""
    lines = [LIST_MARK.format(question.name), *_comment(question.asks)]
    for key, value in entries(question.plans[0].predictions).items():
        if key in ("windows", "targets"):
            lines.append(f"{key}: {_spelled(value)}")
        else:
            lines.append(f"{key}:" if value else f"{key}: []")
            lines += [f"  - {_spelled(each)}" for each in value]
    return "\n".join(lines) + "\n"


def write_cells(folder: Path = CELL_FOLDER) -> list[str]:
    """Write the files of all cells and remove files of cells that are no longer declared.

    Returns:
        Names of the files that changed.
    """
    wanted = {f"{cell.name}.yaml": text_of(cell) for cell in CELLS}
    gone = sorted(written_cells(folder).keys() - wanted.keys())
    changed = _write(folder, wanted)
    for name in gone:
        (folder / name).unlink()
    return changed + gone


def written_cells(folder: Path = CELL_FOLDER) -> dict[str, str]:
    """Return name and content of every file that `write_cells` has made, declared or not."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    return {name: text for name, text in texts.items() if CELL_MARK in text.splitlines()}


def write_lists(questions: Iterable[Question], folder: Path = LIST_FOLDER) -> list[str]:
    """Write the questions' lists; returns the names of those that changed."""
    chosen = [question for question in questions if question.name in LISTED]
    return _write(folder, {f"{question.name}.yaml": list_of(question) for question in chosen})


def _write(folder: Path, wanted: dict[str, str]) -> list[str]:
    changed = []
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            changed.append(name)
    return changed


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, LINE - 2)]


def _spelled(value: object) -> str:
    """Format a value in YAML's short form."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_spelled(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
