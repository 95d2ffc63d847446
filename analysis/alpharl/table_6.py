"""AlphaRL, Table 6: MATH-500 after self-play at Kuhn Poker, by stage of the training."""

from analysis.alpharl.stage_tables import StageTable, stage_tables
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.study import Study

NAME = "alpharl_table_6"
TITLE = "Full, rank-1 and AlphaRL by stage, on tasks not trained on"


def build(study: Study) -> list[Table]:
    """As printed; then our runs on the benchmarks of other kinds than their training's."""
    table = StageTable(
        NAME,
        TITLE,
        printed(paper="alpharl", table="table6"),
        measure="MATH-500 after self-play at Kuhn Poker (Spiral)",
        benchmark="math500",
        split="out_of_domain",
        stand_in="the benchmarks of other kinds than the training's",
    )
    return stage_tables(table, study)


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "alpharl",
        "Table 6",
        TITLE,
        "Whether what carries over to another task is in rank 1 as well, and whether AlphaRL "
        "brings it forward.",
        "training_progress",
        build,
    )
]
