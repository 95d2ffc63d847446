"""AlphaRL, Table 4: DAPO on models that had been trained to reason or to follow instructions."""

from analysis.alpharl.early_tables import EarlyTable, early_tables
from analysis.parts.paper_tables import by_share, wide
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.kinds import is_same_model
from rlvr_dynamics.results.study import Study

NAME = "alpharl_table_4"
TITLE = "AlphaRL on models that were trained before"
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


def build(study: Study) -> list[Table]:
    """The three tables; our runs are those of the table's own models."""
    rows = by_share(wide(printed(paper="alpharl", table="table4")))
    models = list(dict.fromkeys(rows["model"]))
    here = [cell for cell in study.cells if any(is_same_model(cell, name) for name in models)]
    table = EarlyTable(
        NAME,
        TITLE,
        rows,
        SHARES,
        note=" The paper's Llama was fine-tuned on reasoning texts before its DAPO; ours is not.",
        wanted=f"a run of {' or '.join(models)} (other models: alpharl_table_3_here)",
    )
    return early_tables(table, study, Study(tuple(here)))


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "alpharl",
        "Table 4",
        TITLE,
        "How much the plain checkpoint keeps: on a distilled model it is close to the end from "
        "the start, and AlphaRL has little to add. One printed average is 20 points off.",
        "acceleration",
        build,
    )
]
