"""Accuracy by share of the training: early checkpoints, AlphaRL from them, full training."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import percent_interval
from rlvr_dynamics.results.kinds import is_same_model
from rlvr_dynamics.results.scores import Score, score
from rlvr_dynamics.results.study import Cell, Study, benchmarks
from rlvr_dynamics.results.unread import unread_note
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval, average

from ..parts.paper_tables import (
    BENCHMARKS,
    METHODS,
    OURS,
    RUN,
    SPAN,
    TITLES,
    Column,
    as_table,
    by_share,
    estimate,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
    signed_points,
    wide,
    with_ours,
    with_span,
)
from .accuracy_kept import kept_table
from .paper import table
from .stages import (
    Row,
    benchmarks_of,
    protocols_of,
    question_counts,
    rows_of,
    scored,
)

NEEDS = "Not measured: needs scores/scores.parquet with its samples (stage score)."
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class ShareTable:
    """Description of one of the tables.

    Attributes:
        number: The printed number.
        title: Its heading.
        look_at: What a reader should look at.
        printed: Returns the printed rows (`analysis.parts.paper_tables.wide`), in order.
        shares: Shares of the training shown for our runs.
        chosen: Selects our runs for the second and third table.
        note: What a reader must know about the printed rows.
        wanted: The kind of run needed, shown if we have none.
    """

    number: str
    title: str
    look_at: str
    printed: Callable[[], pd.DataFrame]
    shares: tuple[float, ...]
    chosen: Callable[[Cell], bool] = lambda cell: True
    note: str = ""
    wanted: str = "a trained run"

    @property
    def name(self) -> str:
        """The stem of its file names."""
        return self.artefact.name

    @property
    def artefact(self) -> Artefact:
        """Its entry in the registry."""
        make = partial(tables_by_share, self)
        return table(self.number, self.title, self.look_at, "acceleration", make)


def tables_by_share(table: ShareTable, study: Study) -> list[Table]:
    """Build three tables: printed rows with ours below, our runs alone, and what AlphaRL keeps."""
    printed_rows = table.printed()

    def ours(cells: Sequence[Cell], name: str) -> list[Table]:
        rows = printed_rows if name == table.name else printed_rows.head(0)
        return [
            here_table(table, cells, name),
            kept_table(table.title, table.shares, cells, name, rows),
        ]

    here = Study(tuple(cell for cell in study.cells if table.chosen(cell)))
    return [paper_table(table, printed_rows, study), *for_controls(here, ours, table.name)]


def paper_table(table: ShareTable, printed_rows: pd.DataFrame, study: Study) -> Table:
    """Build the printed rows, each with ours below it, or dashes if we have none."""
    rows = [
        {
            **row,
            "kind": row["method"],
            "method": METHODS[row["method"]],
            "speed-up": 1 / row["share"],
        }
        for row in printed_rows.to_dict("records")
    ]
    values = (*TITLES.values(), "average as printed", "average")
    return as_table(
        table.name,
        table.title,
        "Accuracy in per cent as printed, with the average recomputed from the six columns and "
        "by how many points the printed one is off. Interval and n (questions) are those of our "
        "average; the paper prints none. Speed-up: steps of the full training over the steps "
        f"observed. Ours stand beneath where a run has the same model and algorithm.{table.note}"
        f"{provenance_note(printed_rows)}",
        with_ours(study, rows, _ours_beneath),
        [
            *("model", "algorithm", "method", "share", "source"),
            *(Column(name, in_percent) for name in values),
            Column("difference", signed_points, "printed − recomputed", "interval"),
            *("n", "speed-up", "cell"),
        ],
    )


def _ours_beneath(cell: Cell, above: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    whole = scored(cell)
    if whole is None:
        return
    for row in rows_of(cell, (above["share"],)):
        if _kind(row) != above["kind"]:
            continue
        found = {
            TITLES[name]: score(cell.results, row.model, ours, whole.protocol)
            for name, ours in BENCHMARKS.items()
        }
        mean = _average(list(found.values()))
        yield {
            "model": above["model"],
            "algorithm": above["algorithm"],
            "method": cell.results.method_name(row.method),
            "share": row.share,
            "source": OURS,
            **{title: part.accuracy.value for title, part in found.items()},
            "average": mean.value,
            "interval": percent_interval(mean.low, mean.high),
            "n": sum(part.questions for part in found.values()),
            "speed-up": 1 / row.share,
            "cell": cell.name,
        }


def _kind(row: Row) -> str:
    if row.start:
        return "alpharl"
    return "full_rl" if row.share == 1 else "early_checkpoint"


def _average(parts: Sequence[Score]) -> Interval:
    """Return the mean over benchmarks; unknown if one of them is."""
    intervals = [part.accuracy for part in parts]
    known = not any(math.isnan(part.value) for part in intervals)
    return average(intervals) if known else UNDEFINED


def here_table(table: ShareTable, cells: Sequence[Cell], name: str) -> Table:
    """Build accuracies on every benchmark of the runs, by method and share of the training."""
    first = [*RUN, "method", "share"]
    mean, last = estimate("average", in_percent), ["unread", "speed-up", "cell"]
    taken = [*first, mean.name, mean.interval, "n", *last]
    titles = benchmarks(cells, taken, ("", SPAN))
    rows = [row for cell in cells for row in _here_rows(cell, (*table.shares, 1.0), titles)]
    found = [title for title in titles.values() if any(title in row for row in rows)]
    columns = [estimate(title, in_percent) for title in found]
    return as_table(
        f"{name}_here",
        f"{table.title}: runs of this study",
        f"Accuracy in per cent with its 95 % interval over questions; {protocols_of(cells)}. "
        f"{question_counts(cells, titles)} n: questions of all benchmarks, which count alike in "
        "the average. Unread: responses cut off, without an answer, or given up by the grader; "
        "they count as wrong. Speed-up: steps of the training over the steps observed, AlphaRL's "
        "own cost left out. Each seed is a row of its own.",
        rows,
        [*first, mean, "n", *columns, *last],
        NEEDS if cells else f"Not measured: needs {table.wanted}, scored.",
    )


def _here_rows(
    cell: Cell, shares: Sequence[float], titles: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    whole = scored(cell)
    if whole is None:
        return
    for row in [Row("base", 0.0, "base"), *rows_of(cell, shares)]:
        if row.model not in whole:
            continue
        found: dict[str, object] = {}
        for name in benchmarks_of(cell):
            part = score(cell.results, row.model, name, whole.protocol)
            found |= with_span(titles[name], part.accuracy, percent_interval)
        yield {
            **run_columns(cell),
            "method": cell.results.method_name(row.method),
            "share": row.share,
            **found,
            **with_span("average", whole.accuracy(row.model), percent_interval),
            "n": whole.questions,
            "unread": unread_note(cell.results, row.model, benchmarks_of(cell), whole.protocol),
            "speed-up": 1 / row.share if row.share else math.nan,
            "cell": cell.name,
        }


def _table_3() -> pd.DataFrame:
    # Three of its rows on Qwen3-8B-Base are the DAPO rows of Table 1.
    shared = printed(paper="alpharl", table="table1", algorithm="dapo")
    return by_share(wide(pd.concat([printed(paper="alpharl", table="table3"), shared])))


def _table_4() -> pd.DataFrame:
    return by_share(wide(printed(paper="alpharl", table="table4")))


def is_post_trained(cell: Cell) -> bool:
    """Whether a run's model is in Table 4, whose models were already post-trained."""
    return any(is_same_model(cell, name) for name in dict.fromkeys(_table_4()["model"]))


