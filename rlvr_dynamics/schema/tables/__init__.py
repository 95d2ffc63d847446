"""The tables of a run directory: which stage writes each, and what every column means."""

from rlvr_dynamics.schema.tables import behaviour, made, trajectory, updates, weights
from rlvr_dynamics.schema.tables.column import Column, TableFile, table
from rlvr_dynamics.schema.tables.made import PASS_AT
from rlvr_dynamics.schema.tables.parts import (
    FUNCTION_NULLS,
    LAGS,
    LINE_SCORES,
    NULL_WALKS,
    STEP,
    NullWalk,
)
from rlvr_dynamics.schema.tables.training import CLIPPED, COUNTED, JUMPED
from rlvr_dynamics.schema.tables.weights import (
    LINEAR_R2,
    LINEAR_SCORES,
    PAPERS_MOVE,
    PAPERS_VALUES,
    SELECTIONS,
    WEIGHT_NULLS,
)

METRICS = table("train/metrics.parquet", "train", STEP, *COUNTED, *CLIPPED, *JUMPED, is_open=True)
TABLES: dict[str, TableFile] = {
    each.name: each
    for each in (METRICS, *trajectory.TABLES, *weights.TABLES, *updates.TABLES, *made.TABLES)
}
"""All tables by name, in the order of the stages."""
MEASURED = {name: each for name, each in TABLES.items() if each.stage == "measure"}
BEHAVIOUR: dict[str, TableFile] = {each.name: each for each in behaviour.TABLES}

__all__ = [
    "BEHAVIOUR",
    "Column",
    "FUNCTION_NULLS",
    "LAGS",
    "LINEAR_R2",
    "LINEAR_SCORES",
    "LINE_SCORES",
    "MEASURED",
    "NULL_WALKS",
    "NullWalk",
    "PAPERS_MOVE",
    "PAPERS_VALUES",
    "PASS_AT",
    "SELECTIONS",
    "TABLES",
    "TableFile",
    "WEIGHT_NULLS",
]
