"""The scored models of a run: which exist, how accurate each is, and how they compare.

Comparisons use the stored answers to the same questions; everything else comes from the table of
scores.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.formatting import DASH
from rlvr_dynamics.results.frames import equal, has, span
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.model_id import BASE, REAL, ModelId
from rlvr_dynamics.statistics.intervals import (
    UNDEFINED,
    Interval,
    average,
    effective_wilson,
    farther,
    percentile_interval,
)
from rlvr_dynamics.statistics.paired import GAIN, RATIO, Contrast, Paired, difference, pair

PROTOCOLS = ("sampled", "greedy")
"""How answers are drawn; tables and figures prefer the first."""
POINTS = difference(scale=100.0)
"""Difference of the first two models, in points (per cent)."""
HOLD_LAST = "hold_last"


@once_per_run
def models(results: Results) -> tuple[ModelId, ...]:
    """Return every scored model, in the order of the table of scores."""
    scores = results.tables["scores"]
    names = [] if scores is None else scores["model"].drop_duplicates()
    return tuple(ModelId.parse(str(name)) for name in names)


def model_of(
    results: Results, method: str, observe: int | None = None, step: int | None = None
) -> str | None:
    """Return the name of a scored model; None if it was not scored.

    Args:
        results: The run.
        method: `base`, `real` or a label; `hold_last` is the real checkpoint at the window's end.
        observe: Last observed step; ignored by a method without a window.
        step: The step, or the target step of a prediction; defaults to the final one.
    """
    target = results.final_step if step is None else step
    if method == BASE:
        target, observe = 0, 0
    if target is None:
        return None
    wanted = [ModelId(method, observe or 0, target), ModelId(method, 0, target)]
    if method == HOLD_LAST:
        wanted.append(ModelId.checkpoint(observe or 0))
    there = models(results)
    return next((str(model) for model in wanted if model in there), None)


def methods_of(results: Results) -> set[str]:
    """Return the labels of the scored models' methods."""
    return {model.method for model in models(results)}


def steps_of(results: Results, method: str) -> list[int]:
    """Return the steps of a method's scored models, ascending."""
    return sorted({model.step for model in models(results) if model.method == method})


@once_per_run
def protocols(results: Results, benchmark: str) -> list[str]:
    """Return the protocols that answers to a benchmark were drawn with, preferred one first."""
    scores = results.tables["scores"]
    found = set() if scores is None else set(equal(scores, benchmark=benchmark)["protocol"])
    return [name for name in PROTOCOLS if name in found] + sorted(found - set(PROTOCOLS))


class Score(NamedTuple):
    """One row of the table of scores; NaN if the model was not scored.

    Attributes:
        accuracy: Fraction, with its 95 % interval.
        questions: Number of questions.
        samples: Answers per question.
        protocol: How answers were drawn.
    """

    accuracy: Interval
    questions: float
    samples: float
    protocol: str


def score(
    results: Results, model: str | None, benchmark: str, protocol: str | None = None
) -> Score:
    """Return a model's score on a benchmark.

    Args:
        results: The run.
        model: Name of the model, or None.
        benchmark: Name of the benchmark.
        protocol: How answers were drawn; defaults to the preferred one.
    """
    wanted = protocol or next(iter(protocols(results, benchmark)), "")
    row = _rows(results).get((model, benchmark, wanted), {})
    columns = ("accuracy", "ci_low", "ci_high", "questions", "samples")
    value, low, high, questions, samples = (float(row.get(name, math.nan)) for name in columns)
    return Score(Interval(value, low, high), questions, samples, wanted)


def samples_of_all(results: Results, benchmark: str, protocol: str) -> str:
    """Return the answers to a question on a benchmark as text, over all models."""
    scores = results.tables["scores"]
    rows = None if scores is None else equal(scores, benchmark=benchmark, protocol=protocol)
    return DASH if rows is None or not has(rows, "samples") else span(rows, "samples")


@once_per_run
def _rows(results: Results) -> dict[tuple[Any, Any, Any], dict[Any, Any]]:
    scores = results.tables["scores"]
    rows = [] if scores is None else scores.to_dict("records")
    return {(row["model"], row["benchmark"], row["protocol"]): row for row in rows}


