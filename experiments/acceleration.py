"""How much of the training can be skipped?"""

from dataclasses import replace

from experiments.question import Plan, Question
from experiments.runs import (
    ALPHARL_8B,
    ALPHARL_BENCHMARKS,
    ALPHARL_OTHERS,
    ALPHARL_PUBLISHED,
    RELEX,
    RELEX_BENCHMARKS,
    RELEX_PUBLISHED,
    STUDY,
)
from rlvr_dynamics.schema import Method, Rebuilt

WINDOWS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
ALPHARL = Method(name="alpharl")
VARIANTS = (
    Method(name="alpharl", label="alpharl_final", windows=(0.4,), parameters={"target": "final"}),
    Method(
        name="alpharl", label="alpharl_released", windows=(0.4,), parameters={"variant": "released"}
    ),
)
# Where validation problems cost little: y* = 1 is the text's, 1.7 the released code's.
CHOSEN = Method(
    name="alpharl",
    label="alpharl_chosen",
    windows=(0.4,),
    grid={"y_star": (0.5, 0.75, 1.0, 1.7)},
)
# The rank-1 part of the last observed update is a control of AlphaRL.
STARTS = Rebuilt(name="rank1_recovery", targets=(0.1, 0.4))
PAPER = Plan(
    cells=(*ALPHARL_8B, ALPHARL_PUBLISHED, *ALPHARL_OTHERS),
    windows=WINDOWS,
    methods=(ALPHARL, *VARIANTS, Method(name="relex")),
    reconstructions=(STARTS,),
    ladder=(*WINDOWS, 1.0),
    benchmarks=ALPHARL_BENCHMARKS,
)

QUESTION = Question(
    name="acceleration",
    asks="After which share of the training does a prediction match the fully trained model?",
    sources=(
        "AlphaRL (arXiv 2510.00553), Tables 1, 3 and 4",
        "RELEX (arXiv 2605.21468), main and out-of-domain tables",
    ),
    plans=(
        PAPER,
        Plan(
            cells=(*RELEX_PUBLISHED, *RELEX),
            windows=(0.05, 0.1, 0.15),
            methods=(Method(name="relex"),),
            ladder=(0.15, 1.0),
            benchmarks=RELEX_BENCHMARKS,
        ),
        Plan(  # RELEX observes a fifth of the 8B's training, and less for the other models
            cells=("relex_published_qwen3_8b", "grpo_qwen3_8b_math"),
            windows=(0.2,),
            targets=(1.0, 1.5),
            methods=(Method(name="relex"),),
            ladder=(0.2, 1.0),
            benchmarks=RELEX_BENCHMARKS,
        ),
        replace(
            PAPER,
            cells=STUDY,
            methods=(
                # 5 % of 60 steps are too few for AlphaRL's regression.
                ALPHARL.model_copy(update={"windows": WINDOWS[1:]}),
                *VARIANTS,
                CHOSEN,
                Method(name="relex"),
            ),
            benchmarks=(),
        ),
    ),
    artefacts=(
        "alpharl_table_1",
        "alpharl_table_3",
        "alpharl_table_4",
        "relex_main",
        "relex_out_of_domain",
        "relex_curves",
    ),
)
