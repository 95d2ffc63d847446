"""How far beyond the observed steps does the line hold?"""

from rlvr_dynamics.schema import Method

from .question import Plan, Question
from .runs import RELEX, STUDY

QUESTION = Question(
    name="far_extrapolation",
    asks="How far beyond the observed steps does the extrapolation hold, past the end included?",
    sources=("RELEX (arXiv 2605.21468), far extrapolation and appendix B",),
    plans=(
        Plan(  # after 50, 75, 100 and 125 of 500 steps, steps 500, 750 and 1,000
            cells=RELEX,
            windows=(0.1, 0.15, 0.2, 0.25),
            targets=(1.0, 1.5, 2.0),
            methods=(Method(name="relex"),),
            ladder=(1.0,),
            benchmarks=("math",),
        ),
        Plan(  # no published steps lie between the window and the end
            cells=("relex_published_qwen2_5_math_1_5b", "relex_published_qwen3_4b"),
            windows=(0.1, 0.15),
            targets=(1.0, 1.5, 2.0),
            methods=(Method(name="relex"),),
            ladder=(1.0,),
            benchmarks=("math",),
        ),
        Plan(
            cells=("relex_published_qwen3_8b",),
            windows=(0.1, 0.15, 0.2),
            targets=(1.0, 1.5, 2.0),
            methods=(Method(name="relex"),),
            ladder=(1.0,),
            benchmarks=("math",),
        ),
        Plan(
            cells=STUDY,
            windows=(0.1, 0.2, 0.3, 0.4, 0.5),
            targets=(1.0, 2.0),
            methods=(Method(name="relex"),),
            ladder=(1.0,),
        ),
    ),
    artefacts=("relex_far_extrapolation",),
)
