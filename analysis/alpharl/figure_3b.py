"""AlphaRL, figure 3b: accuracy over the training, real checkpoints beside rank-1 updates."""

from analysis.alpharl.progress_curves import ProgressFigure
from rlvr_dynamics.reporting.artefact import Artefact

ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_3b",
        "alpharl",
        "Figure 3b",
        "Accuracy over the training, full and rank 1",
        "Each open marker is the rank-1 part of the update at that very step, rescaled. The paper "
        "shows DAPO and RLOO and sees both curves together all along; a random update of the final "
        "norm (cross, right) is what the norm alone does.",
        "training_progress",
        ProgressFigure().draw,
    )
]
