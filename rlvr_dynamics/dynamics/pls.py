"""How much of the accuracy is explained by one PLS component of a module's features.

The features of a step are the entries of a vector taken from its update, such as the sign-aligned
u1. Each is standardised over the steps, z = X̃ w is the direction of largest covariance with the
accuracy, and the accuracy is fitted by z alone: y = slope · z + intercept. Results equal those of
scikit-learn's PLSRegression(n_components=1, scale=True) followed by LinearRegression.
Source: AlphaRL, arXiv 2510.00553, equations 6 to 10.

With thousands of features and tens of steps a high in-sample R² is easy to reach, so compare it
with permuted accuracies, random-walk accuracies and the leave-one-out R². The walks are the
stricter null: drifting features fit a drifting accuracy without any connection, and leave-one-out
does not reveal it because the neighbouring steps stay in (two independent walks of 27 steps score a
median of 0.7 in sample and 0.6 leave-one-out).

With K = X̃ X̃ᵀ and y centred, z is a multiple of K y, so R² = (yᵀKy)² / (yᵀK²y · yᵀy) needs the
features only once for any number of accuracies.

Legend: T observed steps, f features.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

Array = np.ndarray
Sizes = Float[Array, "*lead"] | np.floating
"""A numpy scalar if there are no leading axes."""

_CONSTANT = 1e-13
"""A column with at most this spread relative to its size is constant up to rounding."""

_SPENT = 1e-12
"""Share of a feature's variance below which only rounding remains after leaving a step out."""


