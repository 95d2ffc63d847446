"""AlphaRL, figure 4a: one singular direction of the update alone."""

import re

from analysis.parts.curves import CurveFigure, Place
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.scores import methods_of
from rlvr_dynamics.results.study import Study

SUBSPACE = re.compile(r"subspace_(\d+)")


def subspace_places(study: Study) -> list[Place]:
    """Base, random update, every direction that a run was rebuilt from, final checkpoint."""
    found: set[int] = set()
    for cell in study.cells:
        found |= {int(m[1]) for name in methods_of(cell.results) if (m := SUBSPACE.fullmatch(name))}
    listed = [("base", "base"), ("random", "random_update"), ("1", "rank1_recovery")]
    listed += [(str(index), f"subspace_{index}") for index in sorted(found)]
    joined = range(2, len(listed))
    listed.append(("full", "real"))
    return [Place(label, method, x, x in joined) for x, (label, method) in enumerate(listed)]


def subspace_figure(study: Study, *, each_benchmark: bool) -> CurveFigure:
    """Accuracy of the base moved along its i-th direction alone."""
    places = subspace_places(study)
    needed = tuple(place.method for place in places if place.method.startswith("subspace_"))
    return CurveFigure(
        places,
        "direction i of the update, alone",
        each_benchmark=each_benchmark,
        needed=needed or ("subspace_2",),
    )


def draw(study: Study) -> Drawing:
    """The benchmark that stands for each run."""
    return subspace_figure(study, each_benchmark=False).draw(study)


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_4a",
        "alpharl",
        "Figure 4a",
        "One direction of the update alone",
        "Each direction is rescaled to the norm of the whole update. Does the first stand out from "
        "the second, and the second from a random update of the same norm? Base and full are the "
        "floor and the aim.",
        "subspaces",
        draw,
    )
]
