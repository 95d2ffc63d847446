"""The tables of the page, in its order."""

from dataclasses import asdict

import pandas as pd

from rlvr_dynamics.claims.run_ledger import format_interval, format_value
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
from rlvr_dynamics.reporting.score_tables import accuracy_overview, recovery_table, scores_table
from rlvr_dynamics.reporting.selection_table import selection_table
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.reporting.weight_tables import (
    explained_variance_table,
    forecast_table,
    oracle_table,
    rank_shares_table,
)
from rlvr_dynamics.results.columns import COLUMNS
from rlvr_dynamics.results.formatting import integer
from rlvr_dynamics.results.run import Results


def build_tables(results: Results, claims: pd.DataFrame) -> list[Table]:
    """Every table of the page, in its order; the claims first, the columns' meanings last."""
    return [
        claims_table(claims),
        methods_table(results),
        best_table(results),
        accuracy_overview(results),
        recovery_table(results),
        selection_table(results),
        moved_table(results),
        scores_table(results),
        norms_table(results),
        rank1_table(results),
        rank_shares_table(results),
        update_rank_table(results),
        pls_table(results),
        explained_variance_table(results),
        trajectory_table(results),
        oracle_table(results),
        linearity_table(results),
        forecast_table(results),
        columns_table(),
    ]


def columns_table() -> Table:
    """What every column of the tables in measure/, predictions/ and scores/ holds."""
    rows = [
        {"table": table, "column": name, **asdict(column)}
        for table, columns in COLUMNS.items()
        for name, column in columns.items()
    ]
    return Table(
        "columns",
        "What every column means",
        "The columns of the tables in measure/, predictions/ and scores/, with the formula and "
        "where it is from. ΔW: weights minus base. Null: what the same statistic gives where there "
        "is nothing to find.",
        pd.DataFrame(rows),
    )


def claims_table(claims: pd.DataFrame) -> Table:
    """The ledger, narrow enough for a paper (the full one is claims.csv)."""
    rows = [
        (
            row["id"],
            row["claim"],
            row["threshold"],
            format_value(row["ours"], row["threshold"]),
            format_interval(row["ci_low"], row["ci_high"], row["threshold"]),
            format_value(row["null"], row["threshold"]),
            f"{integer(row['n'])} {row['n_unit']}".strip(),
            row["verdict"],
        )
        for row in claims.to_dict("records")
    ]
    columns = ["id", "claim", "threshold", "ours", "interval", "null", "n", "verdict"]
    frame = pd.DataFrame(rows, columns=columns)
    return Table(
        "claims",
        "Claims ledger",
        "95 % intervals: bootstrap over questions (accuracies) or tensors (means, medians), Wilson "
        "for shares.",
        frame,
    )
