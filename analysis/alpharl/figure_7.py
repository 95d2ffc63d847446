"""AlphaRL, figure 7: accuracy against the rank that is kept, on every benchmark."""

from dataclasses import replace

from analysis.alpharl.figure_3a import rank_places
from analysis.parts.curves import CurveFigure, Place
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.scores import methods_of
from rlvr_dynamics.results.study import Study


def draw(study: Study) -> Drawing:
    """One panel for each benchmark; ranks that no run was rebuilt at take no room."""
    there = {name for cell in study.cells for name in methods_of(cell.results)}
    listed = [place for place in rank_places(study) if place.method in there]
    listed.append(Place("full", "real", 0, joined=False))
    spaced = [replace(place, x=float(x)) for x, place in enumerate(listed)]
    return CurveFigure(
        spaced, "directions kept: 1, or k % of min(m, n)", each_benchmark=True, dodged=0.7
    ).draw(study)


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_7",
        "alpharl",
        "Figure 7",
        "Accuracy against the rank that is kept, on every benchmark",
        "Does rank 1 reach the full update on problems that it was never trained on? A flat curve "
        "between base and full that do not differ says nothing.",
        "rank_recovery",
        draw,
    )
]
