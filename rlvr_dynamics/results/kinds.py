"""The five kinds of training that AlphaRL's Tables 7 and 8 compare, and which runs are of them."""

from typing import NamedTuple

from analysis.parts.paper_tables import same_runs
from rlvr_dynamics.results.study import Cell, Study


class Kind(NamedTuple):
    """A kind of training.

    Attributes:
        title: How the paper heads its column.
        base_model: Where the training started.
        release: Name of the released model that was trained so; empty where the paper trained its
            own.
    """

    title: str
    base_model: str
    release: str = ""


# arXiv 2510.00553, section 2 and appendix B. The key is the algorithm of a run (for a released
# model `source.published.method`), and the name of the kind in the printed data.
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


def runs_of_kind(study: Study, kind: str) -> list[Cell]:
    """The runs of a kind of training from its base model; controls are no such runs."""
    return same_runs(study, KINDS[kind].base_model, kind)
