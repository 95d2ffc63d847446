"""What does each part of RELEX contribute: the rank, the fitted curve, the SVD itself?"""

from rlvr_dynamics.schema import Method, Rebuilt

from .question import Plan, Question
from .runs import DETAILED, RELEX, STUDY


def rank(kept: int) -> Method:
    """RELEX with more directions."""
    return Method(name="relex", label=f"relex_rank{kept}", parameters={"rank": kept})


METHODS = (
    Method(name="relex"),
    Method(name="relex_raw"),
    rank(3),
    rank(5),
    rank(10),
    Method(name="relex", label="relex_polynomial", parameters={"fit": "polynomial"}),
    Method(name="relex", label="relex_sinusoid", parameters={"fit": "sinusoid"}),
    Method(name="neural"),
)
ORACLE_5 = Rebuilt(
    name="trajectory_oracle", label="trajectory_oracle_rank5", parameters={"rank": 5}
)
TENTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def paper(cells: tuple[str, ...], window: float) -> Plan:
    """Plan the paper's ablation and oracle: targets every fifth of the training, one window."""
    return Plan(
        cells=cells,
        windows=(window,),
        targets=TENTHS,
        methods=METHODS,
        reconstructions=(
            Rebuilt(name="trajectory_oracle", targets=TENTHS),
            ORACLE_5.model_copy(update={"targets": TENTHS}),
        ),
        ladder=TENTHS,
        benchmarks=("math",),
    )


QUESTION = Question(
    name="ablations",
    asks="Do more directions, another curve, or no SVD predict better than a line of rank 1?",
    sources=("RELEX (arXiv 2605.21468), ablation and oracle tables",),
    plans=(
        paper(("relex_published_qwen2_5_math_1_5b", *RELEX[:2]), 0.15),
        paper(("grpo_qwen3_8b_math",), 0.2),
        Plan(
            cells=STUDY,
            windows=(0.2,),
            methods=METHODS,
            reconstructions=(Rebuilt(name="trajectory_oracle", targets=(0.5, 1.0)),),
            ladder=(0.2, 0.5, 1.0),
        ),
        Plan(cells=(DETAILED,), reconstructions=(ORACLE_5,), ladder=(1.0,)),
    ),
    artefacts=(
        "relex_ablation",
        "relex_oracle",
    ),
    note="Neither paper states the degree of its polynomial or the network of its non-linear fit.",
)
