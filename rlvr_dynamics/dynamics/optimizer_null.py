"""What Adam writes without a signal: the correlation of its steps when the gradient is noise.

A step of Adam is m̂ / sqrt(v̂), and m̂ averages about ten gradients. Its steps are therefore
correlated where those of a random walk are not, and a run that learns nothing still looks close to
rank-1 and linear over a short window. The correlation depends on the number of steps and on the
optimizer's constants alone, not on the tensor: it is sampled once, over many independent weights.

Source: Adam (arXiv 1412.6980, algorithm 1). The null is this project's.

Legend: T steps between checkpoints, n optimizer updates in each.
"""

from collections.abc import Callable
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

    def noise(step: int) -> np.ndarray:
        return sizes[step] * generator.standard_normal(_CHUNK)

    for _ in range(WEIGHTS // _CHUNK):
        steps = optimizer_steps(optimizer, np.ones(count), noise, _CHUNK)
        products += steps @ steps.T
    length = np.sqrt(products.diagonal())
    correlation = products / np.outer(length, length)
    np.fill_diagonal(correlation, 1.0)
    correlation.setflags(write=False)
    return correlation


def optimizer_steps(
    optimizer: Optimizer,
    rates: np.ndarray,
    gradient_of: Callable[[int], np.ndarray],
    count: int,
) -> np.ndarray:
    """Run an optimizer from moments of zero and return what each training step moves.

    Args:
        optimizer: Its constants, and the updates in each step.
        rates: Learning rate of every training step, shape (S,).
        gradient_of: Function from the index of a step to the gradient of one update, shape
            (count,); called once for each update. Adam's epsilon is 0.
        count: Number of weights.

    Returns:
        Sum of the updates of each step, shape (S, count), against the gradient.
    """
    first, second = np.zeros(count), np.zeros(count)
    steps = np.zeros((len(rates), count))
    beta1, beta2, update = optimizer.beta1, optimizer.beta2, 0
    for index, (row, rate) in enumerate(zip(steps, rates, strict=True)):
        for _ in range(optimizer.updates):
            update += 1
            gradient = gradient_of(index)
            first += (1.0 - beta1) * (gradient - first)
            if beta2 is None:
                row -= rate * first
                continue
            second += (1.0 - beta2) * (gradient**2 - second)
            scale = rate * np.sqrt(1.0 - beta2**update) / (1.0 - beta1**update)
            row -= scale * first / np.sqrt(second)
    return steps
