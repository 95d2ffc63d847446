"""A run directory for an interactive session: its tables, ledger and figures, made when asked for.

Importing this module imports neither torch nor matplotlib.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rlvr_dynamics.claims.ledger import ledger_of_run
from rlvr_dynamics.errors import UserError, did_you_mean
from rlvr_dynamics.reporting.artefact import Drawing
from rlvr_dynamics.reporting.summaries import table_artefacts
from rlvr_dynamics.results.run import Results, load_results
from rlvr_dynamics.run_directory.configuration import (
    RecordedConfig,
    check_has_config,
    whole_config,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """One run, as `rlvr_dynamics.load` returns it; nothing is written.

    Attributes:
        results: The loaded tables with the questions that reports ask of them.
    """

    results: Results

    @property
    def config(self) -> RecordedConfig:
        """The run's configuration."""
        return self.results.config

    @property
    def provenance(self) -> dict[str, Any]:
        """Commands, versions, hardware and times; {} if they are not on record."""
        return self.results.provenance

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """What the stages wrote, by name; a stage that has not run has no table."""
        return {name: each for name, each in self.results.tables.items() if each is not None}

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """Every claim with its threshold, our number and interval, null, control and verdict."""
        return ledger_of_run(self.results)

    @cached_property
    def summaries(self) -> dict[str, pd.DataFrame]:
        """The tables of the report, by name; those that were not measured are left out."""
        artefacts = table_artefacts(self.ledger, whole_config(self.results.run_dir))
        made = [each.make(self.results) for each in artefacts]
        tables = [table for each in made if not isinstance(each, Drawing) for table in each]
        return {table.name: table.frame for table in tables if table.frame is not None}

    @cached_property
    def figures(self) -> tuple[str, ...]:
        """Names of the report's figures that this run has data for."""
        return tuple(name for name in self._artefacts if self._draw(name).figure is not None)

    def figure(self, name: str) -> "Figure":
        """Draw a figure of the report.

        Args:
            name: One of `figures`.

        Returns:
            A new figure, which a notebook shows and `savefig` writes.

        Raises:
            UserError: There is no such figure, or the run has no data for it.
        """
        if name not in self._artefacts:
            known = ", ".join(self._artefacts)
            raise UserError(
                f"no figure {name!r}",
                way_out=f"{did_you_mean(name, self._artefacts)}one of {known}",
            )
        drawing = self._draw(name)
        if drawing.figure is None:
            raise UserError(
                f"figure {name} was not measured: {drawing.missing or 'its stage has not run'}",
                where=str(self.results.run_dir),
                way_out="run the stages that are missing: "
                f"{', '.join(self.results.missing_stages) or 'none is'}",
            )
        return drawing.figure

    @cached_property
    def _artefacts(self) -> dict[str, Any]:
        from rlvr_dynamics.reporting.figures import FIGURES

        return {artefact.name: artefact for artefact in FIGURES}

    def _draw(self, name: str) -> "Drawing":
        from rlvr_dynamics.reporting.figure_style import style

        with style():
            return self._artefacts[name].make(self.results)


def load_run(run_dir: Path) -> LoadedRun:
    """Load a run directory; any stage may be missing.

    Raises:
        UserError: It is no run directory, a file in it is damaged, or its stages do not fit
            together.
    """
    results = load_results(run_dir)
    check_has_config(run_dir)
    return LoadedRun(results)
