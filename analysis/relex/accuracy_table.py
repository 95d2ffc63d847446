"""Builds a table of RELEX's accuracies from a description: printed rows, then our runs."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import pandas as pd

from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.forecasts import skill
from rlvr_dynamics.results.formatting import integer, interval, number
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import Score, model_of, protocols, score, steps_of
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.statistics.intervals import Interval

from ..parts.paper_tables import (
    RUN,
    Column,
    as_table,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
    share_in_percent,
    with_ours,
)
from .models import points, step_share, windows_near
from .printed import Row, accuracy_cells, ours_on_math

Asked = tuple[str, int | None, int | None]  # method, last observed step, target step
NEEDS = "Not measured: needs scores/scores.parquet with predictions (stages extrapolate and score)."


def signed(value: float) -> str:
    """Format a difference in points with its sign and one decimal, as in the paper."""
    return number(value, 1, signed=True)


def gap(heading: str, name: str = "gap", interval: str = "") -> Column:
    """Describe a column of differences in points, with its interval's column if it has one."""
    return Column(name, signed, heading, interval)


# Columns that several tables share; others are in the tables' descriptions.
COLUMNS = {
    column.name: column
    for column in (
        *(Column(name, integer) for name in ("step", "samples", "tensors")),
        Column("accuracy", in_percent, "", "interval"),
        Column("last observed", in_percent),
        Column("target", share_in_percent),
        Column("skill", number, "median skill"),
        gap("minus real, points", "vs real", "vs real interval"),
        gap("minus last observed, points", "vs held", "vs held interval"),
    )
}
ANSWERS = ("benchmark", "protocol", "accuracy", "n", "samples")


@dataclass(frozen=True)
class Scored:
    """A model of a run on equally weighted benchmarks.

    Attributes:
        cell: The run.
        method: Label of the method; `hold_last` is the last observed checkpoint.
        benchmarks: Their names.
        protocol: How answers were drawn.
        window: Last observed step of a method that has one.
        step: Target step; defaults to the final one.
    """

    cell: Cell
    method: str
    benchmarks: tuple[str, ...]
    protocol: str
    window: int | None = None
    step: int | None = None

    @property
    def model(self) -> str | None:
        """Its id."""
        return self.other(self.method, self.step)

    def other(self, method: str, step: int | None = None) -> str | None:
        """Return the model id of another method, from the same window."""
        return model_of(self.cell.results, method, self.window, step)

    def of(self, model: str | None, benchmark: str | None = None) -> Score:
        """Return the `score` of any model on one of the benchmarks, by default the first."""
        return score(self.cell.results, model, benchmark or self.benchmarks[0], self.protocol)

    @cached_property
    def parts(self) -> dict[str, Score]:
        """Its `score` by benchmark."""
        return {name: self.of(self.model, name) for name in self.benchmarks}

    @property
    def is_known(self) -> bool:
        """Whether it was scored on any of the benchmarks."""
        return not all(math.isnan(part.accuracy.value) for part in self.parts.values())

    def above(self, other: str | None) -> Interval:
        """Return the points above another model, paired by question."""
        return points(self.cell.results, self.model, other, self.benchmarks, self.protocol)

    def gap(self, name: str, other: str | None) -> Row:
        """Return the columns of the points above another model."""
        value = self.above(other)
        shown = interval(value.low, value.high, 1, signed=True)
        return {name: value.value, f"{name} interval": shown}

    def row(self) -> Row:
        """Return its columns in a table of our runs, with the first benchmark's accuracy."""
        results, window, step = self.cell.results, self.window, self.step
        return {
            **run_columns(self.cell),
            "method": results.method_name(self.method),
            "share": {"base": 0.0, "real": 1.0}.get(self.method, step_share(results, window)),
            "target": step_share(results, step),
            "factor": step / window if step and window else math.nan,
            "benchmark": results.benchmark_title(self.benchmarks[0]),
            "protocol": self.protocol,
            **accuracy_cells(self.parts[self.benchmarks[0]]),
            "skill": math.nan if window is None else skill(results, self.method, window, step),
            "cell": self.cell.name,
        }

    def against_real_and_held(self) -> Row:
        """Extend `row` by the final and last observed checkpoint and the points above them."""
        real, held = self.other("real"), self.other("hold_last") if self.window else None
        return {
            **self.row(),
            "real": self.of(real).accuracy.value,
            "last observed": self.of(held).accuracy.value,
            **self.gap("vs real", real),
            **self.gap("vs held", held),
        }


