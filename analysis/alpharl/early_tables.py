"""AlphaRL's accuracy tables (1, 3, 4): early checkpoints, AlphaRL from them, the full training."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.alpharl.retention import retention_table
from analysis.alpharl.stages import SPLITS, Row, rows_of, scored
from analysis.parts.paper_tables import (
    BENCHMARKS,
    METHODS,
    NOT_RUN,
    OURS,
    RUN,
    RUN_FORMATS,
    TITLES,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
    signed_points,
)
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import percent_interval
from rlvr_dynamics.results.frames import equal, numbers
from rlvr_dynamics.results.kinds import same_runs
from rlvr_dynamics.results.scores import Score, score
from rlvr_dynamics.results.study import Cell, Study, benchmarks
from rlvr_dynamics.results.unread import unread_note
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval, average

INTERVAL = " [95 %]"  # behind the name of a column: that of its interval
NEEDS = "Not measured: needs scores/scores.parquet with its samples (stage score)."


@dataclass(frozen=True)
class EarlyTable:
    """One of the three tables.

    Attributes:
        name: What its files are named after.
        title: Its heading.
        printed: Its rows as printed (`analysis.parts.paper_tables.wide`), in their order.
        shares: Shares of the training whose rows are shown for our runs.
        note: What a reader must know about the printed rows.
        wanted: What our runs must be; said where there are none.
    """

    name: str
    title: str
    printed: pd.DataFrame
    shares: tuple[float, ...]
    note: str = ""
    wanted: str = "a trained run"


def early_tables(table: EarlyTable, study: Study, here: Study) -> list[Table]:
    """The printed rows with ours beneath, our own runs alike, and what AlphaRL keeps.

    Args:
        table: Which of the three.
        study: All runs; those of a printed model and algorithm stand beneath its rows.
        here: The runs of the second and third table.
    """

    def ours(cells: Sequence[Cell], name: str) -> list[Table]:
        rows = table.printed if name == table.name else table.printed.head(0)
        return [
            here_table(table, cells, name),
            retention_table(table.title, table.shares, cells, name, rows),
        ]

    return [paper_table(table, study), *for_controls(here, ours, table.name)]


def paper_table(table: EarlyTable, study: Study) -> Table:
    """The rows as printed, ours beneath each where there are any, dashes where not."""
    rows: list[dict[str, object]] = []
    for (model, algorithm), block in table.printed.groupby(["model", "algorithm"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        cells = same_runs(study, str(model), str(algorithm))
        for printed in block.to_dict("records"):
            method = METHODS[str(printed["method"])]
            share = float(printed["share"])
            rows.append({**printed, "method": method, "speed-up": 1 / share})
            for cell in cells:
                rows += _ours_beneath(cell, share, printed)
        if not cells:
            rows.append({"model": model, "algorithm": algorithm, "source": NOT_RUN})
    values = [*TITLES.values(), "average as printed", "average"]
    order = ["model", "algorithm", "method", "share", "source", *values, "difference"]
    order += ["interval", "n", "speed-up", "cell"]
    return Table(
        table.name,
        table.title,
        "Accuracy in per cent as printed, with the average recomputed from the six columns and "
        "by how many points the printed one is off. Interval and n (questions) are those of our "
        "average; the paper prints none. Speed-up: steps of the full training over the steps "
        f"observed. Ours stand beneath where a run has the same model and algorithm.{table.note}"
        f"{provenance_note(table.printed)}",
        pd.DataFrame(rows, columns=order),
        {**RUN_FORMATS, **dict.fromkeys(values, in_percent), "difference": signed_points},
        {"difference": "printed − recomputed", "interval": "95 %"},
    )


def _ours_beneath(
    cell: Cell, share: float, printed: dict[str, object]
) -> Iterator[dict[str, object]]:
    whole = scored(cell)
    if whole is None:
        return
    kind = str(printed["method"])
    for row in rows_of(cell, (share,)):
        if _kind(row) != kind:
            continue
        found = {
            TITLES[name]: score(cell.results, row.model, ours, whole.protocol)
            for name, ours in BENCHMARKS.items()
        }
        mean = _average(list(found.values()))
        yield {
            "model": printed["model"],
            "algorithm": printed["algorithm"],
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
    """Mean over benchmarks; unknown where one of them is."""
    intervals = [part.accuracy for part in parts]
    known = not any(math.isnan(part.value) for part in intervals)
    return average(intervals) if known else UNDEFINED


def here_table(table: EarlyTable, cells: Sequence[Cell], name: str) -> Table:
    """Accuracy on every benchmark of the runs, by method and share of the training."""
    first = [*RUN, "method", "share", "average", "average [95 %]", "n"]
    last = ["unread", "speed-up", "cell"]
    titles = benchmarks(cells, [*first, *last], ("", INTERVAL))
    rows = [row for cell in cells for row in _here_rows(cell, (*table.shares, 1.0), titles)]
    title = f"{table.title}: runs of this study"
    if not rows:
        wanted = f"Not measured: needs {table.wanted}, scored." if not cells else NEEDS
        return Table(f"{name}_here", title, "", None, missing=wanted)
    found = [title for title in titles.values() if any(title in row for row in rows)]
    columns = [*first, *(title + part for title in found for part in ("", INTERVAL)), *last]
    shown = dict.fromkeys([*found, "average"], in_percent)
    return Table(
        f"{name}_here",
        title,
        f"Accuracy in per cent with its 95 % interval over questions; {_protocols(cells)}. "
        f"{_questions(cells, titles)} n: questions of all benchmarks, which count alike in the "
        "average. Unread: responses cut off, without an answer, or given up by the grader; they "
        "count as wrong. Speed-up: steps of the training over the steps observed, AlphaRL's own "
        "cost left out. Each seed is a row of its own.",
        pd.DataFrame(rows, columns=columns),
        {**RUN_FORMATS, **shown},
        {title + INTERVAL: "95 %" for title in [*found, "average"]},
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
        mean = whole.accuracy(row.model)
        found: dict[str, object] = {}
        for name in _benchmarks(cell):
            part = score(cell.results, row.model, name, whole.protocol).accuracy
            found[titles[name]] = part.value
            found[titles[name] + INTERVAL] = percent_interval(part.low, part.high)
        yield {
            **run_columns(cell),
            "method": cell.results.method_name(row.method),
            "share": row.share,
            **found,
            "average": mean.value,
            "average [95 %]": percent_interval(mean.low, mean.high),
            "n": whole.questions,
            "unread": unread_note(cell.results, row.model, _benchmarks(cell), whole.protocol),
            "speed-up": 1 / row.share if row.share else math.nan,
            "cell": cell.name,
        }


def _benchmarks(cell: Cell) -> list[str]:
    """Names of the benchmarks of a run, in domain first."""
    return [name for split in SPLITS for name in cell.results.benchmarks(split)]


def _protocols(cells: Sequence[Cell]) -> str:
    found = [whole for cell in cells if (whole := scored(cell))]
    words = dict.fromkeys(
        f"{whole.protocol} answers, {whole.samples} to a question" for whole in found
    )
    return "; ".join(words)


def _questions(cells: Sequence[Cell], titles: Mapping[str, str]) -> str:
    """How many questions each benchmark has, over the runs."""
    counts: dict[str, set[int]] = {}
    for cell in cells:
        scores = cell.results.tables["scores"]
        if scores is None or "questions" not in scores:
            continue
        for name in _benchmarks(cell):
            here = numbers(equal(scores, benchmark=name), "questions")
            counts.setdefault(titles[name], set()).update(here.astype(int).tolist())
    parts = [
        f"{title} {'–'.join(str(n) for n in sorted({min(found), max(found)}))}"
        for title, found in counts.items()
    ]
    return f"Questions: {'; '.join(parts)}." if parts else ""
