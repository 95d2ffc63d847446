"""Compares everyday numbers exactly: decimals, other bases, ratios, times of day.

Every comparison returns None if it does not apply.
"""

import re
from fractions import Fraction

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
DEGREES = re.compile(r"\s*(?:\^\\circ|\\text\s*\{\s*degrees?\s*\}|\sdegrees?)$")
_RATIO = re.compile(
    r"\d{1,12}(?:\.\d{1,12})?(?:\s*(?::|\\colon)\s*\d{1,12}(?:\.\d{1,12})?){1,5}", re.ASCII
)
CLOCK = re.compile(
    r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?(?:\s*(?:\\text\s*\{)?\s*([apAP])\.?\s?[mM]\.?\s*\}?)?",
    re.ASCII,
)
_COLON = re.compile(r"\s*(?::|\\colon)\s*")


def without_percent(text: str) -> str:
    """Remove a percent sign at the end; math-verify does not read one in a box."""
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


def compare_numbers(gold: str, answer: str) -> bool | None:
    """Compare two numbers by value, ignoring a degree sign."""
    right = number(DEGREES.sub("", gold))
    given = number(DEGREES.sub("", answer)) if right is not None else None
    if right is None or given is None:
        return None
    if right != given and "," in gold and "," in answer:
        return None  # may be two lists: 100,200 and 200,100
    return right == given


def based(text: str) -> tuple[str, int] | None:
    """Return digits and base; 3E_1 is three times E_1, since 1 is not a base."""
    match = _BASED.fullmatch(text)
    if match is None:
        return None
    base = int(match[2])
    if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in match[1]):
        return None
    return match[1].lstrip("0"), base


def compare_bases(gold: str, answer: str) -> bool | None:
    """Compare two numbers in other bases by digits and base."""
    right, given = based(gold), based(answer)
    if _IMPOSSIBLE.fullmatch(answer) and given is None:
        return False
    if right and given:
        return right == given
    # A base given on only one side was named in the question.
    if right and answer.isalnum():
        return right[0] == answer.lstrip("0")
    if given and gold.isalnum():
        return given[0] == gold.lstrip("0")
    return False if right or given else None


def compare_clocks(gold: str, answer: str) -> bool | None:
    """Compare two times of day: 6:30 matches 6:30 a.m. and p.m., and 18:30 is 6:30 p.m."""
    right, given = CLOCK.fullmatch(gold), CLOCK.fullmatch(answer)
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


def compare_ratios(gold: str, answer: str) -> bool | None:
    """Compare two ratios, or a two-term ratio with its value."""
    right, given = ratio_of(gold), ratio_of(answer)
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


def ratio_of(text: str) -> list[Fraction] | None:
    """Return the terms of a ratio such as 3:4 or 1:2:3."""
    if not _RATIO.fullmatch(text):
        return None
    return [Fraction(part) for part in _COLON.split(text)]
