"""A lower bound of the mean of a bounded variable that holds for few values and rare ones.

The bound is the quantile of Σ w_i x_i + w_0 a over weights w ~ Dirichlet(1, ..., 1), with a the
smallest possible value: a Bayesian bootstrap with one more observation, at the worst. For two
values it is the bound of Clopper and Pearson, and for values in {-1, 0, 1} and a = -1 it is above
0 exactly if McNemar's exact test (the sign test on what differs) rejects.

A t interval is too short here: with few values that differ, its estimate of the variance is zero
or nearly so.

Source: Gaffke 2005 (Three test statistics for a nonparametric one-sided hypothesis on the mean of a
nonnegative variable, Math. Methods Stat. 14); Learned-Miller and Thomas 2019, arXiv 1905.06208. It
is exact for two values and in the case of McNemar. For other distributions it was conjectured, and
no counterexample is known.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_REACH = 32.0  # from u = log t = -32 on the integrand is looked at
_SPACING = 1.0 / 16.0
_NEGLIGIBLE = 28.0  # and while its amplitude is above exp(-28)
_FAR = 80.0  # standard deviations beyond which Chernoff's bound exp((1/2 - m) / 2) leaves nothing


def mean_p_value(values: ArrayLike, lowest: float, mean: float = 0.0) -> float:
    """Return the p-value of the hypothesis that the mean is at most `mean`.

    It is P(Σ w_i (x_i - mean) + w_0 (lowest - mean) <= 0), by inversion of the characteristic
    function of Σ g_i (x_i - mean) with exponential g (Gil-Pelaez 1951; Imhof 1961).

    Args:
        values: x, shape (n,), finite, none below `lowest`.
        lowest: a, the smallest possible value.
        mean: At least `lowest`.

    Raises:
        ValueError: A value is below the lowest or not finite, or there is none.
    """
    levels, counts = _counted(values, lowest)
    return _tail(levels - mean, counts)


def mean_lower_bound(values: ArrayLike, lowest: float, level: float) -> float:
    """Return the lower end of the one-sided interval of the mean.

    Args:
        values: x, shape (n,), finite, none below `lowest`.
        lowest: a, the smallest possible value.
        level: Chance that the mean lies below the bound, at most; for example 0.05.

    Raises:
        ValueError: A value is below the lowest or not finite, or there is none.
    """
    from scipy.optimize import brentq

    levels, counts = _counted(values, lowest)
    top = float(levels.max())
    if top <= lowest:
        return lowest

    def excess(mean: float) -> float:
        return _tail(levels - mean, counts) - level

    # Far from the bound the quadrature is slow, so the bracket grows from near it.
    middle = float(np.average(levels, weights=counts))
    reach = 3.0 * float(np.sqrt(counts @ (levels - middle) ** 2)) / float(counts.sum())
    low, high = max(lowest, middle - reach), min(top, middle + reach)
    while excess(low) > 0.0:
        low = max(lowest, 2.0 * low - middle)
    while excess(high) < 0.0:
        high = min(top, 2.0 * high - middle)
    return float(brentq(excess, low, high, xtol=1e-12))  # pyright: ignore[reportArgumentType]


def _counted(values: ArrayLike, lowest: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    given = np.asarray(values, dtype=np.float64).ravel()
    if not given.size or not np.all(np.isfinite(given)) or float(given.min()) < lowest:
        raise ValueError(f"a bounded mean needs finite values, none below {lowest:g}")
    return np.unique(np.append(given, lowest), return_counts=True)


def _tail(levels: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Return P(X <= 0) for X = Σ v_j Γ(c_j), a weighted sum of independent gamma variables."""
    if not np.any(levels > 0.0):
        return 1.0
    if not np.any(levels < 0.0):
        return 0.0
    scaled = levels / np.sqrt(float(counts @ levels**2))
    middle = float(counts @ scaled)
    if abs(middle) > _FAR:
        return 0.0 if middle > 0.0 else 1.0
    # The integrand is analytic in u, so the trapezoidal rule converges geometrically once it has
    # about two nodes for every turn of the fastest oscillation that is left.
    coarse = np.arange(-_REACH, _REACH, _SPACING)
    _, decay, turning = _oscillation(scaled, counts, np.exp(coarse))
    left = decay < _NEGLIGIBLE
    spacing = 2.0 / max(2.0 / _SPACING, float(np.abs(turning[left]).max()))
    nodes = np.arange(-_REACH, coarse[left][-1] + _SPACING, spacing)
    angle, decay, _ = _oscillation(scaled, counts, np.exp(nodes))
    integral = spacing * float(np.sum(np.sin(angle) * np.exp(-decay)))
    return float(np.clip(0.5 - integral / np.pi, 0.0, 1.0))


def _oscillation(
    levels: NDArray[np.float64], counts: NDArray[np.int64], times: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return angle, minus log size and t d(angle)/dt of X's characteristic function at times t."""
    angle, decay, turning = np.zeros((3, len(times)))
    for value, count in zip(levels, counts, strict=True):
        product = value * times
        square = product * product
        angle += count * np.arctan(product)
        decay += count * np.log1p(square) / 2.0
        turning += count * product / (1.0 + square)
    return angle, decay, turning
