"""One training read in several dtypes: what of its picture is the number format of its files."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd

from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.clock_table import CLOCKS, NULL_NAMES, SCORES
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import general, integer, number
from rlvr_dynamics.results.frames import (
    equal,
    last_step,
    median,
    median_and_quartiles,
    numbers,
    on_clock,
)
from rlvr_dynamics.results.readings import readings
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.schema.tables import NULL_WALKS

from ..parts.paper_tables import Column, as_table

Rows = Callable[[Results], pd.DataFrame | None]
RATE = Column("learning_rate", general, "learning rate")


@dataclass(frozen=True)
class Statistic:
    """One row of each run.

    Attributes:
        words: Its name for readers.
        rows: One row per tensor.
        column: The value.
        nulls: Column of each null in `NULL_WALKS`, if there are any.
    """

    words: str
    rows: Rows
    column: str
    nulls: dict[str, str]


def _first(results: Results) -> pd.DataFrame | None:
    table = results.tables["trajectory_svd"]
    return None if table is None else equal(table, index=1)


def _clocked(clock: str) -> Rows:
    def rows(results: Results) -> pd.DataFrame | None:
        table = results.tables["linearity"]
        return None if table is None else on_clock(table, clock)

    return rows


def _norms(last: bool) -> Rows:
    def rows(results: Results) -> pd.DataFrame | None:
        table = results.tables["norms"]
        if table is None:
            return None
        return equal(table, step=last_step(table) if last else numbers(table, "step").min())

    return rows


def _statistics() -> Iterator[Statistic]:
    of_variance = {name: f"{walk.of_variance}_mean" for name, walk in NULL_WALKS.items()}
    yield Statistic("explained variance", _first, "explained_variance", of_variance)
    for score, heading in SCORES.items():
        nulls = {name: f"{walk.of_score(score)}_mean" for name, walk in NULL_WALKS.items()}
        for clock, words in CLOCKS.items():
            yield Statistic(f"{heading}, {words}", _clocked(clock), score, nulls)
    for lag in (1, 10):
        column = f"optimizer_autocorrelation_{lag}"
        nulls = {"optimizer": f"optimizer_null_autocorrelation_{lag}"}
        yield Statistic(f"autocorrelation, lag {lag}", _first, column, nulls)
    yield Statistic("drift share", _first, "optimizer_drift_share", {})
    for last, words in ((False, "first"), (True, "last")):
        heading = f"{words} step in learning rates"
        yield Statistic(heading, _norms(last), "optimizer_step_length", {})
    for column, words in (
        ("relative_update", "‖ΔW‖/‖W‖"),
        ("changed_share", "changed, as read"),
        ("bfloat16_changed_share", "changed by more than 1e-5 in bfloat16"),
        ("rounding_share", "rounding to the dtype read / ‖ΔW‖²"),
        ("float16_rounding_share", "cast to float16 before subtracting, error² / ‖ΔW‖²"),
    ):
        yield Statistic(words, _norms(True), column, {})


STATISTICS = tuple(_statistics())


def tables(study: Study) -> list[Table]:
    """Build the table of all trainings that the study has in more than one dtype."""
    groups = readings(study.cells)
    several = [cells for cells in groups if len({_dtype(each) for each in cells}) > 1]
    rows = [row for cells in several for row in _rows(cells)]
    nulls = [Column(name, number, f"null: {words}") for name, words in NULL_NAMES.items()]
    return [
        as_table(
            "dtypes",
            "The same training in several dtypes",
            "The same checkpoints, as stored and rounded to a narrower dtype on reading "
            "(`measure.round_to`). Medians over tensors with quartiles, which are a spread and no "
            "interval; of a null, of its mean over draws, each with the step norms of its own "
            "row's run. Path: the length of the path so far. Steps in learning rates: "
            "‖W_t − W_t−1‖ / (√d Σ learning rate); of Adam's noise alone 1 at the first step and "
            "0.23 later. The drift share needs 30 steps between two increments. Norms and shares "
            "of changed weights are those of the last step.",
            rows,
            ["model", RATE, Column("seed", integer), Column("steps", integer), "statistic", "dtype"]
            + [Column("median", general), "quartiles", *nulls, Column("tensors", integer), "cell"],
            "Needs a training and a second run on its checkpoints with measure.round_to.",
        )
    ]


def _dtype(cell: Cell) -> str:
    return cell.results.dtype or "not recorded"


def _rows(cells: list[Cell]) -> Iterator[dict[str, object]]:
    """Yield the rows of one training, dtypes side by side."""
    first = cells[0]
    trained = first.results.config.source.base is None  # a further reading knows only its weights
    for statistic in STATISTICS:
        for cell in cells:
            found = statistic.rows(cell.results)
            if found is None or not len(numbers(found, statistic.column)):
                continue
            value = median_and_quartiles(found, statistic.column)
            yield {
                "model": first.model if trained else None,
                "learning_rate": first.learning_rate,
                "seed": first.seed if trained else math.nan,
                "steps": cell.steps,
                "statistic": statistic.words,
                "dtype": _dtype(cell),
                "median": value.value,
                "quartiles": f"[{general(value.low)}, {general(value.high)}]",
                **{
                    name: median(found, statistic.nulls[name])
                    if name in statistic.nulls
                    else math.nan
                    for name in NULL_NAMES
                },
                "tensors": len(numbers(found, statistic.column)),
                "cell": cell.name,
            }


ARTEFACTS: list[Artefact] = [
    Artefact(
        "dtypes",
        "ours",
        "",
        "The same training in several dtypes",
        "Whether a statistic is the training's, its optimizer's (beside the nulls) or the files' "
        "(between the dtypes).",
        "real_model",
        tables,
    ),
]
