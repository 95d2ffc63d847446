"""Does the number of updates a step change what the weights do?"""

from rlvr_dynamics.schema import Method

from .question import Plan, Question
from .rank_recovery import RANDOM, RANK_1
from .runs import ALPHARL_BENCHMARKS, RELEX_BENCHMARKS

METHODS = (Method(name="relex"), Method(name="relex_raw"), Method(name="weight_extrapolation"))
TABLES = ("norms", "exponents", "trajectory_svd", "linearity", "rank_shares")


def minis(cell: str, *prompts: int) -> tuple[str, ...]:
    """Return a cell and its repeats with other numbers of prompts in an update."""
    return (cell, *(f"{cell}-mini{count}" for count in prompts))


QUESTION = Question(
    name="updates",
    asks="Do size, rank, linearity and forecasts of the weights, and the accuracy, depend on how "
    "many updates a step makes?",
    sources=("ours; both papers leave the number open",),
    plans=(
        Plan(
            cells=(*minis("dapo_qwen3_8b", 128, 32), *minis("gspo_qwen3_8b", 512)),
            windows=(0.1, 0.2, 0.4),
            methods=METHODS,
            reconstructions=(RANK_1, RANDOM),
            ladder=(0.1, 0.2, 0.4, 1.0),
            benchmarks=ALPHARL_BENCHMARKS,
            tables=TABLES,
        ),
        Plan(
            cells=minis("grpo_qwen2_5_math_1_5b", 512, 128),
            windows=(0.15,),
            methods=METHODS,
            reconstructions=(RANK_1, RANDOM),
            ladder=(0.15, 1.0),
            benchmarks=RELEX_BENCHMARKS,
            tables=TABLES,
        ),
        Plan(
            cells=minis("demo", 8, 4, 1),
            windows=(0.15, 0.3),
            methods=METHODS,
            reconstructions=(RANK_1, RANDOM),
            ladder=(0.15, 0.3, 1.0),
            tables=TABLES,
        ),
    ),
    note="A cell that ends in -miniN has N prompts in an update, the others their own number. "
    "At one update a step no clip can act, so GSPO with 512 is a control of its clip.",
)
