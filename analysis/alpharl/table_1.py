"""AlphaRL, Table 1: early checkpoints and AlphaRL on Qwen3-8B-Base, three algorithms."""

from analysis.alpharl.early_tables import EarlyTable, early_tables
from analysis.parts.paper_tables import wide
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.study import Study

NAME = "alpharl_table_1"
TITLE = "AlphaRL at 10 % and 40 % of the training, by algorithm"


def build(study: Study) -> list[Table]:
    """The three tables: as printed with ours beneath, our runs, accuracy kept."""
    table = EarlyTable(NAME, TITLE, wide(printed(paper="alpharl", table="table1")), (0.1, 0.4))
    return early_tables(table, study, study)


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "alpharl",
        "Table 1",
        TITLE,
        "The rows at 40 %: does AlphaRL keep over 96 % of the full training, and how much of that "
        "does the plain checkpoint of the same step keep?",
        "acceleration",
        build,
    )
]
