"""Tables about the updates of the layers' matrices, from their singular triples.

Legend: m x n a weight matrix, s = min(m, n), k rank, P steps with leading singular triples.
"""

import math
from functools import lru_cache

import numpy as np

from rlvr_dynamics.checkpoints.structure import Matrix
from rlvr_dynamics.dynamics import (
    BITS,
    align_signs,
    effective_rank,
    gaussian_spectrum,
    numerical_rank,
    random_cosine,
    rank_shares,
    ranks_of,
    rounding_floor,
    stable_rank,
)
from rlvr_dynamics.measurement.pls_table import pls_table
from rlvr_dynamics.measurement.settings import AccuracySeries, MeasureSettings
from rlvr_dynamics.measurement.statistics import METHODS, UpdateStatistics
from rlvr_dynamics.measurement.trajectory_tables import Table

_GAUSSIAN_DRAWS = 16
_COSINE_DRAWS = 64


@lru_cache(maxsize=256)
def _gaussian(m: int, n: int) -> np.ndarray:
    return np.asarray(gaussian_spectrum(m, n, _GAUSSIAN_DRAWS, seed=0))


@lru_cache(maxsize=256)
def _cosine_null(dimension: int, k: int) -> float:
    return float(np.mean(random_cosine(dimension, k, k, _COSINE_DRAWS, seed=0)))


def update_tables(
    labels: Table,
    matrix: Matrix,
    dtype: str,
    updates: UpdateStatistics,
    settings: MeasureSettings,
    accuracy: AccuracySeries | None,
) -> dict[str, Table]:
    """Return the rows of one matrix in every table about updates.

    Args:
        labels: Columns `tensor`, `module` and `layer` of its tensor; the matrix's label replaces
            the tensor's name.
        matrix: The matrix.
        dtype: Dtype in which it is read.
        updates: The statistics of the matrix's updates.
        settings: Seeds, draws and ranks.
        accuracy: Accuracy of the checkpoints, for partial least squares.
    """
    labels = labels | {"tensor": matrix.label}
    m, n = matrix.m, matrix.n
    # A zero update has no direction; alignment skips zero vectors.
    moved = updates.sigma[:, :1] > 0.0
    aligned, flipped = align_signs(updates.u1.astype(np.float64) * moved)
    floor = rounding_floor(m, n, 2.0 ** -BITS[dtype], float(updates.base_norm))
    return {
        "update_svd": _triples(labels, m, n, dtype, updates),
        "rank_shares": _rank_shares(labels, m, n, dtype, updates),
        "update_rank": _ranks(labels, m, n, dtype, updates, settings, floor),
        "u1_alignment": _alignment(labels, aligned, flipped, updates),
        "pls": pls_table(labels, aligned, updates, settings, accuracy),
    }


def _triples(labels: Table, m: int, n: int, dtype: str, updates: UpdateStatistics) -> Table:
    count, k = updates.sigma.shape
    norm = np.repeat(updates.frobenius, k)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = updates.sigma.reshape(-1) / norm
    return {
        "step": np.repeat(updates.steps, k),
        **labels,
        "m": m,
        "n": n,
        "index": np.tile(np.arange(1, k + 1), count),
        "sigma": updates.sigma.reshape(-1),
        "frobenius": norm,
        "norm_share": share,
        "norm_share_null": np.tile(_shares_of_gaussian(m, n, k), count),
        "energy_share": share**2,
        "residual": np.repeat(updates.residual, k),
        "method": np.repeat([METHODS[int(code)] for code in updates.method], k),
        "dtype": dtype,
    }


def _shares_of_gaussian(m: int, n: int, k: int) -> np.ndarray:
    """Return the mean of σ_i / ‖·‖_F over Gaussian matrices for the first k indices."""
    spectra = _gaussian(m, n)
    norms = np.linalg.norm(spectra, axis=1, keepdims=True)
    return (spectra / norms).mean(axis=0)[:k]


def _rank_shares(labels: Table, m: int, n: int, dtype: str, updates: UpdateStatistics) -> Table:
    ranks = ranks_of(m, n)
    kept = list(ranks.values())
    ours = np.array([rank_shares(sigma, kept) for sigma in updates.spectrum])
    null = np.array([rank_shares(sigma, kept) for sigma in _gaussian(m, n)])
    count = len(updates.spectrum_steps)
    return {
        "step": np.repeat(updates.spectrum_steps, len(kept)),
        **labels,
        "m": m,
        "n": n,
        "rank": list(ranks) * count,
        "k": kept * count,
        "norm_share": ours.reshape(-1),
        "norm_share_null": np.tile(null.mean(axis=0), count),
        "norm_share_null_high": np.tile(np.quantile(null, 0.975, axis=0), count),
        "dtype": dtype,
    }


def _ranks(
    labels: Table,
    m: int,
    n: int,
    dtype: str,
    updates: UpdateStatistics,
    settings: MeasureSettings,
    floor: float,
) -> Table:
    spectra, null = updates.spectrum, _gaussian(m, n)
    k = min(settings.top_k, m, n)
    return {
        "step": updates.spectrum_steps,
        **labels,
        "stable_rank": [stable_rank(sigma) for sigma in spectra],
        "stable_rank_null": float(np.mean([stable_rank(sigma) for sigma in null])),
        "effective_rank": [effective_rank(sigma) for sigma in spectra],
        "effective_rank_null": float(np.mean([effective_rank(sigma) for sigma in null])),
        "numerical_rank": [numerical_rank(sigma, floor) for sigma in spectra],
        "full_rank": min(m, n),
        "base_cosine_left": updates.base_cosines[:, 0],
        "base_cosine_left_null": _cosine_null(m, k),
        "base_cosine_right": updates.base_cosines[:, 1],
        "base_cosine_right_null": _cosine_null(n, k),
        "subspace_k": k,
        "dtype": dtype,
    }


def _alignment(
    labels: Table, aligned: np.ndarray, flipped: np.ndarray, updates: UpdateStatistics
) -> Table:
    sigma = updates.sigma[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha = updates.frobenius / sigma
    directions = np.where(sigma[:, None] > 0.0, aligned, math.nan)
    later = np.append((directions[:-1] * directions[1:]).sum(axis=1), math.nan)
    return {
        "step": updates.steps,
        **labels,
        "flipped": np.asarray(flipped),
        "cosine_next": later,
        "cosine_last": directions @ directions[-1],
        "sigma1": sigma,
        "alpha": alpha,
    }