def near_paper(results: Results, *methods: str) -> list[Asked]:
    """Return base, final checkpoint, and methods at the windows nearest to the paper's 15 %."""
    windows = windows_near(results)
    there = [(method, window, None) for window in windows for method in methods]
    return [("base", None, None), ("real", None, None), *there]


def windows_and_targets(cell: Cell) -> Iterator[tuple[int, int]]:
    """Yield each window of a run with all target steps of RELEX."""
    return product(cell.results.windows, steps_of(cell.results, "relex"))


def in_domain(cell: Cell, asked: Iterable[Asked], most: int | None = 1) -> Iterator[Scored]:
    """Yield the given models where scored on a run's in-domain benchmarks.

    Args:
        cell: The run.
        asked: Method, window and target step of each model.
        most: Maximum number of protocols, the preferred one first; None for all.
    """
    asked = list(asked)
    for benchmark in cell.results.benchmarks("in_domain"):
        for protocol in protocols(cell.results, benchmark)[:most]:
            for method, window, step in asked:
                scored = Scored(cell, method, (benchmark,), protocol, window, step)
                if scored.is_known:
                    yield scored


@dataclass(frozen=True)
class AccuracyTable:
    """Description of one of RELEX's tables: printed rows with ours below, then our runs.

    Attributes:
        artefact: Its name, number, title, what to look at and the runs it needs.
        printed: Makes the printed rows from the study.
        columns: Columns of the printed rows, given by name if in `COLUMNS`.
        caption: Caption of the printed rows.
        rows: Makes the rows of a run.
        here: Columns of our runs, after those of `RUN`.
        here_caption: Caption of our runs.
        ours: Makes the row below a printed row, from a run and that row.
        here_title: Heading of our runs; defaults to that of the table.
        needs: What is missing if no run has rows.
        more: Makes further tables of our runs, placed first.
    """

    name: str
    number: str
    title: str
    look_at: str
    question: str
    printed: Callable[[Study], Iterable[Row]]
    columns: Sequence[Column | str]
    caption: str
    rows: Callable[[Cell], Iterable[Row]]
    here: Sequence[Column | str]
    here_caption: str
    ours: Callable[[Cell, Row], Iterable[Row]] = ours_on_math
    here_title: str = ""
    needs: str = NEEDS
    more: Callable[[Sequence[Cell], str], list[Table]] = lambda cells, name: []

    @property
    def artefact(self) -> Artefact:
        """Its entry in the registry."""
        return Artefact(
            self.name, "relex", self.number, self.title, self.look_at, self.question, self.build
        )

    def build(self, study: Study) -> list[Table]:
        """Build the printed rows with ours below, then our runs."""
        rows = with_ours(study, self.printed(study), self.ours)
        paper = relex_table(self.name, self.title, self.caption, rows, self.columns)
        return [paper, *for_controls(study, self._here, self.name)]

    def _here(self, cells: Sequence[Cell], name: str) -> list[Table]:
        title = f"{self.here_title or self.title}: runs of this study"
        rows = [row for cell in cells for row in self.rows(cell)]
        caption, columns = f"{self.here_caption} {dtypes(cells)}", [*RUN, *self.here]
        listed = relex_table(f"{name}_here", title, caption, rows, columns, self.needs)
        return [*(self.more(cells, name) if rows else []), listed]


def relex_table(
    name: str,
    title: str,
    caption: str,
    rows: Sequence[Row],
    columns: Iterable[Column | str],
    missing: str = "",
) -> Table:
    """Apply `as_table` with `COLUMNS`, an explanation of `source`, and the run's name."""
    known = [COLUMNS.get(each, each) if isinstance(each, str) else each for each in columns]
    sources = pd.DataFrame({"source": [row.get("source") for row in rows]})
    return as_table(
        name, title, caption + provenance_note(sources), rows, [*known, "cell"], missing
    )


def dtypes(cells: Sequence[Cell]) -> str:
    """Say the number formats of the checkpoints behind a table of runs."""
    found = sorted({cell.results.dtype or "unknown" for cell in cells})
    return f"Checkpoints in {', '.join(found)}."
