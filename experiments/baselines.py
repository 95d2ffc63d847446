"""Do simpler predictions do as well?"""

from rlvr_dynamics.schema import Method

from .question import Plan, Question
from .runs import RELEX, RELEX_BENCHMARKS, RELEX_PUBLISHED, STUDY

METHODS = (
    Method(name="relex"),
    Method(name="weight_extrapolation"),
    Method(name="momentum"),
    Method(name="first_update"),
    Method(name="shrunk_relex"),
)
# AlphaRL selects by accuracies of the observed checkpoints, ExPO by a validation split.
TRAINED = (
    *METHODS,
    Method(name="alpharl"),
    Method(name="expo", grid={"alpha": (0.1, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0)}),
)

QUESTION = Question(
    name="baselines",
    asks="Does RELEX beat a line per weight, an amplified update, AlphaRL, the last checkpoint?",
    sources=(
        "RELEX (arXiv 2605.21468), baselines",
        "weight extrapolation: arXiv 2601.04537; ExPO: arXiv 2404.16792",
    ),
    plans=(
        Plan(
            cells=RELEX,
            windows=(0.15,),
            methods=TRAINED,
            ladder=(0.15, 1.0),
            benchmarks=RELEX_BENCHMARKS,
        ),
        Plan(
            cells=RELEX_PUBLISHED,
            windows=(0.15,),
            methods=METHODS,
            ladder=(0.15, 1.0),
            benchmarks=RELEX_BENCHMARKS,
        ),
        Plan(
            cells=STUDY,
            windows=(0.2,),
            methods=(
                *METHODS,
                Method(name="alpharl"),
                Method(name="expo", grid={"alpha": (0.5, 2.0, 8.0)}),
            ),
            ladder=(0.2, 1.0),
        ),
    ),
    artefacts=("relex_baselines",),
    note="The last checkpoint of the window is scored as what it is, a real one. RELEX's logits "
    "extrapolation predicts no weights and is not among the methods; on published steps AlphaRL "
    "needs accuracies (source.accuracy=FILE).",
)
