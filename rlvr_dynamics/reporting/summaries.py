"""The tables of the page, in its order."""

import pandas as pd

from rlvr_dynamics.reporting.claims import format_interval, format_value
from rlvr_dynamics.reporting.formatting import integer
from rlvr_dynamics.reporting.results import Results
from rlvr_dynamics.reporting.score_tables import accuracy_overview, recovery_table, scores_table
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.reporting.weight_tables import (
    forecast_table,
    linearity_table,
    norms_table,
    rank1_table,
    trajectory_table,
)


def build_tables(results: Results, claims: pd.DataFrame) -> list[Table]:
    """Every table of the page, in its order; the claims come first."""
    return [
        claims_table(claims),
        accuracy_overview(results),
        recovery_table(results),
        scores_table(results),
        rank1_table(results),
        trajectory_table(results),
        linearity_table(results),
        forecast_table(results),
        norms_table(results),
    ]


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
