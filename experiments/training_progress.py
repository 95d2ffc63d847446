"""Does rank 1 follow the model throughout its training?"""

from rlvr_dynamics.schema import Rebuilt

from .question import Plan, Question
from .runs import ALPHARL_8B, ALPHARL_BENCHMARKS, ALPHARL_PUBLISHED, STUDY

STAGES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)

QUESTION = Question(
    name="training_progress",
    asks="Does the rank-1 part of the update follow the accuracy through the training?",
    sources=("AlphaRL (arXiv 2510.00553), Figures 3b and 10", "AlphaRL, Tables 5 and 6"),
    plans=(
        Plan(
            cells=(*ALPHARL_8B, ALPHARL_PUBLISHED),
            reconstructions=(Rebuilt(name="rank1_recovery", targets=STAGES),),
            ladder=STAGES,
            benchmarks=ALPHARL_BENCHMARKS,
        ),
        Plan(
            cells=STUDY,
            reconstructions=(Rebuilt(name="rank1_recovery", targets=(0.1, 0.3, 0.4, 0.5, 1.0)),),
            ladder=STAGES,
        ),
    ),
    artefacts=("alpharl_figure_3b", "alpharl_figure_10", "alpharl_table_5", "alpharl_table_6"),
    note="Tables 5 and 6 train against another player at Kuhn poker, which nothing here does; "
    "their rows of ours are the same stages of other tasks.",
)
