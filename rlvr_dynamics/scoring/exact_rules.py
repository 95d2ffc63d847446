r"""Comparisons of two single values: numbers, bases, percent, ratios, units, words, formulas.

Each is exact or says that it does not apply. math-verify is asked only where none of them does:
it rounds to six decimals and drops subscripts, units and words, so it takes 1.6e-19 for 1.6e-18,
52_9 for 52_8, 5 m for 5 cm and ``4\text{ plus five}`` for 4.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from rlvr_dynamics.scoring import units
from rlvr_dynamics.scoring.closed_form import is_number, names_operation, worked_out
from rlvr_dynamics.scoring.formula_reader import Tree, read
from rlvr_dynamics.scoring.formula_values import same

_UNSIGNED = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_NUMBER = re.compile(
    rf"(?P<sign>(?:[-+]\s*){{0,2}})(?P<open>\()?(?P<inner>-)?(?:"
    rf"(?P<decimal>{_UNSIGNED})(?:[eE](?P<e>-?\d{{1,3}}|\+\d{{2,3}}))?"
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
_PERCENT = re.compile(
    r"\s*(?:\\?%|\s(?:percent|pct|percentage)|\\text\s*\{\s*(?:percent|percentage|pct|\\?%)\s*\})$"
)
_BASED = re.compile(r"\(?\s*((?=[A-Z]*\d)[0-9A-Z]{1,60})\s*\)?\s*_\s*\{\s*(\d{1,2})\s*\}", re.ASCII)
_IMPOSSIBLE = re.compile(r"\(?\d+\)?\s*_\s*\{\s*\d+\s*\}", re.ASCII)
_DEGREES = re.compile(r"\s*(?:\^\\circ|\\text\s*\{\s*degrees?\s*\}|\sdegrees?)$")
_RATIO = re.compile(
    r"\d{1,12}(?:\.\d{1,12})?(?:\s*(?::|\\colon)\s*\d{1,12}(?:\.\d{1,12})?){1,5}", re.ASCII
)
_CLOCK = re.compile(
    r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?(?:\s*(?:\\text\s*\{)?\s*([apAP])\.?\s?[mM]\.?\s*\}?)?",
    re.ASCII,
)
_COLON = re.compile(r"\s*(?::|\\colon)\s*")

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
        The name of the rule that decided and whether the answer is right; None if no rule applies.
    """
    if gold == answer:
        return "equal", True
    for name, rule in _RULES:
        verdict = rule(gold, answer)
        if verdict is not None:
            return name, verdict
    return None


def is_value(text: str) -> bool:
    """Whether a rule other than equality of texts understands a normalised text."""
    if text == r"\emptyset" or _based(text) or _ratio(text) or _CLOCK.fullmatch(text):
        return True
    value, unit = units.split(without_percent(_DEGREES.sub("", text)))
    if number(value) is not None or read(value) is not None:
        return True
    commands = "\\" in _TEXT.sub(" ", text)
    return unit is None and not commands and _PURE_WORDS.fullmatch(words(text)) is not None


def without_percent(text: str) -> str:
    """Take off a percent sign at the end; math-verify reads none in a box."""
    return _PERCENT.sub("", text)


def number(text: str) -> Fraction | None:
    """Return the value of a normalised decimal, fraction, mixed number or power of ten.

    ``3e-5`` and ``3e+05`` are read as scientific notation, ``3e+5`` as a sum.
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


def _based(text: str) -> tuple[str, int] | None:
    """Digits and base; 3E_1 is three times E_1, since 1 is no base and E no digit of it."""
    match = _BASED.fullmatch(text)
    if match is None:
        return None
    base = int(match[2])
    if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in match[1]):
        return None
    return match[1].lstrip("0"), base


def _bases(gold: str, answer: str) -> bool | None:
    right, given = _based(gold), _based(answer)
    if _IMPOSSIBLE.fullmatch(answer) and given is None:
        return False
    if right and given:
        return right == given
    # A base given on one side only was named in the question.
    if right and answer.isalnum():
        return right[0] == answer.lstrip("0")
    if given and gold.isalnum():
        return given[0] == gold.lstrip("0")
    return False if right or given else None


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
    # "What percent" is answered by 50 as well as by 50 %, and by what 50 % is worth.
    hundredth = Fraction(1, 100)
    return (
        right == given
        or (gold_has and not answer_has and right * hundredth == given)
        or (answer_has and not gold_has and given * hundredth == right)
    )


def _clocks(gold: str, answer: str) -> bool | None:
    """Times of day: 6:30 is 6:30 p.m. or a.m., and 18:30 is 6:30 p.m."""
    right, given = _CLOCK.fullmatch(gold), _CLOCK.fullmatch(answer)
    if right is None or given is None:
        return None
    if right[4] and given[4] and right[4][:1].lower() != given[4][:1].lower():
        return False
    times = [
        {_seconds(match), _seconds(match) % (12 * 3600) + 12 * 3600 * (match[4] in ("p", "P"))}
        if match[4]
        else {_seconds(match)}
        for match in (right, given)
    ]
    return bool(times[0] & times[1])


def _seconds(match: re.Match[str]) -> int:
    return int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)


def _ratios(gold: str, answer: str) -> bool | None:
    right, given = _ratio(gold), _ratio(answer)
    if right is None and given is None:
        return None
    if right is None or given is None:
        ratio, value = right or given, number(answer if right else gold)
        if ratio is None or value is None or len(ratio) != 2 or ratio[1] == 0:
            return None
        return ratio[0] / ratio[1] == value
    if len(right) != len(given):
        return False
    one, other = right[0], given[0]
    if 0 in right or 0 in given:
        return right == given
    return all(a * other == b * one for a, b in zip(right, given, strict=True))


def _ratio(text: str) -> list[Fraction] | None:
    if not _RATIO.fullmatch(text):
        return None
    return [Fraction(part) for part in _COLON.split(text)]


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
        # 6m in the gold answer may be six metres.
        one, other = read(_TEXT.sub(r" \1 ", gold)), read(_TEXT.sub(r" \1 ", answer))
        if one is not None and other is not None and same(one, other):
            return True
    return verdict


def _in_degrees(text: str) -> bool:
    """Whether a text is an angle with a degree sign, which a formula can read too."""
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
    """Equal words are right; two texts of words alone that differ are wrong."""
    verdict = _options(_TEXT.sub(r"\1", gold).strip(), _TEXT.sub(r"\1", answer).strip())
    if verdict is not None:
        return verdict
    right, given = words(gold), words(answer)
    if right == given and ("\\text" in gold or "\\text" in answer or _PURE_WORDS.fullmatch(right)):
        return True
    if _TEXT.fullmatch(gold) and "\\text" not in answer and read(answer) is not None:
        return False  # a word, and a formula
    both = _PURE_WORDS.fullmatch(right) and _PURE_WORDS.fullmatch(given)
    return False if both and ("\\text" in gold or "\\text" in answer) else None


def _options(gold: str, answer: str) -> bool | None:
    """Letters of a multiple choice: A, (A), and (A) with the text of the option behind it."""
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
        # 1/2x has two readings, and either may be meant.
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
    ("number", _numbers),
    ("base", _bases),
    ("percent", _percents),
    ("clock", _clocks),
    ("ratio", _ratios),
    ("unit", _units),
    ("text", _texts),
    ("formula", _formulas),
)
