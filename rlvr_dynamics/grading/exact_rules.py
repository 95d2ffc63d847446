r"""Compares two single values: numbers, bases, percent, ratios, units, words, formulas.

Each rule is exact or does not apply. math-verify is used only if no rule applies: it rounds to six
decimals and drops subscripts, units and words, so it accepts 1.6e-19 for 1.6e-18, 52_9 for 52_8,
5 m for 5 cm and ``4\text{ plus five}`` for 4.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from rlvr_dynamics.grading import units
from rlvr_dynamics.grading.closed_form import is_number, names_operation, worked_out
from rlvr_dynamics.grading.formula_reader import Tree, read
from rlvr_dynamics.grading.formula_values import same
from rlvr_dynamics.grading.plain_numbers import (
    CLOCK,
    DEGREES,
    based,
    compare_bases,
    compare_clocks,
    compare_numbers,
    compare_ratios,
    number,
    ratio_of,
    without_percent,
)

_TEXT = re.compile(r"\\(?:text|mathrm|operatorname)\s*\{([^{}]*)\}")
_ARTICLE = re.compile(r"^(?:an?|the) (?=\w{2})")
_OPTION = re.compile(
    r"(?:\(?(?P<alone>[A-Ea-e])\)?[.:]?|\((?P<named>[A-E])\)[.:]?\s*(?P<text>[^\s,;)].*))",
    re.DOTALL,
)
_PURE_WORDS = re.compile(r"(?=.*[a-z]{3})[a-z][a-z' ,.-]*", re.DOTALL)

Verdict = tuple[str, bool] | None


def compare_values(gold: str, answer: str) -> Verdict:
    """Compare two normalised texts, each a single value.

    Returns:
        The name of the deciding rule and whether the answer is right; None if no rule applies.
    """
    if gold == answer:
        return "equal", True
    for name, rule in _RULES:
        verdict = rule(gold, answer)
        if verdict is not None:
            return name, verdict
    return None


def is_value(text: str) -> bool:
    """Whether any rule besides text equality understands a normalised text."""
    if text == r"\emptyset" or based(text) or ratio_of(text) or CLOCK.fullmatch(text):
        return True
    value, unit = units.split(without_percent(DEGREES.sub("", text)))
    if number(value) is not None or read(value) is not None:
        return True
    commands = "\\" in _TEXT.sub(" ", text)
    return unit is None and not commands and _PURE_WORDS.fullmatch(words(text)) is not None


def _percents(gold: str, answer: str) -> bool | None:
    bare_gold, bare_answer = without_percent(gold), without_percent(answer)
    gold_has, answer_has = bare_gold != gold, bare_answer != answer
    if not gold_has and not answer_has:
        return None
    right, given = number(bare_gold), number(bare_answer)
    if right is None or given is None:
        if gold_has and answer_has:
            return _verdict(compare_values(bare_gold, bare_answer))
        return None
    # Both 50 and 50 % answer "What percent", and so does the value 0.5.
    hundredth = Fraction(1, 100)
    return (
        right == given
        or (gold_has and not answer_has and right * hundredth == given)
        or (answer_has and not gold_has and given * hundredth == right)
    )


def _units(gold: str, answer: str) -> bool | None:
    (right, gold_unit), (given, answer_unit) = units.split(gold), units.split(answer)
    if gold_unit is None and answer_unit is None:
        return None
    if gold_unit is not None and answer_unit is not None:
        if not units.same_dimension(gold_unit, answer_unit):
            return False
        factor = units.ratio(answer_unit, gold_unit)
        if factor == 1:
            return _verdict(compare_values(right, given))
        one, other = _tree(right), _tree(given)
        if one is None or other is None:
            return None
        return same(one, ("multiply", other, ("number", factor)))
    if _in_degrees(gold) or _in_degrees(answer):
        return None
    verdict = _verdict(compare_values(right, given))
    if not verdict:
        # 6m in the gold answer may mean six metres.
        one, other = read(_TEXT.sub(r" \1 ", gold)), read(_TEXT.sub(r" \1 ", answer))
        if one is not None and other is not None and same(one, other):
            return True
    return verdict


def _in_degrees(text: str) -> bool:
    """Whether a text is an angle with a degree sign, which the formula reader also handles."""
    return text.endswith(r"^\circ")


def _tree(text: str) -> Tree | None:
    value = number(text)
    return read(text) if value is None else ("number", value)


def _verdict(decided: Verdict) -> bool | None:
    return None if decided is None else decided[1]


def words(text: str) -> str:
    """Return a text without its markup, in lower case and single spaces."""
    text = " ".join(_TEXT.sub(r" \1 ", text).casefold().replace("\\", "").split())
    return _ARTICLE.sub("", text).strip(" .,")


def _texts(gold: str, answer: str) -> bool | None:
    """Equal words are right; two different texts of only words are wrong."""
    verdict = _options(_TEXT.sub(r"\1", gold).strip(), _TEXT.sub(r"\1", answer).strip())
    if verdict is not None:
        return verdict
    right, given = words(gold), words(answer)
    if right == given and ("\\text" in gold or "\\text" in answer or _PURE_WORDS.fullmatch(right)):
        return True
    if _TEXT.fullmatch(gold) and "\\text" not in answer and read(answer) is not None:
        return False  # a word against a formula
    both = _PURE_WORDS.fullmatch(right) and _PURE_WORDS.fullmatch(given)
    return False if both and ("\\text" in gold or "\\text" in answer) else None


def _options(gold: str, answer: str) -> bool | None:
    """Compare multiple-choice letters: A, (A), and (A) followed by the option's text."""
    right, given = _OPTION.fullmatch(gold), _OPTION.fullmatch(answer)
    if right is None or (given is None and not right["text"]):
        return None
    if given is None:
        return _verdict(compare_values(right["text"], answer))
    return (right["alone"] or right["named"]) == (given["alone"] or given["named"]).upper()


def _formulas(gold: str, answer: str) -> bool | None:
    one, other = read(gold), read(answer)
    if names_operation(gold, answer, numeric=is_number(one)):
        return False
    if one is None or other is None:
        return None
    equal = _same_in_degrees(one, other)
    if "/" in gold + answer and not equal:
        # 1/2x has two readings; accept either.
        tight = (read(gold, tight=True), read(answer, tight=True))
        if tight[0] is not None and tight[1] is not None and tight != (one, other):
            pairs = ((tight[0], tight[1]), (one, tight[1]), (tight[0], other))
            equal = any(same(a, b) for a, b in pairs) or equal
    if equal and not worked_out(one, other):
        return False
    return equal


def _same_in_degrees(one: Tree, other: Tree) -> bool | None:
    equal = same(one, other)
    if not equal and (one[0] == "degrees") != (other[0] == "degrees"):
        bare = [tree[1] if tree[0] == "degrees" else tree for tree in (one, other)]
        return same(bare[0], bare[1]) or equal
    return equal


_RULES: tuple[tuple[str, Callable[[str, str], bool | None]], ...] = (
    ("number", compare_numbers),
    ("base", compare_bases),
    ("percent", _percents),
    ("clock", compare_clocks),
    ("ratio", compare_ratios),
    ("unit", _units),
    ("text", _texts),
    ("formula", _formulas),
)
