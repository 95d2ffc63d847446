"""Comparisons of models on the same questions: differences, ratios, the best of many. Only numpy.

Every interval is a percentile bootstrap over questions, with the same draws for all models. It is
never narrower than the normal interval whose variance includes two pseudo-questions, one won and
one lost: if two models differ on no question, resampling alone shows no uncertainty.

Legend: `n` questions of a benchmark, `M` models.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr_dynamics.statistics.intervals import (
    CONFIDENCE,
    DRAWS,
    Interval,
    normal_quantile,
    percentile_interval,
    resampled_means,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Contrast:
    """A number that compares the mean accuracies of models.

    Attributes:
        value: Function from means, shape (..., M), to the comparison, shape (...); NaN where
            undefined.
        gradient: Function from means, shape (M,), to its derivatives, shape (M,).
        low: Smallest possible value.
        high: Largest possible value.
        unit: `points` for accuracies in per cent; empty for a plain number.
    """

    value: Callable[[Array], Array]
    gradient: Callable[[Array], Array]
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""


def _over(top: Array, bottom: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bottom > 0, top / bottom, np.nan)


def _ratio(means: Array) -> Array:
    return _over(means[..., 0], means[..., 1])


def _gain(means: Array) -> Array:
    return _over(means[..., 0] - means[..., 2], means[..., 1] - means[..., 2])


def _ratio_gradient(means: Array) -> Array:
    gradient = np.zeros(len(means))
    gradient[:2] = np.array([1.0, -float(_ratio(means))]) / means[1]
    return gradient


def _gain_gradient(means: Array) -> Array:
    share = float(_gain(means))
    gradient = np.zeros(len(means))
    gradient[:3] = np.array([1.0, -share, share - 1.0]) / (means[1] - means[2])
    return gradient


def difference(first: int = 0, second: int = 1, scale: float = 1.0) -> Contrast:
    """Return the contrast (first − second) · scale of models by position; scale 100: points."""

    def gradient(means: Array) -> Array:
        found = np.zeros(len(means))
        found[first], found[second] = scale, -scale
        return found

    return Contrast(
        lambda means: scale * (means[..., first] - means[..., second]),
        gradient,
        low=-scale,
        high=scale,
        unit="points" if scale == 100 else "",
    )


RATIO = Contrast(_ratio, _ratio_gradient, low=0.0)
"""First over second; with the fully trained model second, the ratio in arXiv 2510.00553."""
GAIN = Contrast(_gain, _gain_gradient)
"""(first − base) / (full − base) for models given as first, full, base: the share of the gain."""


@dataclass(frozen=True)
class Paired:
    """Models on their common questions; benchmarks have equal weight and are resampled separately.

    Attributes:
        groups: One array per benchmark: question means, shape (M, n).
        seeds: Seed of the draws, one per benchmark.
        count: Bootstrap draws.
    """

    groups: tuple[Array, ...]
    seeds: tuple[tuple[int, ...], ...]
    count: int = DRAWS

    @property
    def questions(self) -> int:
        """Number of common questions over all benchmarks."""
        return sum(group.shape[1] for group in self.groups)

    @cached_property
    def means(self) -> Array:
        """Accuracies, shape (M,)."""
        return np.mean([group.mean(axis=1) for group in self.groups], axis=0)

    @cached_property
    def draws(self) -> Array:
        """Accuracies under resampled questions, shape (count, M)."""
        parts = [
            resampled_means(group, draws=self.count, seed=seed)
            for group, seed in zip(self.groups, self.seeds, strict=True)
        ]
        return np.mean(parts, axis=0)

    def standard_error(self, gradient: Array) -> float:
        """Return the standard error of a linear combination of the accuracies, shape (M,).

        Source: Bonett and Price 2012, J. Educ. Behav. Stat. 37, 479-488, for paired binary
        answers; the formula is the same for question means.
        """
        swing = float(np.abs(gradient).max())
        variances = []
        for group in self.groups:
            found = gradient @ group
            n = len(found) + 2
            square = (float(found @ found) + 2 * swing**2) / n - (float(found.sum()) / n) ** 2
            variances.append(square / n)
        return math.sqrt(math.fsum(variances)) / len(self.groups)

    def compare(self, contrast: Contrast, confidence: float = CONFIDENCE) -> Interval:
        """Return a comparison with its interval; NaN ends if the draws do not determine it."""
        value = float(contrast.value(self.means))
        drawn = percentile_interval(value, contrast.value(self.draws), confidence)
        if math.isnan(value) or math.isnan(drawn.low):
            return drawn._replace(low=math.nan, high=math.nan)
        half = normal_quantile(confidence) * self.standard_error(contrast.gradient(self.means))
        return Interval(
            value,
            max(contrast.low, min(drawn.low, value - half)),
            min(contrast.high, max(drawn.high, value + half)),
        )


def pair(
    groups: Sequence[Sequence[ArrayLike] | Array],
    *,
    seeds: Sequence[tuple[int, ...]] | None = None,
    draws: int = DRAWS,
) -> Paired:
    """Pair models by question.

    Args:
        groups: For each benchmark, the question means of each model in the same question order.
        seeds: Seed of each benchmark's draws; its position when None.
        draws: Bootstrap draws.

    Raises:
        ValueError: Models differ in their number of questions, or there are none.
    """
    arrays = []
    for group in groups:
        rows = [np.asarray(row, dtype=np.float64) for row in group]
        if len({row.shape for row in rows}) != 1 or rows[0].ndim != 1 or not rows[0].size:
            raise ValueError("paired statistics need one mean per question, of the same questions")
        arrays.append(np.stack(rows))
    if not arrays:
        raise ValueError("there is no benchmark to pair models on")
    return Paired(tuple(arrays), tuple(seeds or [(place,) for place in range(len(arrays))]), draws)


class Best(NamedTuple):
    """The best of several candidates against a reference.

    Attributes:
        place: Index of the candidate; the first of equals.
        alone: Its difference, with an interval that ignores the selection.
        corrected: The same difference, with an interval that holds for all candidates at once.
    """

    place: int
    alone: Interval
    corrected: Interval


def best_candidate(paired: Paired, confidence: float = CONFIDENCE) -> Best:
    """Return the best candidate's advantage over the reference, corrected for selection.

    A candidate selected by its score is lucky on average. The corrected interval covers the
    differences of all candidates jointly: its half-width in standard errors is the quantile of the
    largest |resampled − observed difference| / standard error over the candidates.

    Args:
        paired: The reference first, then the candidates.
        confidence: Coverage.

    Source: max statistic of Westfall and Young 1993; simultaneous intervals as in Romano and
    Wolf 2005, Econometrica 73, 1237-1282 (single step).
    """
    contrasts = [difference(place, 0) for place in range(1, len(paired.means))]
    if not contrasts:
        raise ValueError("there is no candidate to compare with the reference")
    found = np.array([float(contrast.value(paired.means)) for contrast in contrasts])
    errors = np.array([paired.standard_error(each.gradient(paired.means)) for each in contrasts])
    drawn = np.stack([contrast.value(paired.draws) for contrast in contrasts], axis=1)
    largest = (np.abs(drawn - found) / errors).max(axis=1)
    width = max(normal_quantile(confidence), float(np.quantile(largest, confidence)))
    place = int(found.argmax())
    alone = paired.compare(contrasts[place], confidence)
    half = width * float(errors[place])
    corrected = Interval(
        alone.value,
        max(-1.0, min(alone.low, alone.value - half)),
        min(1.0, max(alone.high, alone.value + half)),
    )
    return Best(place, alone, corrected)
