"""How much of a result is due to the luck of one run?"""

from rlvr_dynamics.schema import Method, Rebuilt

from .question import Plan, Question
from .rank_recovery import RANDOM, RANK_1
from .runs import AGAIN, ALPHARL_BENCHMARKS, RELEX_BENCHMARKS, TRAINED


def three(cell: str) -> tuple[str, ...]:
    """Return a cell with seed 0 and its repeats with two other seeds."""
    return (cell, f"{cell}-seed1", f"{cell}-seed2")


QUESTION = Question(
    name="seeds",
    asks="How far do accuracies, skills and shares differ between runs that differ in their seed?",
    sources=("ours; neither paper repeats a run",),
    plans=(
        Plan(
            cells=(*three("dapo_qwen3_8b"), *three("grpo_qwen3_8b")),
            windows=(0.1, 0.2, 0.4),
            methods=(Method(name="relex"), Method(name="alpharl")),
            reconstructions=(RANK_1, RANDOM),
            ladder=(0.1, 0.2, 0.4, 1.0),
            benchmarks=ALPHARL_BENCHMARKS,
            tables=("linearity",),
        ),
        Plan(
            cells=(*three("grpo_qwen2_5_math_1_5b"), *three("grpo_qwen3_4b")),
            windows=(0.15,),
            methods=(Method(name="relex"), Method(name="relex_raw")),
            reconstructions=(RANK_1, RANDOM),
            ladder=(0.15, 1.0),
            benchmarks=RELEX_BENCHMARKS,
            tables=("linearity",),
        ),
        Plan(
            cells=TRAINED,
            windows=(0.1, 0.2, 0.4),
            methods=(Method(name="relex"), Method(name="alpharl")),
            reconstructions=(RANK_1, RANDOM),
            ladder=(0.1, 0.2, 0.4, 1.0),
            tables=("linearity",),
        ),
        Plan(cells=AGAIN, reconstructions=(Rebuilt(name="borrowed_direction"), RANDOM)),
    ),
    artefacts=("directions", "directions_table"),
)
