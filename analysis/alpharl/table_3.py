"""AlphaRL, Table 3: DAPO on three models, from 5 % to 50 % of the training."""

import pandas as pd

from analysis.alpharl.early_tables import EarlyTable, early_tables
from analysis.parts.paper_tables import by_share, wide
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.kinds import is_same_model
from rlvr_dynamics.results.study import Study

NAME = "alpharl_table_3"
TITLE = "AlphaRL from 5 % to 50 % of the training"
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


def build(study: Study) -> list[Table]:
    """The three tables; our runs are those of any algorithm whose model is not in Table 4."""
    # Three of its rows on Qwen3-8B-Base are DAPO's of Table 1.
    shared = printed(paper="alpharl", table="table1", algorithm="dapo")
    rows = pd.concat([printed(paper="alpharl", table="table3"), shared])
    post_trained = set(printed(paper="alpharl", table="table4")["base_model"])
    here = [
        cell for cell in study.cells if not any(is_same_model(cell, name) for name in post_trained)
    ]
    table = EarlyTable(
        NAME,
        TITLE,
        by_share(wide(rows)),
        SHARES,
        note=" Qwen3-8B-Base at 10 %, 40 % and 100 %: the rows of Table 1.",
        wanted="a trained run of a model that is not in Table 4",
    )
    return early_tables(table, study, Study(tuple(here)))


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "alpharl",
        "Table 3",
        TITLE,
        "From which share of the training on AlphaRL is close to the full training, and by how "
        "much it beats the plain checkpoint there. The printed rows are DAPO's; ours are of every "
        "algorithm.",
        "acceleration",
        build,
    )
]
