"""What Adam writes without a signal: the correlation of its steps when the gradient is noise.

A step of Adam is m̂ / sqrt(v̂), and m̂ averages about ten gradients. Its steps are therefore
correlated where those of a random walk are not, and a run that learns nothing still looks close to
rank-1 and linear over a short window. The correlation depends on the number of steps and on the
optimizer's constants alone, not on the tensor: it is sampled once, over many independent weights.

Source: Adam (arXiv 1412.6980, algorithm 1). The null is this project's.

Legend: T steps between checkpoints, n optimizer updates in each.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

WEIGHTS = 40_000
"""Independent weights sampled: a correlation is exact to about 1 / sqrt(WEIGHTS) = 0.005."""

_SEED = 20_251_126
_CHUNK = 4_000


@dataclass(frozen=True)
class Optimizer:
    """The optimizer's constants, and how many updates lie between two checkpoints.

    Attributes:
        beta1: Decay of the first moment; 0 for none.
        beta2: Decay of the second moment; None for an optimizer without it (SGD with momentum).
        updates: Optimizer updates between neighbouring checkpoints.
    """

    beta1: float = 0.9
    beta2: float | None = 0.999
    updates: int = 1


def noise_correlation(
    count: int, optimizer: Optimizer, gradient_sizes: np.ndarray | None = None
) -> np.ndarray:
    """Return the correlations between the steps that an optimizer makes on pure noise.

    Args:
        count: T, from the first update on.
        optimizer: Its constants.
        gradient_sizes: Size of the (clipped) gradient at each step, shape (T,); None for equal
            sizes. Only their ratios matter.

    Returns:
        Shape (T, T), float64, ones on the diagonal.
    """
    sizes = (1.0,) * count if gradient_sizes is None else tuple(map(float, gradient_sizes))
    return _correlation(count, optimizer, sizes).copy()


@lru_cache(maxsize=16)
def _correlation(count: int, optimizer: Optimizer, sizes: tuple[float, ...]) -> np.ndarray:
    generator = np.random.default_rng(_SEED)
    products = np.zeros((count, count))
    for _ in range(WEIGHTS // _CHUNK):
        steps = _steps(count, optimizer, sizes, generator)
        products += steps @ steps.T
    length = np.sqrt(products.diagonal())
    correlation = products / np.outer(length, length)
    np.fill_diagonal(correlation, 1.0)
    correlation.setflags(write=False)
    return correlation


def _steps(
    count: int, optimizer: Optimizer, sizes: tuple[float, ...], generator: np.random.Generator
) -> np.ndarray:
    """Sample the steps of some weights, shape (T, _CHUNK): sums of n updates each."""
    first, second = np.zeros(_CHUNK), np.zeros(_CHUNK)
    steps = np.zeros((count, _CHUNK))
    beta1, beta2, update = optimizer.beta1, optimizer.beta2, 0
    for row, size in zip(steps, sizes, strict=True):
        for _ in range(optimizer.updates):
            update += 1
            gradient = size * generator.standard_normal(_CHUNK)
            first = beta1 * first + (1.0 - beta1) * gradient
            if beta2 is None:
                row += first
                continue
            second = beta2 * second + (1.0 - beta2) * gradient**2
            unbiased = np.sqrt(second / (1.0 - beta2**update))
            row += first / (1.0 - beta1**update) / unbiased
    return steps
