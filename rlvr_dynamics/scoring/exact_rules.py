r"""Comparisons that need no computer algebra: strings, numbers, bases, percent, units, values.

Each is exact, or says only that two closed expressions clearly differ in value. They come before
math-verify, for two reasons. Most answers are plain numbers, and a comparison of two fractions is
a thousand times faster. And math-verify rounds to six decimals and drops subscripts and units, so
it takes 1.6e-19 for 1.6e-18, 52_9 for 52_8 and 5 m for 5 cm.
"""

import re
from fractions import Fraction

from rlvr_dynamics.scoring.closed_values import differ_clearly

_UNSIGNED = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_NUMBER = re.compile(
    rf"(?P<sign>(?:[-+]\s*){{0,2}})(?P<open>\()?(?P<inner>-)?(?:"
    rf"(?P<decimal>{_UNSIGNED})(?:[eE](?P<e>[-+]?\d{{1,3}}))?"
    r"(?:\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{\s*(?P<power>[-+]?\d{1,3})\s*\}"
    r"|(?P<bare_power>[-+]?\d{1,3})))?"
    r"|10\s*\^\s*(?:\{\s*(?P<ten>[-+]?\d{1,3})\s*\}|(?P<bare_ten>\d{1,3}))"
    r"|(?:(?P<whole>\d{1,50})\s*)?\\frac\s*\{\s*(?P<above>-?\d{1,50})\s*\}"
    r"\s*\{\s*(?P<below>-?\d{1,50})\s*\}"
    r"|(?:(?P<whole_plain>\d{1,50})\s+)?(?P<above_plain>\d{1,50})\.?\s*/\s*(?P<below_plain>\d{1,50})"
    r")(?(open)\))(?:\s*(?:\\text\s*\{\s*)?(?P<word>hundred|thousand|million|billion|trillion)"
    r"(?:\s*\})?)?",
    re.ASCII,
)
_WORDS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SPACED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?", re.ASCII)
_PERCENT = re.compile(r"\s*(?:\\?%|\s(?:percent|pct)|\\text\s*\{\s*(?:percent|\\?%)\s*\})$")
_BASED = re.compile(r"\(?\s*((?=[A-F]*\d)[0-9A-F]{1,60})\s*\)?\s*_\s*\{\s*(\d{1,2})\s*\}", re.ASCII)
_DEGREES = re.compile(r"\s*(?:\^\\circ|\\text\s*\{\s*degrees?\s*\}|\sdegrees?)$")

_UNITS: dict[str, tuple[str, Fraction]] = {
    name: (dimension, Fraction(factor))
    for dimension, names in {
        "length": {
            **{"mm": "1/1000", "millimeters": "1/1000", "cm": "1/100", "centimeters": "1/100"},
            **{"m": "1", "meters": "1", "km": "1000", "kilometers": "1000"},
            **{"inches": "0.0254", "feet": "0.3048", "yards": "0.9144", "miles": "1609.344"},
        },
        "time": {
            **{"s": "1", "seconds": "1", "minutes": "60", "hours": "3600", "days": "86400"},
        },
        "mass": {"mg": "1/1000", "g": "1", "grams": "1", "kg": "1000", "kilograms": "1000"},
        "money": {"dollars": "1", "cents": "1/100", "USD": "1"},
    }.items()
    for name, factor in names.items()
}
_SINGULAR = {name[:-1]: name for name in _UNITS if name.endswith("s") and len(name) > 2}
_SINGULAR |= {"foot": "feet", "inch": "inches"}
_UNIT = re.compile(
    r"(.*?[\d}])\s*\\text\s*\{\s*([A-Za-z/. ]{1,40}?)\s*\}(\s*\^\s*\{?\s*-?\d\s*\}?)?"
    r"|(.*?\d)\s+([A-Za-z]{2,12})(\s*\^\s*\{?\s*-?\d\s*\}?)?"
)
# Words after a number that change its value, or say that it is not the whole answer.
_NO_UNIT = re.compile(
    r"\b(?:hundred|thousand|million|billion|trillion|dozen|half|pi|squared|cubed|factorial|mod|and"
    r"|or|to|remainder|percent|pct|base|less|more|not|at|above|below)\b"
)
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_ARTICLE = re.compile(r"^(?:an?|the) (?=\w{2})")


def decide(gold: str, answer: str) -> tuple[str, bool] | None:
    """Compare two normalised texts exactly.

    Args:
        gold: From `answer_text.normalise`.
        answer: From `answer_text.normalise`.

    Returns:
        The name of the rule that decided and whether the answer is right; None if no rule applies.
    """
    if gold == answer:
        return "equal", True
    for name, rule in _RULES:
        verdict = rule(gold, answer)
        if verdict is not None:
            return name, verdict
    return None


