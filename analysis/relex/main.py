"""RELEX's main table: MATH after the full training, and extrapolated from its first steps."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.parts.paper_tables import RUN_FORMATS, for_controls, in_percent, provenance_note
from analysis.relex.tables import (
    NEEDS,
    POINT_FORMATS,
    POINT_HEADINGS,
    SAMPLES,
    facts,
    here_row,
    printed_rows,
    readable,
    with_ours,
)
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.relex_models import model_at, protocols, windows_near
from rlvr_dynamics.results.study import Cell, Study

NAME = "relex_main"
TITLE = "RELEX on MATH"
COLUMNS = ["model", "algorithm", "method", "share", "source", "accuracy", "interval", "n"]


def build(study: Study) -> list[Table]:
    """The printed rows with ours beneath, then our runs."""
    return [paper_table(study), *for_controls(study, _here, NAME)]


def paper_table(study: Study) -> Table:
    """Base, full training and RELEX of three models."""
    printed = printed_rows("main")
    printed = equal(printed, benchmark="math")
    full = equal(printed, method="full_rl").set_index("base_model")["value"]
    rows = [
        {
            "model": row["base_model"],
            "algorithm": row["algorithm"],
            "label": row["label"],
            "method": readable(str(row["label"])),
            "share": row["train_fraction"],
            "source": row["provenance"],
            "accuracy": row["value"],
            "gap": 100 * (row["value"] - full[row["base_model"]]),
        }
        for row in printed.to_dict("records")
    ]
    sources = pd.DataFrame({"source": printed["provenance"]})
    return Table(
        NAME,
        TITLE,
        "Accuracy in per cent on MATH (5,000 problems as printed; the paper prints no interval). "
        "Share: observed part of the training. "
        "In the released code the 8B row predicts step 750 of a training of 500. Ours stand "
        f"beneath where a run has the same model and algorithm.{provenance_note(sources)}",
        pd.DataFrame(with_ours(study, rows), columns=[*COLUMNS, "gap", "cell"]),
        {
            **RUN_FORMATS,
            "accuracy": in_percent,
            "gap": lambda value: number(value, 1, signed=True),
        },
        {"interval": "95 %", "gap": "minus full RL, points"},
    )


def _here(cells: Sequence[Cell], name: str) -> list[Table]:
    rows = [row for cell in cells for row in here_rows(cell)]
    title = f"{TITLE.replace('MATH', 'the in-domain benchmark')}: runs of this study"
    if not rows:
        return [Table(f"{name}_here", title, "", None, missing=NEEDS)]
    return [
        Table(
            f"{name}_here",
            title,
            "Accuracy in per cent with its 95 % interval over the n questions, and what it is "
            "above the real final checkpoint and above the last observed one, in points (paired "
            "bootstrap). The windows nearest to the paper's 15 %, whose shares are in the row; "
            f"greedy and sampled answers are rows of their own. {facts(cells)}",
            pd.DataFrame(rows),
            {**RUN_FORMATS, **SAMPLES, **POINT_FORMATS, "accuracy": in_percent},
            POINT_HEADINGS,
        )
    ]


def here_rows(cell: Cell) -> Iterator[dict[str, object]]:
    """Base, final checkpoint, and per window the last observed checkpoint and RELEX."""
    results = cell.results
    wanted: list[tuple[str, int | None]] = [("base", None), ("real", None)]
    for window in windows_near(results):
        wanted += [("hold_last", window), ("relex", window)]
    models = [model for pair in wanted if (model := model_at(results, *pair)) is not None]
    for benchmark in results.benchmarks("in_domain"):
        for protocol in protocols(results, benchmark):
            for method, window in wanted:
                row = here_row(cell, method, benchmark, protocol, window, among=models)
                if row is not None:
                    yield row


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "main table",
        TITLE,
        "RELEX against the full training, and against the last checkpoint that it observed: what "
        "does the extrapolation add to stopping early?",
        "acceleration",
        build,
    )
]
