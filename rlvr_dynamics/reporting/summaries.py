"""The tables of the page, in page order."""

from collections.abc import Callable

import pandas as pd

from rlvr_dynamics.claims.in_words import in_units, measured_first
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.clock_table import clocks_table, optimizer_table
from rlvr_dynamics.reporting.fidelity_table import fidelity_table
from rlvr_dynamics.reporting.function_table import function_table, token_lines_table
from rlvr_dynamics.reporting.jump_table import jump_table
from rlvr_dynamics.reporting.method_scores import best_table, methods_table
from rlvr_dynamics.reporting.module_tables import (
    linearity_table,
    norms_table,
    pls_table,
    rank1_table,
    trajectory_table,
    update_rank_table,
)
from rlvr_dynamics.reporting.moved_table import moved_table
from rlvr_dynamics.reporting.reward_table import reward_table
from rlvr_dynamics.reporting.score_tables import accuracy_overview, recovery_table, scores_table
from rlvr_dynamics.reporting.selection_table import selection_table
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.reporting.update_tables import clips_table, updates_table
from rlvr_dynamics.reporting.weight_lines_table import weight_lines_table
from rlvr_dynamics.reporting.weight_tables import (
    explained_variance_table,
    forecast_table,
    oracle_table,
    rank_shares_table,
)
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.tables import BEHAVIOUR, TABLES


def table_artefacts(claims: pd.DataFrame, config: RunConfig | None = None) -> list[Artefact]:
    """Return every table in page order: the claims first, the meaning of the columns last.

    Args:
        claims: The ledger.
        config: The run's whole configuration, for its differences from the paper that it follows.
    """
    beside_paper = []
    if config is not None and config.protocol is not None:
        beside_paper = [_table("fidelity", lambda _: fidelity_table(config))]
    return [
        _table("claims", lambda _: claims_table(claims)),
        _table("methods", methods_table),
        _table("best", best_table),
        _table("accuracy", accuracy_overview),
        _table("recovery", recovery_table),
        _table("selection", selection_table),
        _table("moved_parameters", moved_table),
        _table("scores", scores_table),
        _table("rewards", reward_table),
        _table("jumps", jump_table),
        _table("clips", clips_table),
        _table("updates", updates_table),
        _table("update_norms", norms_table),
        _table("rank1_share", rank1_table),
        _table("rank_shares", rank_shares_table),
        _table("update_rank", update_rank_table),
        _table("pls_summary", pls_table),
        _table("explained_variance", explained_variance_table),
        _table("trajectory_summary", trajectory_table),
        _table("oracle", oracle_table),
        _table("linearity_summary", linearity_table),
        _table("clocks", clocks_table),
        _table("optimizer", optimizer_table),
        _table("weight_lines", weight_lines_table),
        _table("token_lines", token_lines_table),
        _table("function", function_table),
        _table("forecast_skill", forecast_table),
        *beside_paper,
        _table("columns", lambda _: columns_table()),
    ]


def _table(name: str, make: Callable[[Results], Table]) -> Artefact:
    return Artefact(name, "", "", "", "", "", lambda results: [make(results)])


def columns_table() -> Table:
    """The meaning of every column of the tables of a run."""
    rows = [
        {
            "table": table.name,
            "column": column.name,
            "kind": column.kind,
            "formula": column.formula,
            "source": column.source,
        }
        for table in (*TABLES.values(), *BEHAVIOUR.values())
        for column in table.columns
    ]
    return Table(
        "columns",
        "What every column means",
        "The columns of the tables in measure/, predictions/, scores/ and behaviour/, and those "
        "of train/metrics.parquet that a table shows, with the formula and its source. ΔW: weights "
        "minus base. Null: what the same statistic gives where there is nothing to find.",
        pd.DataFrame(rows),
    )


def claims_table(claims: pd.DataFrame) -> Table:
    """The ledger with measured claims first, narrow enough for a paper (claims.csv is full)."""
    columns = ["id", "claim", "threshold", "ours", "interval", "null", "n", "verdict"]
    return Table(
        "claims",
        "Claims ledger",
        "95 % intervals: bootstrap over questions. Quartiles: a spread over tensors, no interval.",
        in_units(measured_first(claims)).filter(columns),
    )
