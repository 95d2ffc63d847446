"""From a run directory to its report."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rlvr_dynamics.claims.run_ledger import build_claims
from rlvr_dynamics.reporting.page import render_page
from rlvr_dynamics.reporting.summaries import build_tables
from rlvr_dynamics.reporting.tables import write_table
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.system.foreign_text import as_csv


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        page: The page.
        claims: The ledger.
        figures: Names of the figures that could be drawn.
        tables: Names of the tables that could be written.
    """

    page: Path
    claims: pd.DataFrame
    figures: tuple[str, ...]
    tables: tuple[str, ...]


def build_report(run_dir: Path, out: Path) -> Report:
    """Write claims, tables, figures and the page of a run.

    A pure function of the tables, config.json and provenance.json in the run directory: the same
    input gives the same bytes. A stage that has not run shows as `not measured`.

    Args:
        run_dir: The run directory.
        out: An existing folder that the caller publishes.

    Raises:
        UserError: The run directory does not exist, or one of its tables lacks columns.
    """
    # Here and not at the top: matplotlib costs a second that --help and the dry run need not pay.
    from rlvr_dynamics.reporting.figures import draw_figures

    results = load_results(run_dir)
    claims = build_claims(results)
    (out / "claims.csv").write_text(as_csv(claims), encoding="utf-8", newline="\n")
    tables = build_tables(results, claims)
    (out / "tables").mkdir()
    for table in tables:
        write_table(table, out / "tables")
    (out / "figures").mkdir()
    figures = draw_figures(results, out / "figures")
    page = out / "index.html"
    page.write_text(render_page(results, claims, figures, tables), encoding="utf-8", newline="\n")
    return Report(
        page,
        claims,
        tuple(figure.name for figure in figures if figure.image is not None),
        tuple(table.name for table in tables if table.frame is not None),
    )
