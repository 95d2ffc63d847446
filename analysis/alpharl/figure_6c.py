"""AlphaRL, figure 6c: rank-1 updates of a third of the modules, by how well u1 follows accuracy."""

from analysis.parts.curves import CurveFigure, places
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.study import Study

WINDOWS = tuple(f"rank1_r2_window_{window}" for window in range(1, 8))
PLACES = places(
    ("base", "base", False),
    *((str(number), method, True) for number, method in enumerate(WINDOWS, start=1)),
    ("all", "rank1_recovery", False),
    ("full", "real", False),
)


def draw(study: Study) -> Drawing:
    """Accuracy of the seven windows."""
    return CurveFigure(
        PLACES, "third of the modules by R², from the best (1) to the worst (7)"
    ).draw(study)


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_6c",
        "alpharl",
        "Figure 6c",
        "A third of the modules at a time, sorted by R²",
        "In the paper accuracy falls from the first window to the last. All: every module's rank-1 "
        "update. The ranking uses accuracies of the whole training, so it sees the future; "
        "neighbouring windows share modules.",
        "linearity_pls",
        draw,
    )
]
