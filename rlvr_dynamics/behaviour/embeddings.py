"""How far the token embeddings moved, and a projection of the shifts to two dimensions.

Legend: n tokens, d length of an embedding.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.checkpoints.layout import Layout
from rlvr_dynamics.checkpoints.names import EMBEDDING_MODULES
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.checkpoints.tying import vocabulary_of_one
from rlvr_dynamics.errors import UserError

INPUT, OUTPUT = "input", "output"
MOST_UNUSED = 1_000


class Matrix(NamedTuple):
    """An embedding matrix of a stored model: its name, number of rows and row length."""

    name: str
    rows: int
    d: int


def matrices(folder: Path) -> tuple[dict[str, Matrix], bool]:
    """Return a model's input embedding, its output embedding if untied, and whether it is tied.

    Raises:
        UserError: No tensor is an input embedding.
    """
    stored = read_layout(folder)
    vocabulary = vocabulary_of_one(stored)
    layout = vocabulary.apply(stored)
    if not vocabulary.embedding:
        raise UserError(
            "no tensor has the name of an input embedding",
            where=str(folder),
            way_out=f"only models whose embedding is one of {', '.join(EMBEDDING_MODULES)} can be "
            "analysed",
        )
    found = {INPUT: _matrix(layout, vocabulary.embedding)}
    if not vocabulary.tied:
        found[OUTPUT] = _matrix(layout, vocabulary.head)
    return found, vocabulary.tied


def _matrix(layout: Layout, name: str) -> Matrix:
    rows, d = layout.entry(name).shape
    return Matrix(name, rows, d)


def rows_of(folder: Path, matrix: Matrix, tokens: Sequence[int]) -> NDArray[np.float64]:
    """Read the embeddings of the given tokens, shape (n, d), float64."""
    from rlvr_dynamics.checkpoints.trajectory import Trajectory

    stored = Trajectory.of_one(folder)  # reads ranges of elements without the other weights
    d = matrix.d
    rows = [stored.elements(0, matrix.name, token * d, token * d + d) for token in tokens]
    return np.array([row.double().numpy() for row in rows]).reshape(len(rows), d)


def some_unused(used: Sequence[int], rows: int, seed: int) -> list[int]:
    """Return the unused tokens, or a random draw of `MOST_UNUSED` if there are more."""
    others = np.setdiff1d(np.arange(rows), np.asarray(used, dtype=np.int64))
    most = max(MOST_UNUSED, 1)
    if len(others) > most:
        others = np.random.default_rng(seed).choice(others, most, replace=False)
    return sorted(int(token) for token in others)


def principal_plane(
    before: NDArray[np.float64], after: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    """Project both states of the embeddings onto the first two principal axes of their union.

    Uses an exact, full singular value decomposition, so no seed is needed; AlphaRL's code uses
    scikit-learn's PCA(2) with seed 42. Axes are oriented so that their largest entry is positive.

    Args:
        before: shape (n, d).
        after: shape (n, d).

    Returns:
        Both projections, shape (n, 2) each, and each axis's share of the variance.
    """
    both = np.concatenate([before, after])
    centred = both - both.mean(axis=0)
    _, sigma, axes = np.linalg.svd(centred, full_matrices=False)
    axes = (
        axes[:2]
        * np.sign(axes[:2][np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    )
    plane = np.zeros((len(both), 2))
    plane[:, : len(axes)] = centred @ axes.T
    total = float((sigma**2).sum())
    explained = [float(value**2) / total if total else float("nan") for value in sigma[:2]]
    explained += [0.0] * (2 - len(explained))
    return plane[: len(before)], plane[len(before) :], (explained[0], explained[1])


def cosines(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows, shape (n,); NaN where either row is zero."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = (first * second).sum(axis=1)
    return np.divide(products, lengths, out=np.full(len(lengths), np.nan), where=lengths > 0)


def shift_table(
    before: NDArray[np.float64], after: NDArray[np.float64], used: NDArray[np.bool_]
) -> pd.DataFrame:
    """Return norms and cosines of the tokens' shifts, and the projection of the used tokens.

    Args:
        before: Embeddings of the base, shape (n, d).
        after: Embeddings of the other model, shape (n, d).
        used: Whether the token occurs in the trained model's answers, shape (n,).

    Returns:
        One row per token: base_norm, shift_norm, relative_shift, cosine (of both states), common
        (cosine of the shift with the mean shift of the other used tokens; within about 1/√d of 0
        if tokens move independently), x_base, y_base, x, y (NaN for unused tokens), x_explained,
        y_explained.
    """
    shift = after - before
    base_norm, shift_norm = np.linalg.norm(before, axis=1), np.linalg.norm(shift, axis=1)
    others = shift[used].sum(axis=0) - shift * used[:, None]
    relative = np.divide(
        shift_norm, base_norm, out=np.full(len(base_norm), np.nan), where=base_norm > 0
    )
    table = pd.DataFrame(
        {
            "used": used,
            "base_norm": base_norm,
            "shift_norm": shift_norm,
            "relative_shift": relative,
            "cosine": cosines(before, after),
            "common": cosines(shift, others),
            **dict.fromkeys(("x_base", "y_base", "x", "y"), np.nan),
        }
    )
    start, end, (across, up) = principal_plane(before[used], after[used])
    table.loc[used, ["x_base", "y_base"]] = start
    table.loc[used, ["x", "y"]] = end
    return table.assign(x_explained=across, y_explained=up)