@dataclass(frozen=True)
class PairedAccuracy:
    """Accuracy of several models on their common questions.

    A question counts once, with the mean of its samples, so its samples form a cluster. Models may
    differ in their number of samples: each mean is unbiased, and the spread over the questions
    includes what few samples add. Several benchmarks are averaged with equal weight and resampled
    separately. Comparisons with a model that is not included are NaN.

    Attributes:
        models: Names of the models.
        protocol: `sampled` or `greedy`.
        benchmarks: The benchmarks that all of the models were scored on.
        samples: Answers to a question, of each model on each benchmark.
        paired: Question means of the models and their resampled accuracies.
    """

    models: tuple[str, ...]
    protocol: str
    benchmarks: tuple[str, ...]
    samples: tuple[tuple[int, ...], ...]
    paired: Paired

    def __contains__(self, model: object) -> bool:
        """Whether a model is included."""
        return model in self.models

    @property
    def questions(self) -> int:
        """Number of common questions."""
        return self.paired.questions

    @property
    def means(self) -> NDArray[np.float64]:
        """Accuracies, shape (models,), fractions."""
        return self.paired.means

    @property
    def samples_text(self) -> str:
        """Answers to a question as text: one number, or the smallest and the largest."""
        found = [count for each in self.samples for count in each]
        return "–".join(dict.fromkeys(map(str, (min(found), max(found)))))

    @property
    def final(self) -> str:
        """The last included checkpoint of the training; empty if there is none."""
        steps = [found.step for found in map(ModelId.parse, self.models) if found.method == REAL]
        return str(ModelId.checkpoint(max(steps))) if steps else ""

    def accuracy(self, model: int | str) -> Interval:
        """Return a model's accuracy, by index or name, with the interval of the table of scores."""
        if isinstance(model, str):
            if model not in self:
                return UNDEFINED
            model = self.models.index(model)
        samples = self.samples[model]
        parts = [
            effective_wilson(group[model], count)
            for group, count in zip(self.paired.groups, samples, strict=True)
        ]
        found = average(parts)
        if max(samples) == 1:
            return found
        return farther(found, percentile_interval(found.value, self.paired.draws[:, model]))

    def compare(self, contrast: Contrast, *models: str) -> Interval:
        """Compare accuracies, with a paired interval.

        Args:
            contrast: Function of the accuracies.
            models: The contrast's models, in its order; defaults to all.
        """
        if not models:
            return self.paired.compare(contrast)
        if not all(model in self for model in models):
            return UNDEFINED
        return self.paired.compare(_at(contrast, [self.models.index(each) for each in models]))

    def ratio(self, model: str) -> Interval:
        """A model's accuracy over the last checkpoint's (arXiv 2510.00553, section 2.2)."""
        return self.compare(RATIO, model, self.final)

    def gain(self, model: str) -> Interval:
        """(accuracy − base) / (last checkpoint − base): the share of what training gained."""
        return self.compare(GAIN, model, self.final, BASE)

    def points(self, first: str, second: str) -> Interval:
        """The difference of two accuracies, in points (per cent)."""
        return self.compare(POINTS, first, second)


def _at(contrast: Contrast, places: list[int]) -> Contrast:
    """A contrast of a few models, given by their indices among all."""

    def gradient(means: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.zeros(len(means))
        np.add.at(found, places, contrast.gradient(means[places]))
        return found

    return replace(
        contrast, value=lambda means: contrast.value(means[..., places]), gradient=gradient
    )


def paired_accuracy(
    results: Results,
    models: Sequence[str | ModelId],
    benchmarks: Sequence[str],
    protocols: Sequence[str] = PROTOCOLS,
) -> PairedAccuracy | None:
    """Pair models by question, under the first protocol that all of them have.

    Returns:
        None if a model, a benchmark or every protocol is missing.
    """
    return _paired(results, tuple(map(str, models)), tuple(benchmarks), tuple(protocols))


@once_per_run
def _paired(
    results: Results,
    models: tuple[str, ...],
    benchmarks: tuple[str, ...],
    protocols: tuple[str, ...],
) -> PairedAccuracy | None:
    return paired_across([(results, model) for model in models], benchmarks, protocols)


def paired_across(
    models: Sequence[tuple[Results, str | ModelId]],
    benchmarks: Sequence[str],
    protocols: Sequence[str] = PROTOCOLS,
) -> PairedAccuracy | None:
    """Pair models of several runs that share their questions; the first run draws the bootstrap.

    Returns:
        None if a model, a benchmark or every protocol is missing.
    """
    named = [(run, str(model)) for run, model in models]
    for protocol in protocols if named else ():
        results = named[0][0]
        groups = [_questions(named, benchmark, protocol) for benchmark in benchmarks]
        complete = [group for group in groups if group is not None]
        if not complete or len(complete) < len(groups):
            continue
        seeds = [(results.seed, zlib.crc32(name.encode())) for name in benchmarks]
        return PairedAccuracy(
            tuple(model for _, model in named),
            protocol,
            tuple(benchmarks),
            tuple(
                tuple(run.samples_each(model, name, protocol) for name in benchmarks)
                for run, model in named
            ),
            pair(complete, seeds=seeds, draws=results.bootstrap_draws),
        )
    return None


def _questions(
    models: Sequence[tuple[Results, str]], benchmark: str, protocol: str
) -> NDArray[np.float64] | None:
    found = (run.question_means(model, benchmark, protocol) for run, model in models)
    columns = [column for column in found if column is not None]
    if not columns or len(columns) < len(models):
        return None
    common = pd.concat(columns, axis=1, join="inner").dropna().sort_index()
    return common.to_numpy(dtype=np.float64).T if len(common) else None
