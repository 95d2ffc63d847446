"""Accuracies of several models on the same questions, read from the stored answers."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.statistics.intervals import (
    Interval,
    average,
    effective_wilson,
    farther,
    percentile_interval,
)
from rlvr_dynamics.statistics.paired import Contrast, Paired, difference, pair

PROTOCOLS = ("sampled", "greedy")
POINTS = difference(scale=100.0)
"""Difference of the first two models, in points (per cent)."""


@dataclass(frozen=True)
class PairedAccuracy:
    """Accuracy of several models on their common questions.

    A question counts once, with the mean of its samples, so samples of one question are a cluster.
    Several benchmarks are averaged with equal weight and resampled apart.

    Attributes:
        models: Model ids.
        protocol: `sampled` or `greedy`.
        benchmarks: The benchmarks that all of the models were scored on.
        samples: Samples per question, the most over the benchmarks.
        paired: Question means of the models, and their resampled accuracies.
    """

    models: tuple[str, ...]
    protocol: str
    benchmarks: tuple[str, ...]
    samples: int
    paired: Paired

    @property
    def questions(self) -> int:
        """Number of common questions."""
        return self.paired.questions

    @property
    def means(self) -> NDArray[np.float64]:
        """Accuracies, shape (models,), fractions."""
        return self.paired.means

    def compare(self, contrast: Contrast) -> Interval:
        """A comparison of the accuracies with its paired interval."""
        return self.paired.compare(contrast)

    def accuracy(self, place: int) -> Interval:
        """The accuracy of one model with its own interval, as in the table of scores."""
        parts = [effective_wilson(group[place], self.samples) for group in self.paired.groups]
        score = average(parts)
        if self.samples == 1:
            return score
        return farther(score, percentile_interval(score.value, self.paired.draws[:, place]))


def paired_accuracy(
    results: Results,
    models: Sequence[str | ModelId],
    benchmarks: Sequence[str],
    protocols: Sequence[str] = PROTOCOLS,
) -> PairedAccuracy | None:
    """Pair models by question; the first protocol that all of them have is used.

    Returns:
        None where a model, a benchmark or every protocol is missing.
    """
    key = tuple(map(str, models)), tuple(benchmarks), tuple(protocols)
    if key not in results.memo:
        results.memo[key] = _paired(results, *key)
    return results.memo[key]


def _paired(
    results: Results,
    models: tuple[str, ...],
    benchmarks: tuple[str, ...],
    protocols: tuple[str, ...],
) -> PairedAccuracy | None:
    for protocol in protocols:
        groups = [_questions(results, models, benchmark, protocol) for benchmark in benchmarks]
        complete = [group for group in groups if group is not None]
        if not complete or len(complete) < len(groups):
            continue
        seeds = [(results.seed, zlib.crc32(name.encode())) for name in benchmarks]
        return PairedAccuracy(
            models,
            protocol,
            benchmarks,
            max(results.samples_each(models[0], name, protocol) for name in benchmarks),
            pair(complete, seeds=seeds, draws=results.bootstrap_draws),
        )
    return None


def _questions(
    results: Results, models: Sequence[str], benchmark: str, protocol: str
) -> NDArray[np.float64] | None:
    found = (results.question_means(model, benchmark, protocol) for model in models)
    columns = [column for column in found if column is not None]
    if len(columns) < len(models):
        return None
    common = pd.concat(columns, axis=1, join="inner").dropna().sort_index()
    return common.to_numpy(dtype=np.float64).T if len(common) else None
