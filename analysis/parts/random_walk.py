"""RELEX's statistics for a random walk in many dimensions: exact, without draws.

A walk with mutually orthogonal steps, as random steps are if the dimension is far above their
number, has the Gram matrix G[s, t] = n_1² + ... + n_min(s,t)², with n the step norms. Every
statistic of a trajectory that RELEX reports is a function of that matrix.

Legend: T steps; n their norms ‖W_t − W_{t−1}‖, shape (T,); C their cumulative squares, where
C_t = ‖ΔW_t‖².
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import last_step
from rlvr_dynamics.results.study import Cell

Array = NDArray[np.float64]


class Forecast(NamedTuple):
    """An extrapolated line through a walk's leading coefficient, compared with the true update.

    Attributes:
        cosine: Cosine of the predicted with the true update from the base.
        ratio: Length of the predicted over that of the true update.
    """

    cosine: float
    ratio: float


def typical_norms(norms: pd.DataFrame) -> Array | None:
    """Return a run's step norms: the median over tensors, each relative to its root mean square.

    Args:
        norms: The table `norms` of a run.

    Returns:
        Shape (T,), in the order of the steps; None if the table has no step norms or no tensor
        moved.
    """
    if "step_norm" not in norms:
        return None
    wide = norms.pivot_table(index="tensor", columns="step", values="step_norm", dropna=False)
    values = wide.to_numpy(float)
    length = np.sqrt((values**2).mean(axis=1, keepdims=True))
    moved = values[np.isfinite(length[:, 0]) & (length[:, 0] > 0)]
    length = length[np.isfinite(length[:, 0]) & (length[:, 0] > 0)]
    return np.median(moved / length, axis=0) if len(moved) else None


def _gram(norms: Array) -> tuple[Array, Array]:
    squares = np.cumsum(np.asarray(norms, dtype=np.float64) ** 2)
    places = np.arange(len(squares))
    return squares[np.minimum.outer(places, places)], squares


def _components(norms: Array) -> tuple[Array, Array, Array]:
    """Return eigenvalues (descending) and eigenvectors of the Gram matrix, and C."""
    gram, squares = _gram(norms)
    found, vectors = np.linalg.eigh(gram)
    return np.clip(found[::-1], 0, None), vectors[:, ::-1], squares


def variance_shares(norms: Array) -> Array:
    """Return the share of the squared length in each component of the walk, shape (T,)."""
    found, *_ = _components(norms)
    return found / found.sum()


def reconstruction_cosines(norms: Array, rank: int) -> Array:
    """Return the cosine of each ΔW_t with its projection on `rank` leading directions, (T,)."""
    found, vectors, squares = _components(norms)
    kept = (found[:rank] * vectors[:, :rank] ** 2).sum(axis=1)
    return np.sqrt(np.clip(kept / squares, 0, 1))


def leading_coefficients(norms: Array) -> Array:
    """Return c_1(t) of the walk divided by its last value, shape (T,)."""
    found, vectors, _ = _components(norms)
    line = np.sqrt(found[0]) * vectors[:, 0]
    return line / line[-1]


def forecast(norms: Array, observe: int, step: int) -> Forecast:
    """Apply RELEX with rank 1 and a line to the first steps of the walk.

    Args:
        norms: n, shape (T,); one entry per step from the first.
        observe: Last observed step, at least 2.
        step: Target step, at most T.

    Source: RELEX, arXiv 2605.21468 (method; appendix B for the two numbers).
    """
    found, vectors, squares = _components(np.asarray(norms)[:observe])
    line = np.sqrt(found[0]) * vectors[:, 0]
    line = line * np.sign(line[-1])
    slope, intercept = np.polyfit(np.arange(1, observe + 1), line, 1)
    predicted = slope * step + intercept
    length = np.sqrt(_gram(norms)[1][step - 1])
    # Later steps are orthogonal to the observed direction and do not change the true coefficient.
    return Forecast(float(np.sign(predicted) * line[-1] / length), float(abs(predicted) / length))


@once_per_run
def walk_of(cell: Cell) -> Array | None:
    """Return the step norms of the walk that is a run's null, shape (T,).

    Returns:
        None unless norms were measured at every step: the walk needs each increment.
    """
    norms = cell.results.tables["norms"]
    found = None if norms is None else typical_norms(norms)
    whole = found is not None and norms is not None and len(found) == last_step(norms)
    return found if whole else None
