"""The papers' own windows, targets and methods of a question as a file of `configs/extrapolation`.

`python -m experiments.questions --write` writes them; `extrapolation=acceleration` takes one.
"""

import textwrap
from pathlib import Path

from experiments.predictions import entries
from experiments.question import Question
from rlvr_dynamics.config import CONFIG_FOLDER
from rlvr_dynamics.system.atomic import write_text

FOLDER = CONFIG_FOLDER / "extrapolation"
# The questions whose lists one would otherwise type; `recovery` has those of the reconstructions.
WRITTEN = ("acceleration", "far_extrapolation", "ablations", "baselines")


def group_text(question: Question) -> str:
    """The file of a question."""
    module = f"experiments/{question.name}.py"
    lines = [f"# Written by `python -m experiments.questions --write` from {module}."]
    lines += [f"# {line}" for line in textwrap.wrap(question.asks, 98)]
    for key, value in entries(question.plans[0].predictions).items():
        if key in ("windows", "targets"):
            lines.append(f"{key}: {_spelled(value)}")
        else:
            lines.append(f"{key}:" if value else f"{key}: []")
            lines += [f"  - {_spelled(each)}" for each in value]
    return "\n".join(lines) + "\n"


def write_groups(questions: tuple[Question, ...], folder: Path = FOLDER) -> list[str]:
    """Write the files; returns the names of those that changed."""
    changed = []
    for question in questions:
        path = folder / f"{question.name}.yaml"
        text = group_text(question)
        if question.name in WRITTEN and (not path.exists() or path.read_text() != text):
            write_text(path, text)
            changed.append(path.name)
    return changed


def _spelled(value: object) -> str:
    """A value in YAML's short form."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_spelled(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
