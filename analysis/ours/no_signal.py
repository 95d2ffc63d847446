"""Does the optimizer's noise describe runs without a signal? Controls beside the nulls."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import integer, interval, number, percent
from rlvr_dynamics.results.frames import equal, has, known, median, on_clock, values
from rlvr_dynamics.results.study import NO_CONTROL, Cell, Study
from rlvr_dynamics.schema.tables import LAGS, NULL_WALKS

from ..parts.paper_tables import Column, as_table, run_columns

NEEDS = "Not measured: no run is a control (data.reward=random or constant, data.shuffle_answers)."
WALK, OPTIMIZER = NULL_WALKS["walk"], NULL_WALKS["optimizer"]


def no_signal_tables(study: Study) -> list[Table]:
    """Build one row per statistic of every control, and of runs like it that have a signal."""
    controls = [cell for cell in study.cells if cell.control != NO_CONTROL]
    like = {(cell.model, cell.algorithm, cell.learning_rate) for cell in controls}
    beside = [
        cell for cell in study.trained if (cell.model, cell.algorithm, cell.learning_rate) in like
    ]
    rows = [row for cell in [*controls, *beside] for row in _rows(cell)] if controls else []
    return [
        as_table(
            "no_signal",
            "Runs without a signal beside their nulls",
            "Medians over tensors of a run, of its nulls' means over draws, and of the ends of the "
            "optimizer's central 95 %; inside: share of the tensors that lie between their own "
            "ends. Every null has the run's step norms. A null that describes such a run has about "
            "95 % inside; tensors of one run are not independent, as their gradients have one "
            "cause. Random rewards are the run without a signal; shuffled answers still pay for "
            "the form of an answer; with constant rewards weight decay alone moves the weights. "
            "Lags: mean cosine of increments so many saved steps apart, with the optimizer's "
            "expectation. Below the controls, runs with a signal of the same model, algorithm and "
            "learning rate.",
            rows,
            ["model", "algorithm", "learning rate", "base seed", "seed", "control", "statistic"]
            + [Column("T", integer), Column("tensors", integer)]
            + [Column(name, number) for name in ("observed", "independent steps")]
            + [Column("optimizer", number, "optimizer's noise"), "central 95 %"]
            + [Column("inside", lambda share: percent(share, 0)), "cell"],
            NEEDS,
        )
    ]


def _rows(cell: Cell) -> Iterator[dict[str, Any]]:
    svd, lines = (cell.results.tables[name] for name in ("trajectory_svd", "linearity"))
    if svd is None or lines is None:
        return
    first = equal(svd, index=1)
    common = {
        **run_columns(cell),
        "control": "" if cell.control == NO_CONTROL else cell.control.replace("_", " "),
        "T": int(first["T"].iloc[0]) if "T" in first else math.nan,
        "cell": cell.name,
    }
    step, path = (on_clock(lines, clock) for clock in ("step", "path"))
    for name, table, column, walk, optimizer in (
        ("EV1", first, "explained_variance", WALK.of_variance, OPTIMIZER.of_variance),
        ("R², step", step, "r2", WALK.of_score("r2"), OPTIMIZER.of_score("r2")),
        ("R², path", path, "r2", WALK.of_score("r2"), OPTIMIZER.of_score("r2")),
        ("held-out R², path", path, "heldout_r2")
        + (WALK.of_score("heldout_r2"), OPTIMIZER.of_score("heldout_r2")),
    ):
        if has(table, column):
            yield common | {"statistic": name, **_beside(table, column, walk, optimizer)}
    for lag in LAGS:
        column = f"optimizer_autocorrelation_{lag}"
        if has(first, column):
            yield common | {
                "statistic": f"cosine at lag {lag}",
                "tensors": len(known(first, column)),
                "observed": median(first, column),
                "independent steps": 0.0,
                "optimizer": median(first, f"optimizer_null_autocorrelation_{lag}"),
            }


def _beside(table: pd.DataFrame, column: str, walk: str, optimizer: str) -> dict[str, Any]:
    table = known(table, column)
    found: dict[str, Any] = {
        "tensors": len(table),
        "observed": median(table, column),
        "independent steps": median(table, f"{walk}_mean"),
        "optimizer": median(table, f"{optimizer}_mean"),
    }
    ends = [f"{optimizer}_{end}" for end in ("low", "high")]
    if not has(table, *ends):
        return found
    low, high = (values(table, end) for end in ends)
    value = values(table, column)
    found["central 95 %"] = interval(median(table, ends[0]), median(table, ends[1]))
    return found | {"inside": float(((low <= value) & (value <= high)).mean())}


ARTEFACTS: list[Artefact] = [
    Artefact(
        "no_signal",
        "ours",
        "",
        "Runs without a signal beside their nulls",
        "Whether the optimizer's noise, and not independent steps, describes a run that cannot "
        "learn: only then is it the null of a run that can.",
        "regimes",
        no_signal_tables,
    )
]
