"""AlphaRL, figure 12a: how often the base would have written another token."""

from analysis.alpharl.behaviour_drawing import draw_rows
from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.study import Study

READINGS = (
    (BASE, TRAINED, "trained model's answers, read by the base"),
    (RANK1, TRAINED, "the same, read by the rank-1 update"),
    (BASE, RANK1, "rank-1 update's, read by the base"),
    (BASE, RANDOM, "control: random update's, read by the base"),
    (BASE, BASE, "control: the base's own answers"),
)


def draw(study: Study) -> Drawing:
    """Share of non-greedy tokens of every run, with its controls."""
    return draw_rows(
        study,
        "non_greedy_share",
        READINGS,
        "tokens that the reader would not have written, % of the answers' tokens",
        scale=100,
        floor=-0.002,
    )


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_12a",
        "alpharl",
        "Figure 12a",
        "Greedy and non-greedy tokens of the trained model under the base",
        "The smaller the share, the closer the trained model stays to what the base would have "
        "said itself. The random update shows what a change of the same size without direction "
        "does; the base's own answers give 0 by construction, up to rounding. If the rank-1 update "
        "is the trained model, its reading of the trained model's answers is near 0 too.",
        "rank_recovery",
        draw,
    )
]
