"""Scores of several samples per question: pass@k and majority vote."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr_dynamics.grading.answer_text import normalise
from rlvr_dynamics.grading.math_limits import over_limit
from rlvr_dynamics.grading.plain_numbers import number

_INTEGER = re.compile(r"([+-]?)\s*([0-9]{1,400})", re.ASCII)


def pass_at_k(correct: ArrayLike, samples: int, k: int) -> NDArray[np.float64]:
    """Return for each question the probability that k samples contain a correct one.

    1 − C(n − c, k) / C(n, k) with c of n samples correct: the mean over all choices of k samples,
    unbiased for k new ones.

    Args:
        correct: c, number of correct samples of each question, shape (questions,), integers.
        samples: n, samples per question.
        k: Samples drawn, 1 to n; k = 1 gives the mean score.

    Returns:
        shape (questions,), float64.

    Raises:
        ValueError: k is not in 1 to n, or a count is not in 0 to n.

    Source: Chen et al. 2021, arXiv 2107.03374, equation 1.
    """
    counts = np.asarray(correct, dtype=np.int64)
    if not 1 <= k <= samples:
        raise ValueError(f"k must lie in 1 to {samples}, got {k}")
    if counts.size and not 0 <= counts.min() <= counts.max() <= samples:
        raise ValueError(f"correct samples must lie in 0 to {samples}")
    # Python integers are exact, so only the final division of the two binomials rounds.
    all_choices = math.comb(samples, k)
    of_count = {
        int(count): 1 - math.comb(samples - int(count), k) / all_choices
        for count in np.unique(counts)
    }
    return np.array([of_count[int(count)] for count in counts], dtype=np.float64)


def majority_score(answers: Sequence[tuple[str | None, float]], kind: str = "math") -> float:
    """Return the score of the most frequent answer among the samples of one question.

    Answers with the same `spelling` are the same; a sample without an answer does not vote. A tie
    scores the mean over the tied answers, the expectation of a random choice, so the score does not
    depend on the order of the samples. Without any vote it is 0.

    Args:
        answers: (extracted answer, score) of each sample; the answer is None (or NaN) if there is
            none.
        kind: Kind of the question, one of `grading.KINDS`.

    Source: Lewkowycz et al. 2022, arXiv 2206.14858, maj1@k; the rule for ties is ours.
    """
    votes: dict[str, list[float]] = {}
    for answer, score in answers:
        if isinstance(answer, str) and answer.strip():
            votes.setdefault(spelling(answer, kind), []).append(float(score))
    if not votes:
        return 0.0
    most = max(map(len, votes.values()))
    # One spelling has one grade, unless the grader timed out on one of the samples.
    leading = [sum(found) / len(found) for found in votes.values() if len(found) == most]
    return sum(leading) / len(leading)


def spelling(answer: str, kind: str = "math") -> str:
    """Return the text under which an answer is counted: equal texts are equal answers.

    Mathematics is normalised as for the grader; plain numbers and integers are counted by value;
    letters and tasks are stripped. Other texts may differ and still be equal in value, such as 2x
    and x + x.

    Args:
        answer: The extracted answer.
        kind: Kind of the question, one of `grading.KINDS`.
    """
    text = answer.strip()
    if kind == "integer":
        match = _INTEGER.fullmatch(text)
        return str(int(match[1] + match[2])) if match else text
    if kind == "math" and not over_limit(text):
        text = normalise(text)
        value = number(text)
        return text if value is None else str(value)
    return text
