"""The tables of a run directory: which stage writes each, and what every column means."""

from rlvr_dynamics.schema.tables import behaviour, made, trajectory, updates
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
from rlvr_dynamics.schema.tables.training import CLIPPED, COUNTED

METRICS = table("train/metrics.parquet", "train", STEP, *COUNTED, *CLIPPED, is_open=True)
TABLES: dict[str, TableFile] = {
    each.name: each for each in (METRICS, *trajectory.TABLES, *updates.TABLES, *made.TABLES)
}
"""All tables by name, in the order of the stages."""
MEASURED = {name: each for name, each in TABLES.items() if each.stage == "measure"}
BEHAVIOUR: dict[str, TableFile] = {each.name: each for each in behaviour.TABLES}

__all__ = [
    "BEHAVIOUR",
    "Column",
    "FUNCTION_NULLS",
    "LAGS",
    "LINE_SCORES",
    "MEASURED",
    "NULL_WALKS",
    "NullWalk",
    "PASS_AT",
    "TABLES",
    "TableFile",
]
