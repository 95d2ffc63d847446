"""What RELEX's statistics are for a random walk in many dimensions: exact, without draws.

A walk whose steps are orthogonal to each other, as random ones are once the dimension is far above
the number of steps, has the Gram matrix G[s, t] = n_1² + ... + n_min(s,t)², n the step norms. Every
statistic of a trajectory that RELEX reports is a function of that matrix.

Legend: T steps; n their norms ‖W_t − W_{t−1}‖, shape (T,); C their cumulated squares, where
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
    """How a line through a walk's leading coefficient, drawn on, compares with where it went.

    Attributes:
        cosine: Of the predicted with the true update from the base.
        ratio: Length of the predicted over that of the true update.
    """

    cosine: float
    ratio: float


def typical_norms(norms: pd.DataFrame) -> Array | None:
    """Step norms of a run: the median over tensors, each in units of its own root mean square.

    Args:
        norms: The table `norms` of a run.

    Returns:
        shape (T,), in the order of the steps; None where the table has no step norms, or none of
        the tensors moved.
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
    """Eigenvalues, falling, and eigenvectors of the Gram matrix, and C."""
    gram, squares = _gram(norms)
    found, vectors = np.linalg.eigh(gram)
    return np.clip(found[::-1], 0, None), vectors[:, ::-1], squares


def variance_shares(norms: Array) -> Array:
    """Share of the squared length that each component of the walk carries, shape (T,)."""
    found, *_ = _components(norms)
    return found / found.sum()


def reconstruction_cosines(norms: Array, rank: int) -> Array:
    """Cosine of each ΔW_t with its projection on the leading `rank` directions, shape (T,)."""
    found, vectors, squares = _components(norms)
    kept = (found[:rank] * vectors[:, :rank] ** 2).sum(axis=1)
    return np.sqrt(np.clip(kept / squares, 0, 1))


def leading_coefficients(norms: Array) -> Array:
    """c_1(t) of the walk over its last value, shape (T,)."""
    found, vectors, _ = _components(norms)
    line = np.sqrt(found[0]) * vectors[:, 0]
    return line / line[-1]


def forecast(norms: Array, observe: int, step: int) -> Forecast:
    """RELEX with rank 1 and a line, from the first steps of the walk.

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
    # Later steps are orthogonal to the observed direction, and do not move the true coefficient.
    return Forecast(float(np.sign(predicted) * line[-1] / length), float(abs(predicted) / length))


@once_per_run
def walk_of(cell: Cell) -> Array | None:
    """Step norms of the walk that is a run's null, shape (T,).

    Returns:
        None where norms were not measured, or not at every step: the walk needs each increment.
    """
    norms = cell.results.tables["norms"]
    found = None if norms is None else typical_norms(norms)
    whole = found is not None and norms is not None and len(found) == last_step(norms)
    return found if whole else None
