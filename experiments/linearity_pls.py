"""Do the directions move along a line, and does their motion predict the accuracy?"""

from rlvr_dynamics.schema import Rebuilt

from .question import Plan, Question
from .rank_recovery import RANK_1
from .runs import (
    ALPHARL_8B,
    ALPHARL_PUBLISHED,
    DETAILED,
    RELEX,
    RELEX_PUBLISHED,
    STUDY,
)

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Both are compared with nulls: shuffled steps or accuracies, and random walks.
TABLES = ("coefficients", "trajectory_svd", "linearity", "explained_variance", "drift")
PLS = ("u1_alignment", "pls")


def only(modules: str) -> Rebuilt:
    """Reconstruct the rank-1 update of some modules; the others stay as in the base."""
    return Rebuilt(name="rank_recovery", label=f"rank1_{modules}", parameters={"modules": modules})


def r2_window(index: int) -> Rebuilt:
    """Reconstruct the rank-1 update of a third of the modules, the index-th by descending R²."""
    return Rebuilt(
        name="rank_recovery", label=f"rank1_r2_window_{index}", parameters={"r2_window": index}
    )


MODULES = (
    RANK_1,
    *map(only, ("attention", "mlp", *PROJECTIONS)),
    *map(r2_window, range(1, 8)),
)

QUESTION = Question(
    name="linearity_pls",
    asks="How straight is the path of every tensor's leading direction, and how much of the "
    "accuracy does it explain, in and out of sample?",
    sources=(
        "AlphaRL (arXiv 2510.00553), section 4, Figures 6a to 6c, 15 and 16 to 29",
        "RELEX (arXiv 2605.21468), rank, linearity and geometry",
    ),
    plans=(
        Plan(cells=(*ALPHARL_8B, ALPHARL_PUBLISHED), tables=(*TABLES, *PLS)),
        Plan(cells=("dapo_qwen3_8b",), reconstructions=MODULES, benchmarks=("math500",)),
        Plan(cells=(*RELEX_PUBLISHED, *RELEX), tables=TABLES),
        Plan(cells=STUDY, tables=(*TABLES, *PLS)),
        Plan(cells=(DETAILED,), reconstructions=MODULES),
    ),
    artefacts=(
        "alpharl_figure_6a",
        "alpharl_figure_6b",
        "alpharl_figure_6c",
        "alpharl_figure_15",
        "alpharl_figure_16_29",
        "relex_spectrum",
        "relex_linearity",
        "relex_geometry",
    ),
)
