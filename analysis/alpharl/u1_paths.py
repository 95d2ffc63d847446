"""Leading left vectors u1(t) of one run, their accuracies, and the PLS fit between them.

Legend: P steps with both u1 and an accuracy, m rows of a matrix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import accuracy_source, equal
from rlvr_dynamics.results.study import Cell
from rlvr_dynamics.run_directory.own_accuracy import own_accuracy

if TYPE_CHECKING:
    from rlvr_dynamics.dynamics import PLSFit

AGREES = 1e-4


@dataclass(frozen=True)
class Path1:
    """u1(t) of one matrix.

    Attributes:
        tensor: Its name.
        module: Its kind, such as `q_proj`.
        layer: Its block.
        steps: Shape (P,), ascending.
        u1: Sign-aligned unit vectors, shape (P, m), float64.
        accuracy: y(t), shape (P,), fractions.
    """

    tensor: str
    module: str
    layer: int
    steps: np.ndarray
    u1: np.ndarray
    accuracy: np.ndarray

    @cached_property
    def fit(self) -> "PLSFit":
        """One PLS component for the accuracy and the line on it (arXiv 2510.00553, eq. 6 to 10)."""
        from rlvr_dynamics.dynamics import fit_pls

        return fit_pls(self.u1, self.accuracy)

    @property
    def component(self) -> np.ndarray:
        """z(t), the first component, in standard deviations; shape (P,)."""
        z = ((self.u1 - self.fit.mean) / self.fit.scale) @ self.fit.weights
        spread = z.std(ddof=1)
        return z / spread if spread > 0 else z

    def walk(self, seed: int = 0) -> "Path1":
        """Return the same u1(t) with a Gaussian random walk in place of the accuracies.

        The walk is rescaled to their spread. It shows what any series with a trend would give.
        """
        from rlvr_dynamics.dynamics import walk_accuracies

        walk = walk_accuracies(len(self.steps), 1, seed)[0]
        walk = (walk - walk.mean()) / walk.std() * self.accuracy.std() + self.accuracy.mean()
        return Path1(self.tensor, self.module, self.layer, self.steps, self.u1, walk)


def principal_plane(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the two leading principal components of vectors, and their shares of the variance.

    Args:
        vectors: Shape (P, m).

    Returns:
        Scores, shape (P, 2), with signs such that the last step is positive; shares, shape (2,).
    """
    centred = vectors - vectors.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    scores = u[:, :2] * s[:2]
    signs = np.where(scores[-1] < 0, -1.0, 1.0)
    return scores * signs, s[:2] ** 2 / max(float((s**2).sum()), np.finfo(float).tiny)


def walk_like(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw a random walk of directions with the step lengths of given unit vectors, (P, m)."""
    lengths = np.linalg.norm(np.diff(vectors, axis=0), axis=1)
    noise = np.random.default_rng(seed).standard_normal((len(lengths), vectors.shape[1]))
    noise *= (lengths / np.linalg.norm(noise, axis=1))[:, None]
    return np.concatenate([vectors[:1], vectors[:1] + np.cumsum(noise, axis=0)])


def has_paths(cell: Cell) -> bool:
    """Whether u1(t) of a run can be read: its PLS table and its vectors in measure/ exist."""
    return cell.results.tables["pls"] is not None and _folder(cell).is_dir()


@once_per_run
def u1_path(cell: Cell, tensor: str) -> Path1 | None:
    """Return u1(t) of one matrix with the accuracies of its PLS row.

    Returns:
        None if measure/ kept no u1, the accuracies are not the run's own, or the fit is not the
        one in measure/pls.parquet (made from other accuracies).
    """
    from rlvr_dynamics.dynamics import align_signs
    from rlvr_dynamics.measurement.statistics import load_updates

    table, accuracies = cell.results.tables["pls"], _accuracies(cell)
    updates = load_updates(_folder(cell), tensor)
    if table is None or updates is None or not accuracies:
        return None
    rows = equal(table, tensor=tensor)
    moved = updates.sigma[:, :1] > 0.0
    aligned, _ = align_signs(updates.u1.astype(np.float64) * moved)
    usable = moved[:, 0] & np.isin(updates.steps, list(accuracies))
    steps = updates.steps[usable]
    y = np.array([accuracies[int(step)] for step in steps])
    if not len(rows) or len(y) < 3 or np.ptp(y) == 0.0:
        return None
    row = rows.iloc[0]
    path = Path1(tensor, str(row["module"]), int(row["layer"]), steps, aligned[usable], y)
    return path if abs(path.fit.r2 - float(row["r2"])) < AGREES else None


def _folder(cell: Cell) -> Path:
    return cell.results.run_dir / "measure" / "statistics"


def _accuracies(cell: Cell) -> Mapping[int, float]:
    """Return the run's own accuracy by step."""
    metrics = cell.results.tables["metrics"]
    series = None if metrics is None else own_accuracy(metrics, cell.results.config)
    return {} if series is None else series.values


def source(cell: Cell) -> str:
    """Say where y(t) came from, in a sentence."""
    table = cell.results.tables["pls"]
    return "" if table is None else accuracy_source(table)
