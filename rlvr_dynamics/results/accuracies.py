"""Accuracies of a run's models, looked up by method and step instead of by model id."""

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from rlvr_dynamics.results.formatting import distinct_titles
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.scores import PROTOCOLS, paired_accuracy
from rlvr_dynamics.results.study import Cell
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.statistics.paired import RATIO

MAIN_BENCHMARKS = ("math500", "math")


def benchmarks(
    cells: Iterable[Cell], taken: Collection[str] = (), endings: Collection[str] = ("",)
) -> dict[str, str]:
    """Names and titles of all scored benchmarks, those of the training's kind first.

    Every benchmark has a title of its own, whatever runs call it; `taken` and `endings` as in
    `distinct_titles`.
    """
    found: dict[str, str] = {}
    cells = list(cells)
    for split in ("in_domain", "out_of_domain"):
        for cell in cells:
            for name in cell.results.benchmarks(split):
                found.setdefault(name, cell.results.benchmark_title(name))
    return distinct_titles(found, taken, endings)


def main_benchmark(cell: Cell) -> str | None:
    """The benchmark that stands for a run where a figure shows one: MATH, or its in-domain one."""
    names = [*cell.results.benchmarks("in_domain"), *cell.results.benchmarks("out_of_domain")]
    return next((name for name in (*MAIN_BENCHMARKS, *names) if name in names), None)


def model_of(cell: Cell, method: str, step: int | None = None) -> str | None:
    """Model id of a method without a window at a step; None where it was not scored.

    Args:
        cell: The run.
        method: `base`, `real` or the label of a reconstruction.
        step: The step, the final one when not given.
    """
    index = _models(cell)
    if method == "base":
        return index.get(("base", 0))
    wanted = cell.results.final_step if step is None else step
    return None if wanted is None else index.get((method, wanted))


def steps_of(cell: Cell, method: str) -> list[int]:
    """Steps at which a method without a window was scored, rising."""
    return sorted(step for name, step in _models(cell) if name == method)


def methods_of(cell: Cell) -> set[str]:
    """Labels of the scored methods without a window."""
    return {name for name, _ in _models(cell)}


def _models(cell: Cell) -> dict[tuple[str, int], str]:
    memo = cell.results.memo
    if "models by method" not in memo:
        scores = cell.results.tables["scores"]
        found: dict[tuple[str, int], str] = {}
        if scores is not None:
            rows = scores.drop_duplicates(["model"])[["model", "method", "observe", "step"]]
            for model, method, observe, step in rows.itertuples(index=False, name=None):
                if method == "base":
                    found[("base", 0)] = str(model)
                elif pd.isna(observe) or observe == 0:
                    found[(str(method), int(step))] = str(model)
        memo["models by method"] = found
    return memo["models by method"]


def accuracy(cell: Cell, model: str | None, benchmark: str | None) -> Interval | None:
    """Accuracy of a model on a benchmark with its 95 % interval, as scored; None if it was not.

    Sampled answers where there are any, else greedy ones.
    """
    row = _score(cell, model, benchmark)
    if row is None:
        return None
    return Interval(row["accuracy"], row.get("ci_low", np.nan), row.get("ci_high", np.nan))


def questions(cell: Cell, benchmark: str | None) -> str:
    """How many questions and answers each accuracy of a run on a benchmark rests on."""
    row = _score(cell, "base", benchmark) or _score(cell, model_of(cell, "real"), benchmark)
    if row is None or "questions" not in row:
        return "an unknown number of questions"
    return f"{int(row['questions'])} questions × {int(row['samples'])} {row['protocol']} answers"


def _score(cell: Cell, model: str | None, benchmark: str | None) -> dict | None:
    if model is None or benchmark is None:
        return None
    memo = cell.results.memo
    if "scores by model" not in memo:
        memo["scores by model"] = _chosen(cell.results.tables["scores"])
    return memo["scores by model"].get((model, benchmark))


def _chosen(scores: pd.DataFrame | None) -> dict[tuple[str, str], dict]:
    """Rows of the first protocol that each benchmark has, by model and benchmark."""
    found: dict[tuple[str, str], dict] = {}
    if scores is None:
        return found
    for benchmark, rows in scores.groupby("benchmark", sort=True):
        there = set(rows["protocol"])
        protocol = next((name for name in PROTOCOLS if name in there), sorted(there)[0])
        for row in equal(rows, protocol=protocol).to_dict("records"):
            found[(str(row["model"]), str(benchmark))] = {str(k): v for k, v in row.items()}
    return found


def relative_accuracy(cell: Cell, model: str | None, benchmark: str | None) -> Interval | None:
    """Accuracy over that of the final checkpoint, with the paired interval over questions.

    The plain ratio of arXiv 2510.00553, section 2.2: the base alone has one above 0.
    """
    full = model_of(cell, "real")
    if model is None or full is None or benchmark is None:
        return None
    key = ("relative accuracy", model, benchmark)
    if key not in cell.results.memo:
        paired = paired_accuracy(cell.results, [model, full], [benchmark])
        cell.results.memo[key] = None if paired is None else paired.compare(RATIO)
    return cell.results.memo[key]
