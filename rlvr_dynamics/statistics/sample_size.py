"""How many answers to a question a comparison of two models needs.

Legend: Q questions, k and K answers to each question by the two models, p a model's chance to
answer a question correctly, v = E[p (1 - p)] its variance between answers to the same question,
d² the variance over the questions of the difference of the two models' chances.

The variance of the difference of two accuracies on the same questions is (d² + v/k + v/K) / Q.
More answers reduce only v/k: d² / Q needs more questions. The same holds for one accuracy, with the
variance of p over the questions in place of d².
"""

import math

from rlvr_dynamics.statistics.intervals import CONFIDENCE, normal_quantile

BETWEEN_ANSWERS = 1 / 6
"""v for questions of every difficulty alike, p uniform on [0, 1]; at most 1/4 for any questions."""


def drawing_half_width(
    questions: int, samples: int, others: int, confidence: float = CONFIDENCE
) -> float:
    """Return the half-width of a paired difference's interval if only answers were random (d = 0).

    z sqrt(v (1/k + 1/K) / Q); the interval over questions is wider by their d².

    Args:
        questions: Q.
        samples: k, answers to a question by the one model.
        others: K, answers by the other.
        confidence: Coverage.

    Source: law of total variance; Miller 2024, arXiv 2411.00640.
    """
    variance = BETWEEN_ANSWERS * (1 / samples + 1 / others) / questions
    return normal_quantile(confidence) * math.sqrt(variance)


def samples_needed(
    questions: int, most: int, half_width: float, confidence: float = CONFIDENCE
) -> int:
    """Return the fewest answers to a question with which `drawing_half_width` is small enough.

    Args:
        questions: Q.
        most: K, answers by the other model; also returned where no smaller number suffices.
        half_width: Largest `drawing_half_width`, as a fraction.
        confidence: Coverage.
    """
    wanted = questions / BETWEEN_ANSWERS * (half_width / normal_quantile(confidence)) ** 2
    left = wanted - 1 / most
    return most if left * most <= 1 else math.ceil(1 / left - 1e-9)
