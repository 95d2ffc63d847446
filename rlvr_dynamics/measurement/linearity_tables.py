"""Explained variance and linearity of one tensor's trajectory, on every clock, beside their nulls.

Legend: T observed steps, d elements of one tensor.
"""

import math
import zlib
from typing import Any

import numpy as np

from rlvr_dynamics.dynamics import (
    NullComponents,
    TrajectorySVD,
    autocorrelation,
    drift_share,
    even_spacing,
    increment_cosines,
    linearity,
    null_components,
    permuted_steps_null,
    same_clock,
    share_of,
    with_drift,
)
from rlvr_dynamics.measurement.settings import MeasureSettings
from rlvr_dynamics.measurement.statistics import TensorStatistics
from rlvr_dynamics.schema.tables import LAGS, LINE_SCORES, NULL_WALKS

Table = dict[str, Any]


def quantiles(sample: np.ndarray, prefix: str) -> dict[str, float]:
    """Return the mean and the 2.5 % and 97.5 % quantiles of a null; NaN if undefined."""
    usable = sample[np.isfinite(sample)]
    if len(usable) == 0:
        return {f"{prefix}_{key}": math.nan for key in ("mean", "low", "high")}
    low, high = np.quantile(usable, [0.025, 0.975])
    return {f"{prefix}_mean": usable.mean(), f"{prefix}_low": low, f"{prefix}_high": high}


def seeds_of(settings: MeasureSettings, name: str) -> list[int]:
    """Return the seed of a tensor's nulls: the run's seed and one derived from the name."""
    return [settings.seed, zlib.crc32(name.encode())]


def scores_with_nulls(
    labels: Table,
    d: int,
    dtype: str,
    svd: TrajectorySVD,
    statistics: TensorStatistics,
    settings: MeasureSettings,
) -> dict[str, Table]:
    """Return the tensor's rows of `trajectory_svd` and `linearity`.

    Args:
        labels: Columns `tensor`, `module` and `layer`.
        d: Number of elements.
        dtype: Stored dtype.
        svd: The trajectory's decomposition.
        statistics: The tensor's statistics.
        settings: Seeds, draws, ranks, and the optimizer.
    """
    cosines = increment_cosines(statistics.gram)
    share = drift_share(cosines)
    correlations = null_correlations(statistics, settings, share)
    seeds = seeds_of(settings, labels["tensor"])
    nulls = {
        walk: null_components(statistics.step_norms, d, settings.draws, seeds, correlation)
        for walk, correlation in correlations.items()
    }
    noise = correlations.get("optimizer")
    count = min(len(svd.singular_values), settings.top_k)
    explained: dict[str, float] = {}
    for name, sample in nulls.items():
        explained |= quantiles(sample.explained_variance, NULL_WALKS[name].of_variance)
    explained |= {f"optimizer_autocorrelation_{lag}": autocorrelation(cosines, lag) for lag in LAGS}
    if noise is not None:
        explained |= {
            f"optimizer_null_autocorrelation_{lag}": autocorrelation(noise, lag) for lag in LAGS
        }
        explained["optimizer_null_drift_share"] = drift_share(noise)
    explained["optimizer_drift_share"] = share
    drawn = {"draws": settings.draws, "seed": settings.seed}
    first = np.arange(count) == 0
    return {
        "trajectory_svd": {
            **labels,
            "d": d,
            "T": len(statistics.steps),
            "index": np.arange(1, count + 1),
            "sigma": svd.singular_values[:count],
            "explained_variance": svd.explained_variance[:count],
            **{key: np.where(first, value, np.nan) for key, value in explained.items()},
            **drawn,
            "dtype": dtype,
        },
        "linearity": _lines(labels, svd.coefficients[:, 0], nulls, statistics, settings) | drawn,
    }


def null_correlations(
    statistics: TensorStatistics, settings: MeasureSettings, share: float = math.nan
) -> dict[str, np.ndarray | None]:
    """Return the correlations between the steps of every walk of `NULL_WALKS` that can be drawn.

    Args:
        statistics: The tensor's statistics.
        settings: With the optimizer, whose walk needs even steps and constants that are known.
        share: The share of the squared step length that is a drift, from a long trajectory; NaN
            leaves out the walk with a drift.

    Returns:
        Shape (T, T) each; None for independent steps.
    """
    record, steps = settings.optimizer, statistics.steps
    correlations: dict[str, np.ndarray | None] = {"walk": None}
    noise = record.noise_of(steps)
    if noise is not None:
        decay = record.shrinkage(steps) * float(statistics.base_norm)
        correlations["optimizer"] = with_drift(noise, share_of(decay, statistics.step_norms))
        if math.isfinite(share):
            correlations["drift"] = with_drift(noise, share)
    return correlations


def clocks_of(statistics: TensorStatistics, settings: MeasureSettings) -> dict[str, np.ndarray]:
    """Return the positions of the steps on each clock that is known, shape (T,), float64.

    Optimizer time is left out where it is the step number, as at a constant learning rate.
    """
    steps = statistics.steps.astype(np.float64)
    clocks = {"step": steps}
    path = np.cumsum(statistics.step_norms)
    if even_spacing(statistics.steps) is not None and path[-1] > path[0]:
        clocks["path"] = path
    times = settings.optimizer.times
    if all(int(step) in times for step in statistics.steps):
        time = np.array([times[int(step)] for step in statistics.steps])
        if not same_clock(time, steps):
            clocks["optimizer"] = time
    return clocks


def _lines(
    labels: Table,
    coefficients: np.ndarray,
    nulls: dict[str, NullComponents],
    statistics: TensorStatistics,
    settings: MeasureSettings,
) -> Table:
    """Return one row for each clock on which the steps can be placed."""
    seeds = seeds_of(settings, labels["tensor"])
    rows: list[Table] = []
    for clock, positions in clocks_of(statistics, settings).items():
        line = linearity(positions, coefficients)
        row: Table = {
            **labels,
            "clock": clock,
            "T": len(positions),
            "slope": float(line.slope),
            "intercept": float(line.intercept),
        }
        shuffled = permuted_steps_null(positions, coefficients, settings.draws, seeds)
        samples = {name: components.on(positions) for name, components in nulls.items()}
        for score in LINE_SCORES:
            row[score] = float(getattr(line, score))
            row |= quantiles(getattr(shuffled, score), f"{score}_permuted")
            for name, sample in samples.items():
                row |= quantiles(getattr(sample, score), NULL_WALKS[name].of_score(score))
        rows.append(row)
    names = list(rows[0])
    return {name: [row[name] for row in rows] for name in names}
