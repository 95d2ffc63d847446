"""The ledgers of a run and of a study, as written by the package; for tests only."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.build import analyse
from rlvr_dynamics.claims.ledger import (
    build_by_regime,
    build_by_run,
    build_ledger,
    ledger_of_run,
)
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.results.study import load_study


def run_ledger(run: Path) -> pd.DataFrame:
    """Return the claims of a run's report, by id."""
    return ledger_of_run(load_results(run)).set_index("id")


def study_ledger(runs: Sequence[Path], out: Path) -> pd.DataFrame:
    """Return claims.csv of `python -m analysis` over runs, by id."""
    analyse(load_study(runs), [], out, ledger=build_ledger, strict=True)
    return pd.read_csv(out / "claims.csv", keep_default_na=True).set_index("id")


def by_regime(runs: Sequence[Path]) -> pd.DataFrame:
    """Return the claims of a study, one row per claim and learning rate."""
    return build_by_regime(load_study(runs))


def by_run(runs: Sequence[Path]) -> pd.DataFrame:
    """Return the claims of a study, one row per claim and run."""
    return build_by_run(load_study(runs))
