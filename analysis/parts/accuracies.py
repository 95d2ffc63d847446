"""Accuracies for figures: one model of a run on one benchmark."""

import math

from rlvr_dynamics.results.scores import model_of, paired_accuracy, samples_of_all, score
from rlvr_dynamics.results.study import Cell
from rlvr_dynamics.schema.model_id import BASE, REAL
from rlvr_dynamics.statistics.intervals import Interval

MAIN_BENCHMARKS = ("math500", "math")


def main_benchmark(cell: Cell) -> str | None:
    """Return the one benchmark that represents a run in a figure: MATH, or its in-domain one."""
    names = [*cell.results.benchmarks("in_domain"), *cell.results.benchmarks("out_of_domain")]
    return next((name for name in (*MAIN_BENCHMARKS, *names) if name in names), None)


def accuracy(cell: Cell, model: str | None, benchmark: str | None) -> Interval | None:
    """Return a model's accuracy on a benchmark with its 95 % interval; None if not scored.

    Uses sampled answers if there are any, otherwise greedy ones.
    """
    found = None if benchmark is None else score(cell.results, model, benchmark).accuracy
    return None if found is None or math.isnan(found.value) else found


def relative_accuracy(cell: Cell, model: str | None, benchmark: str | None) -> Interval | None:
    """Return accuracy over the final checkpoint's, with the paired interval over questions.

    The plain ratio of arXiv 2510.00553, section 2.2: even the base has a ratio above 0.
    """
    full = model_of(cell.results, REAL)
    if model is None or full is None or benchmark is None:
        return None
    paired = paired_accuracy(cell.results, [model, full], [benchmark])
    return None if paired is None else paired.ratio(model)


def questions(cell: Cell, benchmark: str | None) -> str:
    """Say how many questions and answers are behind a run's accuracies on a benchmark."""
    for method in (BASE, REAL):
        if benchmark is None:
            break
        found = score(cell.results, model_of(cell.results, method), benchmark)
        if not math.isnan(found.questions):
            samples = samples_of_all(cell.results, benchmark, found.protocol)
            return f"{int(found.questions)} questions × {samples} {found.protocol} answers"
    return "an unknown number of questions"
