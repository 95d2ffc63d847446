"""What do the statistics give when there is nothing to find?"""

from rlvr_dynamics.schema import Method

from .linearity_pls import PLS, TABLES
from .question import Plan, Question
from .rank_recovery import RANDOM, RANK_1
from .runs import ALPHARL_BENCHMARKS, CONTROLS, DETAILED, RELEX_BENCHMARKS

# Tables that hold nulls: random walks with the steps' norms, shuffled steps and accuracies.
NULLS = (*TABLES, *PLS)

QUESTION = Question(
    name="controls",
    asks="Which numbers does a run on meaningless rewards have too, or a random walk, or a random "
    "update of the same norm?",
    sources=("ours; nulls for every in-sample statistic of both papers",),
    plans=(
        Plan(
            cells=("grpo_qwen3_8b", "grpo_qwen3_8b-shuffled"),
            windows=(0.2, 0.4),
            methods=(Method(name="relex"), Method(name="alpharl")),
            reconstructions=(RANK_1, RANDOM),
            ladder=(0.2, 0.4, 1.0),
            benchmarks=ALPHARL_BENCHMARKS,
            tables=NULLS,
        ),
        Plan(
            cells=("grpo_qwen2_5_math_1_5b", "grpo_qwen2_5_math_1_5b-shuffled"),
            windows=(0.15,),
            methods=(Method(name="relex"), Method(name="alpharl")),
            reconstructions=(RANK_1, RANDOM),
            ladder=(0.15, 1.0),
            benchmarks=RELEX_BENCHMARKS,
            tables=NULLS,
        ),
        Plan(
            cells=(DETAILED, *CONTROLS),
            windows=(0.2, 0.4),
            methods=(Method(name="relex"), Method(name="alpharl")),
            reconstructions=(RANK_1, RANDOM),
            ladder=(0.2, 0.4, 1.0),
            tables=NULLS,
        ),
    ),
)
