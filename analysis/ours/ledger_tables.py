"""The claims ledger as tables: over all runs, by learning rate, and by run."""

from rlvr_dynamics.claims.in_words import in_units
from rlvr_dynamics.claims.ledger import WORDS, build_by_regime, build_by_run, build_ledger
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import general, integer
from rlvr_dynamics.results.study import Study


def ledger_tables(study: Study) -> list[Table]:
    """Build the ledger as a narrow table, and the same by regime."""
    ledger = build_ledger(study)
    shown = in_units(ledger).filter(
        ["id", "paper", "claim", "threshold", "printed", "ours", "interval"]
        + ["runs", "n", "null", "control", "verdict", "by_learning_rate", "cells"]
    )
    tables = [
        Table(
            "claims",
            "Claims ledger",
            "Papers': what the paper prints, in the unit of the statistic (claims.csv says where). "
            "Ours: mean over the runs that learned something, where the claim is about accuracy. "
            f"{WORDS} The rows N.. check the printed numbers alone.",
            shown,
            {"runs": integer},
            {
                "printed": "papers’",
                "by_learning_rate": "by learning rate",
                "cells": "cell",
            },
        )
    ]
    by_regime = build_by_regime(study)
    columns = ["id", "claim", "regime", "threshold", "ours", "interval", "runs", "n", "null"]
    columns += ["control", "verdict", "note", "cells"]
    tables.append(
        Table(
            "claims_by_regime",
            "Claims by learning rate",
            f"Every measured claim, apart for each learning rate. {WORDS}",
            in_units(by_regime).filter(columns),
            {"runs": integer},
            {"cells": "cell"},
        )
        if len(by_regime)
        else Table("claims_by_regime", "Claims by learning rate", "", None, missing=NO_RUN)
    )
    return tables


NO_RUN = "Not measured: no run has tables that a claim rests on."


def run_tables(study: Study) -> list[Table]:
    """Build the table of every claim on every run."""
    table = build_by_run(study)
    title = "Claims run by run"
    if not len(table):
        return [Table("claims_by_run", title, "", None, missing=NO_RUN)]
    columns = ["id", "claim", "model", "algorithm", "learning_rate", "base_seed", "seed", "control"]
    columns += ["threshold", "ours", "interval", "n", "null", "verdict", "note", "cell"]
    return [
        Table(
            "claims_by_run",
            title,
            "What each run says by itself, with its own 95 % interval over questions; a number "
            "over its tensors has none, and its quartiles are shown as a spread.",
            in_units(table).filter(columns),
            {"learning_rate": general, "base_seed": integer, "seed": integer},
            {"learning_rate": "learning rate"},
        )
    ]


ARTEFACTS: list[Artefact] = [
    Artefact(
        "claims",
        "ours",
        "",
        "Claims ledger",
        "How verdicts depend on the learning rate: a claim that holds at one may fail at another.",
        "claims",
        ledger_tables,
    ),
    Artefact(
        "claims_by_run",
        "ours",
        "",
        "Claims run by run",
        "Whether the runs agree, seed by seed, and what the control on shuffled rewards says.",
        "claims",
        run_tables,
    ),
]
