"""Does the rank-1 part of the update preserve the accuracy?"""

from dataclasses import replace

from rlvr_dynamics.schema import Rebuilt

from .question import Plan, Question
from .runs import (
    ALPHARL_8B,
    ALPHARL_BENCHMARKS,
    ALPHARL_OTHERS,
    ALPHARL_PUBLISHED,
    DETAILED,
    PUBLISHED_PAIRS,
    STUDY,
)


def share(percent: int) -> Rebuilt:
    """Reconstruct from this share of every update's directions, the leading ones."""
    return Rebuilt(
        name="rank_recovery",
        label=f"recovery_{percent}_percent",
        parameters={"percent": float(percent)},
    )


RANK_1 = Rebuilt(name="rank1_recovery")
RANDOM = Rebuilt(name="random_update")
PAPER = Plan(
    cells=(*ALPHARL_8B, ALPHARL_PUBLISHED, *ALPHARL_OTHERS, *PUBLISHED_PAIRS, "r1_distill_qwen_7b"),
    reconstructions=(RANK_1, RANDOM, *map(share, (1, 10, 20, 30, 50, 70, 90))),
    ladder=(1.0,),
    benchmarks=ALPHARL_BENCHMARKS,
    tables=("norms", "rank_shares"),
)

QUESTION = Question(
    name="rank_recovery",
    asks="How much accuracy is left when only the leading directions of the update are kept?",
    sources=(
        "AlphaRL (arXiv 2510.00553), section 2.2",
        "AlphaRL, Figures 1, 3a, 5a, 7; of the trained models' behaviour 5b, 12 and 14",
    ),
    plans=(
        PAPER,
        replace(
            PAPER,
            cells=STUDY,
            reconstructions=(RANK_1, RANDOM, *map(share, (1, 10, 30, 50))),
            benchmarks=(),
        ),
        replace(
            PAPER,
            cells=(DETAILED,),
            reconstructions=(RANK_1, RANDOM, *map(share, (70, 90))),
            benchmarks=(),
        ),
    ),
    artefacts=(
        "alpharl_figure_1",
        "alpharl_figure_3a",
        "alpharl_figure_5a",
        "alpharl_figure_5b",
        "alpharl_figure_7",
        "alpharl_figure_12a",
        "alpharl_figure_12b",
        "alpharl_figure_12c",
        "alpharl_figure_14",
    ),
)
