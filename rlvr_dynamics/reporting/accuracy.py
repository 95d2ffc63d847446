"""Accuracies of several models on the same questions, resampled together."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.reporting.intervals import (
    Interval,
    percentile_interval,
    resampled_means,
)
from rlvr_dynamics.reporting.results import Results

PROTOCOLS = ("sampled", "greedy")
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class PairedAccuracy:
    """Accuracy of several models on their common questions.

    A question counts once, with the mean of its samples, so samples of one question are a cluster.
    Several benchmarks are averaged with equal weight and resampled apart.

    Attributes:
        models: Model ids.
        protocol: `sampled` or `greedy`.
        benchmarks: The benchmarks that all of the models were scored on.
        questions: Number of common questions.
        means: shape (models,), fractions.
        draws: shape (draws, models): the same under resampled questions.
    """

    models: tuple[str, ...]
    protocol: str
    benchmarks: tuple[str, ...]
    questions: int
    means: NDArray[np.float64]
    draws: NDArray[np.float64]

    def compare(self, statistic: Statistic) -> Interval:
        """A statistic of the accuracies (last axis: models) with its paired interval."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return percentile_interval(float(statistic(self.means)), statistic(self.draws))


def paired_accuracy(
    results: Results,
    models: Sequence[str],
    benchmarks: Sequence[str],
    protocols: Sequence[str] = PROTOCOLS,
) -> PairedAccuracy | None:
    """Pair models by question; the first protocol that all of them have is used.

    Returns:
        None where a model, a benchmark or every protocol is missing.
    """
    for protocol in protocols:
        groups = [_questions(results, models, benchmark, protocol) for benchmark in benchmarks]
        complete = [group for group in groups if group is not None]
        if not complete or len(complete) < len(groups):
            continue
        seeds = [(results.seed, zlib.crc32(name.encode())) for name in benchmarks]
        draws = [
            resampled_means(group, draws=results.bootstrap_draws, seed=seed)
            for group, seed in zip(complete, seeds, strict=True)
        ]
        return PairedAccuracy(
            tuple(models),
            protocol,
            tuple(benchmarks),
            sum(group.shape[1] for group in complete),
            np.mean([group.mean(axis=1) for group in complete], axis=0),
            np.mean(draws, axis=0),
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


def first_minus_second(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Difference of the first two models, in points (per cent)."""
    return 100 * (accuracy[..., 0] - accuracy[..., 1])


def ratio(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """First model over second: the `relative accuracy` of arXiv 2510.00553, section 2.2."""
    return accuracy[..., 0] / accuracy[..., 1]


def gain_recovered(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """(first − base) / (full − base) of models given as first, full, base."""
    gain = accuracy[..., 1] - accuracy[..., 2]
    return (accuracy[..., 0] - accuracy[..., 2]) / gain
