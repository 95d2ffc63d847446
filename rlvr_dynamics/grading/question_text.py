r"""Detects answers that only repeat the question.

A span copied from the question has the right value surprisingly often: ``\frac{6}{8}`` does for
"Simplify $\frac{6}{8}$". Such answers are counted separately, and if the gold answer is a number
they are wrong unless they are spelled like it.
"""

import re

from rlvr_dynamics.grading.answer_text import normalise
from rlvr_dynamics.grading.formula_reader import read, symbols
from rlvr_dynamics.grading.math_limits import too_large
from rlvr_dynamics.grading.plain_numbers import number, without_percent

MAX_QUESTION_CHARS = 20_000
_MARKUP = re.compile(r"\$|\\[,;:! ()\[\]]|\\(?:left|right|displaystyle)(?![a-zA-Z])")
_SPELLINGS = (("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\cdot", "\\times"))
_WHOLE = re.compile(r"[-+]?\d+(?:,\d{3})*", re.ASCII)
_DECIMAL = re.compile(r"[-+]?\d*\.?\d+", re.ASCII)


def stands_in(answer: str, question: str) -> bool:
    """Whether an answer occurs verbatim in a question, ignoring spaces and markup.

    Args:
        answer: As extracted from the response.
        question: The prompt; only the first `MAX_QUESTION_CHARS` are searched.
    """
    span = "".join(_plain(answer).split())
    if not span:
        return False
    letters = [re.escape(character) for character in span]
    before = r"(?<![a-zA-Z0-9])(?<![0-9][.,])" if span[0].isalnum() else ""
    after = r"(?![a-zA-Z0-9]|[.,][0-9])" if span[-1].isalnum() else ""
    pattern = re.compile(before + r"\s*".join(letters) + after)
    return pattern.search(_plain(question[:MAX_QUESTION_CHARS])) is not None


def restates(gold: str, answer: str, question: str) -> bool:
    """Whether an answer of the right value only repeats the question.

    This is so if the gold answer is a number and the answer is a computation, fraction or
    percentage that occurs in the question and is spelled differently from the gold answer.
    """
    if too_large(gold) or too_large(answer) or not stands_in(answer, question):
        return False
    right, given = normalise(gold), normalise(answer)
    if right == given or _WHOLE.fullmatch(given):
        return False
    if _DECIMAL.fullmatch(given) and _DECIMAL.fullmatch(right):
        return False
    bare = without_percent(right)
    tree = read(bare)
    return number(bare) is not None or (tree is not None and not symbols(tree))


def _plain(text: str) -> str:
    for spelling, common in _SPELLINGS:
        text = text.replace(spelling, common)
    return _MARKUP.sub(" ", text)
