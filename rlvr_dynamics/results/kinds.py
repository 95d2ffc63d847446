"""Which runs match a model and a training named in a paper."""

import re
from typing import NamedTuple

from rlvr_dynamics.results.study import Cell, Study


class Kind(NamedTuple):
    """A kind of training.

    Attributes:
        title: How the paper heads its column.
        base_model: Where the training started.
        release: Name of the released model trained this way; empty if the paper trained its own.
    """

    title: str
    base_model: str
    release: str = ""


# arXiv 2510.00553, section 2 and appendix B. The key is the algorithm of a run (for a released
# model `source.published.method`) and the name of the kind in the printed data.
KINDS = {
    "dist": Kind("offline distillation", "Qwen2.5-Math-7B", "DeepSeek-R1-Distill-Qwen-7B"),
    "opd": Kind(
        "online distillation",
        "Qwen3-8B-Base",
        "Qwen3-8B-Base-Open-Thoughts-On-Policy-Distillation",
    ),
    "sft": Kind("offline SFT", "Qwen3-8B-Base"),
    "dpo": Kind("offline DPO", "Qwen3-8B-Base"),
    "dapo": Kind("online RL, DAPO", "Qwen3-8B-Base"),
}


def is_same_model(cell: Cell, base_model: str) -> bool:
    """Whether a run starts from the model that a paper names."""
    repo = cell.results.config.model.repo or ""
    return bool(repo) and _plain(str(repo).rpartition("/")[2]) == _plain(base_model)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def same_runs(study: Study, base_model: str, algorithm: str) -> list[Cell]:
    """Return the runs with the model and algorithm of a printed row, without controls."""
    return [
        cell
        for cell in study.trained
        if cell.algorithm == algorithm and is_same_model(cell, base_model)
    ]


def runs_of_kind(study: Study, kind: str) -> list[Cell]:
    """Return the runs of a kind of training from its base model, without controls."""
    return same_runs(study, KINDS[kind].base_model, kind)