@dataclass(frozen=True)
class PLSFit:
    """One PLS component and the line fitted to the accuracy on it. The slope is never negative.

    Attributes:
        weights: Unit vector w on the standardised features, shape (f,), float64; 0 for a constant
            feature.
        loadings: X̃ᵀz / zᵀz, shape (f,): the standardised features per unit of z.
        mean: Mean of each feature, shape (f,).
        scale: Standard deviation of each feature (T - 1 in the denominator), shape (f,); 1 for a
            constant feature.
        slope: Accuracy per unit of z; 0 when no feature varies with the accuracy.
        intercept: Accuracy at z = 0, which is the mean over the fitted steps.
        r2: In sample; NaN when no feature varies with the accuracy.
    """

    weights: np.ndarray
    loadings: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    slope: float
    intercept: float
    r2: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the predicted accuracy, shape (T,), for features of shape (T, f)."""
        z = ((np.asarray(features, dtype=np.float64) - self.mean) / self.scale) @ self.weights
        return self.slope * z + self.intercept

    def invert(self, accuracy: float) -> np.ndarray:
        """Return the features, shape (f,), that correspond to an accuracy.

        z* = (accuracy - intercept) / slope, and the features are mean + scale · loadings · z*.

        Raises:
            ValueError: No feature varies with the accuracy.
        """
        if self.slope == 0.0:
            raise ValueError("no feature varies with the accuracy: nothing to invert")
        z = (accuracy - self.intercept) / self.slope
        return self.mean + self.scale * self.loadings * z


def _standardise(
    features: Float[Array, "T f"],
) -> tuple[Float64[Array, "T f"], Float64[Array, " f"], Float64[Array, " f"]]:
    """Return standardised features, means and scales; a constant feature becomes 0."""
    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    scale = np.sqrt(np.sum(centred**2, axis=0) / max(1, len(values) - 1))
    constant = scale <= _CONSTANT * np.abs(values).max(axis=0)
    centred[:, constant] = 0.0
    scale[constant] = 1.0
    return centred / scale, mean, scale


def _varies(squares: Sizes, size: Sizes) -> Bool[Array, "*lead"] | np.bool_:
    return squares > _CONSTANT**2 * size


def fit_pls(features: np.ndarray, accuracy: np.ndarray) -> PLSFit:
    """Fit one PLS component and the line on it.

    Args:
        features: Shape (T, f).
        accuracy: Shape (T,).

    Raises:
        ValueError: Fewer than two steps, unequal numbers of accuracies and steps, or an accuracy
            that is constant or not a number.
    """
    values = np.asarray(features, dtype=np.float64)
    y = np.asarray(accuracy, dtype=np.float64)
    if values.ndim != 2 or y.shape != (len(values),):
        raise ValueError(f"features {values.shape} and accuracies {y.shape} do not match")
    if len(y) < 2:
        raise ValueError("PLS needs at least two steps")
    mean_accuracy = float(y.mean())
    centred = y - mean_accuracy
    spread = float(centred @ centred)
    if not _varies(np.asarray(spread), np.asarray(y @ y)):
        raise ValueError("the accuracy is constant or not a number: PLS has nothing to explain")
    standard, mean, scale = _standardise(values)
    weights = standard.T @ centred
    norm = float(np.linalg.norm(weights))
    loadings, slope, r2 = np.zeros_like(weights), 0.0, float("nan")
    if norm > 0.0:
        weights /= norm
        z = standard @ weights
        square = float(z @ z)
        loadings = standard.T @ z / square
        slope = float(z @ centred) / square
        error = centred - slope * z
        r2 = 1.0 - float(error @ error) / spread
    return PLSFit(weights, loadings, mean, scale, slope, mean_accuracy, r2)


def feature_kernel(features: Float[Array, "T f"]) -> Float64[Array, "T T"]:
    """Return X̃ X̃ᵀ of the standardised features, shape (T, T), float64.

    Args:
        features: Shape (T, f).
    """
    standard, _, _ = _standardise(features)
    return standard @ standard.T


def pls_r2(kernel: Float64[Array, "T T"], accuracy: Float[Array, "*lead T"]) -> Sizes:
    """Return the in-sample R² of one PLS component for many accuracies, using only the kernel.

    Args:
        kernel: `feature_kernel` of the features, shape (T, T).
        accuracy: Shape (..., T).

    Returns:
        Shape (...,), float64, from 0 to 1; NaN where the accuracy is constant or no feature
        varies with it.
    """
    y = np.asarray(accuracy, dtype=np.float64)
    centred = y - y.mean(axis=-1, keepdims=True)
    spread = np.asarray(np.sum(centred**2, axis=-1))
    usable = _varies(spread, np.sum(y**2, axis=-1))
    z = centred @ kernel
    square = np.asarray(np.sum(z**2, axis=-1))
    usable &= square > 0.0
    shared = np.asarray(np.sum(z * centred, axis=-1))
    share = np.full(spread.shape, np.nan)
    np.divide(shared, square, where=usable, out=share)
    np.divide(share * shared, spread, where=usable, out=share)
    return np.clip(share, 0.0, 1.0)


def pls_r2_error(
    kernel: Float[Array, "T T"], accuracy: Float[Array, " T"], sds: Float[Array, " T"]
) -> float:
    """Return the standard error of the in-sample R² from the noise of the accuracies.

    To first order at the measured accuracies, which is up to √2 too much where all that the fit
    leaves is noise (a squared error of T noises varies by 2T σ⁴, its first order by 4T σ⁴):
    sqrt(Σ g_t² σ_t²) with the gradient of R² = A² / (B C), where
    A = yᵀKy, B = yᵀK²y, C = yᵀy, g = R² (4 Ky / A - 2 K²y / B - 2 y / C), and y centred.

    Args:
        kernel: From `feature_kernel`, shape (T, T).
        accuracy: Shape (T,), not constant.
        sds: Standard deviation σ_t of the noise, shape (T,).
    """
    y = np.asarray(accuracy, dtype=np.float64)
    y = y - y.mean()
    first = kernel @ y
    second = kernel @ first
    A, B, C = float(y @ first), float(first @ first), float(y @ y)
    slope = A**2 / (B * C) * (4.0 * first / A - 2.0 * second / B - 2.0 * y / C)
    return float(np.linalg.norm((slope - slope.mean()) * sds))


def pls_loo_r2(features: np.ndarray, accuracy: np.ndarray) -> float:
    """Return the leave-one-out R²: every step predicted by the fit to the others.

    1 - Σ (y_i - ŷ_i)² / Σ (y_i - ȳ)², where ŷ_i is predicted with standardisation, component and
    line fitted without step i; if the others cannot be fitted, ŷ_i is their mean. The refits are
    exact downdates of sums over all steps, computed with one matrix product.

    Args:
        features: Shape (T, f).
        accuracy: Shape (T,).

    Returns:
        At most 1, without lower bound: predicting the mean of the others scores
        1 - (T / (T - 1))², below 0. NaN when T < 4 or when the accuracy is constant.
    """
    y = np.asarray(accuracy, dtype=np.float64)
    count = len(y)
    centred = y - y.mean()
    spread = float(centred @ centred)
    if count < 4 or not _varies(np.asarray(spread), np.asarray(y @ y)):
        return float("nan")
    standard, _, _ = _standardise(features)
    # Row i of every array belongs to the fit without step i.
    grown = count / (count - 1)
    total = np.sum(standard**2, axis=0)
    squares = total - grown * standard**2
    covariance = centred @ standard - grown * centred[:, None] * standard
    combination = np.divide(
        covariance, squares, where=squares > _SPENT * total, out=np.zeros_like(squares)
    )
    z = combination @ standard.T
    own = np.diagonal(z)
    # Without step i the mean of the standardised features is -x_i / (T - 1).
    z = z + own[:, None] / (count - 1)
    others = ~np.eye(count, dtype=bool)
    mean = y.mean() - centred / (count - 1)
    deviation = np.where(others, y - mean[:, None], 0.0)
    square = np.sum(z**2, axis=1, where=others)
    slope = np.divide(
        np.sum(z * deviation, axis=1),
        square,
        where=(square > 0.0) & _varies(np.sum(deviation**2, axis=1), np.full(count, y @ y)),
        out=np.zeros(count),
    )
    error = y - mean - slope * np.diagonal(z)
    return 1.0 - float(error @ error) / spread


def permuted_accuracies(accuracy: np.ndarray, draws: int, seed: int | list[int]) -> np.ndarray:
    """Return accuracies, shape (T,), in random orders, shape (draws, T): the first null."""
    rows = np.tile(np.asarray(accuracy, dtype=np.float64), (draws, 1))
    return np.random.default_rng(seed).permuted(rows, axis=1)


def walk_accuracies(T: int, draws: int, seed: int | list[int]) -> np.ndarray:
    """Return Gaussian random walks, shape (draws, T): the null of any trending series."""
    return np.cumsum(np.random.default_rng(seed).standard_normal((draws, T)), axis=1)
