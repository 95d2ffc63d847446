"""AlphaRL, figure 11: one singular direction of the update alone, on every benchmark."""

from analysis.alpharl.figure_4a import subspace_figure
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.study import Study


def draw(study: Study) -> Drawing:
    """One panel for each benchmark."""
    return subspace_figure(study, each_benchmark=True).draw(study)


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_11",
        "alpharl",
        "Figure 11",
        "One direction of the update alone, on every benchmark",
        "As figure 4a. Where training itself moved a benchmark little, no direction can be told "
        "from another: compare base and full first.",
        "subspaces",
        draw,
    )
]
