"""AlphaRL, figure 12b: how surprised the base is by the trained model's answers."""

from analysis.alpharl.behaviour_drawing import draw_rows
from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.study import Study

READINGS = (
    (BASE, TRAINED, "trained model's answers"),
    (BASE, RANK1, "rank-1 update's answers"),
    (BASE, RANDOM, "control: random update's answers"),
    (BASE, BASE, "control: the base's own answers"),
)


def draw(study: Study) -> Drawing:
    """Perplexity under the base of everyone's greedy answers."""
    return draw_rows(
        study,
        "perplexity",
        READINGS,
        "perplexity of a token of the answers under the base (1: certain of every token)",
        floor=1.0,
    )


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_12b",
        "alpharl",
        "Figure 12b",
        "Perplexity of the answers under the base",
        "Only the answer counts, not the question; all answers are greedy. Compare with the base's "
        "own answers: left of them, the trained model writes what the base finds more likely than "
        "its own text.",
        "rank_recovery",
        draw,
    )
]
