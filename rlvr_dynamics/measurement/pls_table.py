"""The table `pls`: how far the accuracy follows u1(t), beside chance, a trend and its own noise.

Legend: T checkpoints with both u1 and an accuracy y, m rows of the matrix.
"""

import math

import numpy as np

from rlvr_dynamics.dynamics import (
    feature_kernel,
    linearity,
    noise_of,
    noisy_walks,
    permuted_accuracies,
    pls_loo_r2,
    pls_r2,
    pls_r2_error,
    without_line,
)
from rlvr_dynamics.measurement.settings import AccuracySeries, MeasureSettings
from rlvr_dynamics.measurement.statistics import UpdateStatistics
from rlvr_dynamics.measurement.trajectory_tables import Table, quantiles, seeds_of

FEWEST_ACCURACIES = 4
_TIE = 1e-9  # R² values this close are equal up to summation order


def pls_table(
    labels: Table,
    aligned: np.ndarray,
    updates: UpdateStatistics,
    settings: MeasureSettings,
    accuracy: AccuracySeries | None,
) -> Table:
    """Return the row of one matrix; empty without enough accuracies.

    The base is not among the checkpoints: its update is 0 and has no direction.

    Args:
        labels: Columns that name the matrix.
        aligned: Sign-aligned u1 of every step, shape (steps, m), float64; 0 where nothing moved.
        updates: The statistics of the matrix's updates.
        settings: Seed and draws.
        accuracy: Accuracy of the checkpoints.
    """
    if accuracy is None:
        return {}
    usable = (updates.sigma[:, 0] > 0.0) & np.isin(updates.steps, list(accuracy.values))
    steps, features = updates.steps[usable], aligned[usable]
    y = np.array([accuracy.values[int(step)] for step in steps])
    if len(y) < FEWEST_ACCURACIES or np.ptp(y) == 0.0:
        return {}
    kernel = feature_kernel(features)
    r2 = float(pls_r2(kernel, y))
    if not math.isfinite(r2):
        return {}
    seeds, draws = seeds_of(settings, labels["tensor"]), settings.draws
    noise = noise_of(steps, y, accuracy.errors, accuracy.freedom)
    ceiling, ceiling_low, ceiling_high = noise.ceilings(y)
    loo_r2, line = pls_loo_r2(features, y), linearity(steps, y)
    walked = noisy_walks(y, noise.sds, draws, seeds)
    permuted = np.asarray(pls_r2(kernel, permuted_accuracies(y, draws, seeds)))
    walks = np.asarray(pls_r2(kernel, walked))
    return {
        **labels,
        "T": [len(y)],
        "r2": r2,
        **quantiles(permuted, "r2_null"),
        **quantiles(walks, "r2_walk"),
        "p_value": _p_value(permuted, r2),
        "loo_r2": loo_r2,
        "accuracy": accuracy.source,
        "noise_sd": math.sqrt(noise.variance),
        "noise_source": noise.source,
        "r2_error": pls_r2_error(kernel, y, noise.sds) if noise.freedom else math.nan,
        "r2_ceiling": ceiling,
        "r2_ceiling_low": ceiling_low,
        "r2_ceiling_high": ceiling_high,
        "r2_corrected": _corrected(r2, ceiling),
        "loo_r2_corrected": _corrected(loo_r2, ceiling),
        "step_r2": float(line.r2),
        "step_loo_r2": float(line.loo_r2),
        **_beyond_the_step(steps, features, y, walked, draws, seeds),
        "draws": draws,
        "seed": settings.seed,
    }


def _corrected(r2: float, ceiling: float) -> float:
    """Return R² as it would be without noise, at most 1; NaN if the noise leaves no variance."""
    return min(1.0, r2 / ceiling) if ceiling > 0.0 else math.nan


def _p_value(null: np.ndarray, r2: float) -> float:
    return (1 + int((null >= r2 - _TIE).sum())) / (1 + null.size)


def _beyond_the_step(
    steps: np.ndarray,
    features: np.ndarray,
    y: np.ndarray,
    walked: np.ndarray,
    draws: int,
    seeds: list[int],
) -> Table:
    """Return the partial R² given the step number, with its nulls; empty where it is undefined.

    Accuracies and features are both replaced by what a line in the step number leaves of them
    (Frisch, Waugh and Lovell). The null shuffles the residuals of the accuracies (Freedman and
    Lane 1983).
    """
    left = without_line(steps, y)
    kernel = feature_kernel(without_line(steps, features.T).T)
    partial = float(pls_r2(kernel, left))
    if not math.isfinite(partial):
        return {}
    shuffled = without_line(steps, permuted_accuracies(left, draws, seeds))
    permuted = np.asarray(pls_r2(kernel, shuffled))
    walks = np.asarray(pls_r2(kernel, without_line(steps, walked)))
    return {
        "partial_r2": partial,
        **quantiles(permuted, "partial_r2_null"),
        **quantiles(walks, "partial_r2_walk"),
        "partial_p_value": _p_value(permuted, partial),
    }