def without_percent(text: str) -> str:
    """Take off a percent sign at the end; math-verify reads none in a box."""
    return _PERCENT.sub("", text)


def number(text: str) -> Fraction | None:
    """Return the value of a normalised decimal, fraction, mixed number or power of ten.

    ``3e-5`` is read as scientific notation, not as three times e minus five.
    """
    if _SPACED_THOUSANDS.fullmatch(text):
        text = text.replace(" ", "")
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    if part["decimal"] is not None:
        value = Fraction(part["decimal"].replace(",", "").rstrip(".") or "0")
        value *= Fraction(10) ** int(part["e"] or 0)
        value *= Fraction(10) ** int(part["power"] or part["bare_power"] or 0)
    elif part["ten"] or part["bare_ten"]:
        value = Fraction(10) ** int(part["ten"] or part["bare_ten"])
    else:
        below = int(part["below"] or part["below_plain"])
        if below == 0:
            return None
        whole = int(part["whole"] or part["whole_plain"] or 0)
        value = whole + Fraction(int(part["above"] or part["above_plain"]), below)
    if part["word"]:
        value *= 10 ** _WORDS[part["word"]]
    negative = (part["sign"].count("-") + (part["inner"] is not None)) % 2
    return -value if negative else value


def _numbers(gold: str, answer: str) -> bool | None:
    right = number(_DEGREES.sub("", gold))
    given = number(_DEGREES.sub("", answer)) if right is not None else None
    if right is None or given is None:
        return None
    if right != given and "," in gold and "," in answer:
        return None  # perhaps two lists: 100,200 and 200,100
    return right == given


def _bases(gold: str, answer: str) -> bool | None:
    right, given = _BASED.fullmatch(gold), _BASED.fullmatch(answer)
    if right and given:
        return right[1].lstrip("0") == given[1].lstrip("0") and int(right[2]) == int(given[2])
    # A base given on one side only was named in the question.
    if right and answer.isalnum():
        return right[1].lstrip("0") == answer.lstrip("0")
    if given and gold.isalnum():
        return given[1].lstrip("0") == gold.lstrip("0")
    return None


def _percents(gold: str, answer: str) -> bool | None:
    bare_gold, bare_answer = without_percent(gold), without_percent(answer)
    gold_has, answer_has = bare_gold != gold, bare_answer != answer
    if not gold_has and not answer_has:
        return None
    right, given = number(bare_gold), number(bare_answer)
    if right is None or given is None:
        return None
    # "What percent" is answered by 50 as well as by 50 %, and by what 50 % is worth.
    hundredth = Fraction(1, 100)
    return (
        right == given
        or (gold_has and not answer_has and right * hundredth == given)
        or (answer_has and not gold_has and given * hundredth == right)
    )


def _with_unit(text: str) -> tuple[Fraction | None, str | None]:
    r"""Split a quantity; a word without ``\text`` counts as a unit only if it is a known one."""
    match = _UNIT.fullmatch(text)
    if match is None:
        return number(text), None
    unit = match[2] or match[5]
    unit = _SINGULAR.get(unit, unit)
    if unit not in _UNITS and (match[2] is None or _NO_UNIT.search(unit)):
        return None, None
    power = "".join((match[3] or match[6] or "").split()).strip("^{}")
    return number(match[1] or match[4]), unit + power


def _units(gold: str, answer: str) -> bool | None:
    (right, gold_unit), (given, answer_unit) = _with_unit(gold), _with_unit(answer)
    if right is None or given is None or (gold_unit is None and answer_unit is None):
        return None
    if gold_unit is None or answer_unit is None or gold_unit == answer_unit:
        return right == given
    if gold_unit in _UNITS and answer_unit in _UNITS:
        (dimension, factor), (other, other_factor) = _UNITS[gold_unit], _UNITS[answer_unit]
        return dimension == other and right * factor == given * other_factor
    return None if right == given else False


def _words(text: str) -> str:
    text = " ".join(_TEXT.sub(r" \1 ", text).casefold().replace("\\", "").split())
    return _ARTICLE.sub("", text).strip(" .,")


def _texts(gold: str, answer: str) -> bool | None:
    """Equal words are right; different ones are left to math-verify."""
    if "\\text" not in gold and "\\text" not in answer:
        return None
    return True if _words(gold) == _words(answer) else None


_RULES = (
    ("number", _numbers),
    ("base", _bases),
    ("percent", _percents),
    ("unit", _units),
    ("text", _texts),
    ("value", lambda gold, answer: False if differ_clearly(gold, answer) else None),
)
