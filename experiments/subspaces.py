"""Which single direction of the update carries the accuracy?"""

from dataclasses import replace

from rlvr_dynamics.schema import Rebuilt

from .question import Plan, Question
from .rank_recovery import RANDOM, RANK_1
from .runs import ALPHARL_8B, ALPHARL_BENCHMARKS, DETAILED, PUBLISHED_PAIRS, STUDY


def single(index: int) -> Rebuilt:
    """Reconstruct from only the index-th direction of every update, at the full update's norm."""
    return Rebuilt(name="rank_recovery", label=f"subspace_{index}", parameters={"subspace": index})


PAPER = Plan(
    cells=(*ALPHARL_8B, *PUBLISHED_PAIRS),
    reconstructions=(RANK_1, RANDOM, *map(single, (2, 3, 4, 5))),
    ladder=(1.0,),
    benchmarks=ALPHARL_BENCHMARKS,
)

QUESTION = Question(
    name="subspaces",
    asks="Does any other single direction of the update do what the first does?",
    sources=("AlphaRL (arXiv 2510.00553), Figures 4a and 11",),
    plans=(
        PAPER,
        replace(
            PAPER,
            cells=STUDY,
            reconstructions=(RANK_1, RANDOM, *map(single, (2, 3))),
            benchmarks=(),
        ),
        replace(
            PAPER, cells=(DETAILED,), reconstructions=(RANK_1, RANDOM, single(5)), benchmarks=()
        ),
    ),
    artefacts=("alpharl_figure_4a", "alpharl_figure_11"),
)
