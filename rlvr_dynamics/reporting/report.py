"""Build the report of a run directory."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rlvr_dynamics.claims.ledger import ledger_of_run
from rlvr_dynamics.reporting.build import build, write_csv
from rlvr_dynamics.reporting.run_page import write_run_page
from rlvr_dynamics.reporting.summaries import table_artefacts
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.run_directory.configuration import whole_config


@dataclass(frozen=True)
class Report:
    """The written report.

    Attributes:
        page: The page.
        claims: The ledger.
        figures: Names of the drawn figures.
        tables: Names of the written tables.
    """

    page: Path
    claims: pd.DataFrame
    figures: tuple[str, ...]
    tables: tuple[str, ...]


def build_report(run_dir: Path, out: Path) -> Report:
    """Write claims, tables, figures and the page of a run.

    A pure function of the tables, config.json and provenance.json in the run directory: the same
    input gives the same bytes. A stage that has not run is shown as `not measured`.

    Args:
        run_dir: The run directory.
        out: An existing folder, published by the caller.

    Raises:
        UserError: The run directory does not exist, or one of its tables lacks columns.
    """
    # Imported here: matplotlib takes a second that --help and the dry run do not need.
    from rlvr_dynamics.reporting.figures import FIGURES

    results = load_results(run_dir)
    claims = ledger_of_run(results)
    write_csv(claims, out / "claims.csv")
    tables = build(table_artefacts(claims, whole_config(run_dir)), results, out, strict=True)
    figures = build(FIGURES, results, out, strict=True)
    page = out / "index.html"
    write_run_page(results, claims, figures, tables, page)
    return Report(
        page,
        claims,
        tuple(item.artefact.name for item in figures if item.there),
        tuple(item.artefact.name for item in tables if item.there),
    )
