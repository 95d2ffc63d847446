"""AlphaRL, figure 10: rank-1 updates of GRPO across its checkpoints, on every benchmark."""

from analysis.alpharl.progress_curves import ProgressFigure
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.results.study import Cell


def is_grpo(cell: Cell) -> bool:
    """Whether a run is of the algorithm that the paper's figure shows."""
    return cell.algorithm == "grpo"


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_10",
        "alpharl",
        "Figure 10",
        "Rank-1 updates across the checkpoints of GRPO",
        "As figure 3b on every benchmark, for GRPO alone, as in the paper; runs on shuffled "
        "rewards have panels of their own.",
        "training_progress",
        ProgressFigure(each_benchmark=True, where=is_grpo).draw,
    )
]
