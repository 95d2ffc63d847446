"""AlphaRL, Table 5: self-play at Kuhn Poker, win rate by stage of the training."""

from analysis.alpharl.stage_tables import StageTable, stage_tables
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.study import Study

NAME = "alpharl_table_5"
TITLE = "Full, rank-1 and AlphaRL by stage, on the task trained on"


def build(study: Study) -> list[Table]:
    """As printed; then our runs on the benchmarks of the kind that they were trained on."""
    table = StageTable(
        NAME,
        TITLE,
        printed(paper="alpharl", table="table5"),
        measure="Win rate at Kuhn Poker against another language model after self-play (Spiral)",
        benchmark=None,
        split="in_domain",
        stand_in="the benchmarks of the kind trained on",
    )
    return stage_tables(table, study)


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "alpharl",
        "Table 5",
        TITLE,
        "Rank-1 follows the full model at every stage, early ones too; AlphaRL lies above both. "
        "No Kuhn Poker is played here: our runs show the same stages of their own tasks.",
        "training_progress",
        build,
    )
]
