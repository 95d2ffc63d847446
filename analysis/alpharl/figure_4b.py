"""AlphaRL, figure 4b: how long the rank-1 update should be."""

import re

from matplotlib.axes import Axes

from analysis.parts.curves import CurveFigure, Place
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import GREY
from rlvr_dynamics.results.scores import methods_of
from rlvr_dynamics.results.study import Study

SCALED = re.compile(r"rank1_scaled_(\d+)_(\d+)")
PLATEAU = 0.7  # where the paper's text sees the curves level off


def scale_places(study: Study) -> list[Place]:
    """λ = 0 (the base), every λ that a run was rebuilt with, λ = 1, and the final checkpoint."""
    found: dict[float, str] = {}
    for cell in study.cells:
        for name in methods_of(cell.results):
            if match := SCALED.fullmatch(name):
                found[float(f"{match[1]}.{match[2]}")] = name
    placed = [Place("0", "base", 0.0)]
    placed += [Place(f"{scale:g}", name, scale) for scale, name in sorted(found.items())]
    placed += [Place("1", "rank1_recovery", 1.0), Place("random", "random_update", 1.25, False)]
    return sorted([*placed, Place("full", "real", 1.5, False)], key=lambda place: place.x)


def draw(study: Study) -> Drawing:
    """Accuracy against λ."""
    places = scale_places(study)
    needed = tuple(place.method for place in places if place.method.startswith("rank1_scaled"))
    return CurveFigure(
        places,
        "λ, the factor on the rescaled rank-1 update",
        needed=needed or ("rank1_scaled_0_7",),
        decorate=_plateau,
        dodged=0.06,
    ).draw(study)


def _plateau(axes: Axes) -> None:
    axes.axvline(PLATEAU, color=GREY, linewidth=0.7, linestyle=":")


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_4b",
        "alpharl",
        "Figure 4b",
        "How long the rank-1 update should be",
        "λ = 0 is the base, λ = 1 the rank-1 update at the norm of the whole. Dotted: the paper's "
        "plateau, near 0.7. Right: a random update of the full norm, and the final checkpoint.",
        "lambda_scaling",
        draw,
    )
]
