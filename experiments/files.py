"""The files of the cells in `configs/exp`, written from their declaration."""

import textwrap
from pathlib import Path

from experiments.cells import CELLS, Cell
from rlvr_dynamics.config import CONFIG_FOLDER
from rlvr_dynamics.system.atomic import write_text

FOLDER = CONFIG_FOLDER / "exp"
MARK = "# Written by `python -m experiments.grid --write` from experiments/cells.py."
LINE = 100


def text_of(cell: Cell) -> str:
    """The file of a cell."""
    groups = {
        "model": cell.model,
        "data": cell.protocol.data,
        "benchmark": cell.protocol.benchmark,
        "algorithm": cell.algorithm,
        "trainer": "gpu_node",
        "measure": "large",
        "scoring": cell.protocol.scoring,
    }
    lines = ["# @package _global_", MARK]
    lines += [f"# {line}" for line in textwrap.wrap(cell.protocol.why, LINE - 2)]
    lines += ["defaults:", *(f"  - override /{group}: {name}" for group, name in groups.items())]
    lines += ["", f"name: {cell.name}"]
    sections: dict[str, list[str]] = {}
    for key, value in cell.protocol.keys.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(f"  {name}: {value}")
    for section, keys in sections.items():
        lines += [f"{section}:", *keys]
    return "\n".join(lines) + "\n"


def write(folder: Path = FOLDER) -> list[str]:
    """Write the files of all cells and remove those of cells that are no longer declared.

    Returns:
        Names of the files that changed.
    """
    wanted = {f"{cell.name}.yaml": text_of(cell) for cell in CELLS}
    present = written(folder)
    changed = [name for name, text in wanted.items() if present.get(name) != text]
    for name in changed:
        write_text(folder / name, wanted[name])
    gone = sorted(present.keys() - wanted.keys())
    for name in gone:
        (folder / name).unlink()
    return changed + gone


def written(folder: Path = FOLDER) -> dict[str, str]:
    """Name and content of every file that `write` has made, declared or not."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    return {name: text for name, text in texts.items() if MARK in text.splitlines()}
