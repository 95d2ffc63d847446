"""All figures of a run's page, in page order."""

from rlvr_dynamics.reporting import (
    direction_figures,
    function_figure,
    linearity_figures,
    method_figures,
    spectral_figures,
    training_figures,
    update_figures,
)
from rlvr_dynamics.reporting.artefact import Artefact

FIGURES: list[Artefact] = [
    *training_figures.FIGURES,
    *update_figures.FIGURES,
    *method_figures.FIGURES,
    *spectral_figures.FIGURES,
    *direction_figures.FIGURES,
    *linearity_figures.FIGURES,
    *function_figure.FIGURES,
]