TABLES = (
    ShareTable(
        "1",
        "AlphaRL at 10 % and 40 % of the training, by algorithm",
        "The rows at 40 %: does AlphaRL keep over 96 % of the full training, and how much of that "
        "does the plain checkpoint of the same step keep?",
        lambda: wide(printed(paper="alpharl", table="table1")),
        (0.1, 0.4),
    ),
    ShareTable(
        "3",
        "AlphaRL from 5 % to 50 % of the training",
        "From which share of the training on AlphaRL is close to the full training, and by how "
        "much it beats the plain checkpoint there. The printed rows are DAPO's; ours are of every "
        "algorithm.",
        _table_3,
        SHARES,
        lambda cell: not is_post_trained(cell),
        note=" Qwen3-8B-Base at 10 %, 40 % and 100 %: the rows of Table 1.",
        wanted="a trained run of a model that is not in Table 4",
    ),
    ShareTable(
        "4",
        "AlphaRL on models that were trained before",
        "How much the plain checkpoint keeps: on a distilled model it is close to the end from "
        "the start, and AlphaRL has little to add. One printed average is 20 points off.",
        _table_4,
        SHARES,
        is_post_trained,
        note=" The paper's Llama was fine-tuned on reasoning texts before its DAPO; ours is not.",
        wanted="a run of one of these models (other models: alpharl_table_3_here)",
    ),
)
ARTEFACTS: list[Artefact] = [each.artefact for each in TABLES]
