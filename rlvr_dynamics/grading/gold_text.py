r"""Gold answers that algebra cannot read: which are usable, and how they are compared.

A benchmark's own answers are trusted: ``2^{1009}`` exceeds the limits for what a model writes and
``E_{1},E_{2}`` is not an expression, but a response that repeats either is right. So they are
compared as text. Only markers of a missing answer and truncated LaTeX are refused.
"""

import re

from rlvr_dynamics.grading.answer_text import normalise
from rlvr_dynamics.grading.extraction import MAX_ANSWER_CHARS
from rlvr_dynamics.grading.math_limits import is_balanced

_MISSING = re.compile(r"nan|none|null|n/a|#n/a|<na>|nat|[-+]?inf|\?+|[-–—_.…]+", re.IGNORECASE)
_NAMED = re.compile(r"\\?[A-Za-z]+(?:_(?:\{[^{}=]{1,20}\}|\w))?=(?!=)")


def is_missing(gold: str) -> bool:
    """Whether a text marks a missing value: empty, ``nan``, ``None``, ``inf``, ``?``."""
    text = gold.strip()
    return not text or text == "NA" or _MISSING.fullmatch(text) is not None


def is_usable(gold: str) -> bool:
    """Whether a text can be a gold answer: neither a marker of a missing value nor truncated."""
    whole = is_balanced(gold) and gold.count("\\begin") == gold.count("\\end")
    return whole and not is_missing(gold) and "\x00" not in gold


def same_text(gold: str, answer: str) -> bool:
    r"""Whether two texts are the same without any algebra.

    Spelling, spaces and a name before an equals sign on only one side are ignored:
    ``m_{\max }=2k`` equals ``m_{\max}=2 k`` and ``2k``, but not ``n=2k``.
    """
    right, given = _without_spaces(gold), _without_spaces(answer)
    if right == given:
        return True
    right_name, given_name = _NAMED.match(right), _NAMED.match(given)
    if (right_name is None) == (given_name is None):
        return False
    return _value(right, right_name) == _value(given, given_name)


def _without_spaces(text: str) -> str:
    # Normalising long text is expensive, and longer answers are not extracted anyway.
    return "".join((normalise(text) if len(text) <= MAX_ANSWER_CHARS else text).split())


def _value(text: str, name: re.Match[str] | None) -> str:
    return text if name is None else text[name.end() :]
