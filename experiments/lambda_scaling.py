"""How long should the rank-1 update be?"""

from dataclasses import replace

from rlvr_dynamics.schema import Rebuilt

from .question import Plan, Question
from .rank_recovery import RANDOM, RANK_1
from .runs import ALPHARL_8B, PUBLISHED_PAIRS, STUDY


def scaled(factor: float) -> Rebuilt:
    """Reconstruct the rank-1 update, rescaled to the norm of the full update, times a factor."""
    return Rebuilt(
        name="rank_recovery",
        label=f"rank1_scaled_{factor:g}".replace(".", "_"),
        parameters={"scale": factor},
    )


PAPER = Plan(
    cells=(*ALPHARL_8B, *PUBLISHED_PAIRS),
    reconstructions=(RANK_1, RANDOM, *map(scaled, (0.1, 0.25, 0.4, 0.55, 0.7, 0.85))),
    ladder=(1.0,),
    benchmarks=("math500",),
)

QUESTION = Question(
    name="lambda_scaling",
    asks="How does the accuracy grow with the length of the rank-1 update?",
    sources=("AlphaRL (arXiv 2510.00553), Figure 4b",),
    plans=(
        PAPER,
        replace(
            PAPER,
            cells=STUDY,
            reconstructions=(RANK_1, RANDOM, *map(scaled, (0.4, 0.7))),
            benchmarks=(),
        ),
    ),
    artefacts=("alpharl_figure_4b",),
    note="The factor 1 is the rank-1 recovery itself.",
)
