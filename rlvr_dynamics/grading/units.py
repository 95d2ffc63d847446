r"""Units of measurement: their dimensions and factors, and how to find one in an answer.

A letter directly after a number is a symbol, never a unit: 6m is six times m. A unit is in
``\text{...}`` or ``\mathrm{...}``, or is a word of at least two letters (5 cm, 12 apples, 3 miles
per hour).
"""

import functools
import re
from fractions import Fraction

from rlvr_dynamics.grading.prose import FOREIGN
from rlvr_dynamics.grading.unit_table import IRREGULAR, NO_NOUN, UNITS, Unit, sorted_powers

_TOKEN = re.compile(
    r"\s*(?:(?P<power>\^\s*(?:\{\s*)?(?P<exponent>[-+]?\d)(?:\s*\})?)|(?P<name>°?[A-Za-zµμΩÅ]+)"
    r"|(?P<divide>/)|(?P<multiply>\*|\\cdot|\\times|⋅|·|\.(?=\s*[a-zA-Z]))|(?P<bracket>[()]))"
)
_SQUARES = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_SQUARED = {"squared": 2, "cubed": 3}
# The prefix micro and the ohm sign may be inside or outside of \text.
_MARK = re.compile(r"(?:\\mu\s*)?\\(?:text|mathrm)\s*\{")
_MICRO = re.compile(r"\\mu\s*\\(?:text|mathrm)\s*\{")
_FRACTION = re.compile(
    r"\\frac\s*\{\s*(\\(?:text|mathrm)\s*\{[^{}]*\}[^{}]*)\}\s*\{\s*"
    r"(\\(?:text|mathrm)\s*\{[^{}]*\}(?:[^{}]|\{\d\})*)\}$"
)
_PLAIN = re.compile(r"(?<=[\d})])(\s*)(?=[A-Za-zµμΩ][A-Za-z0-9µμΩ/^{} .*()-]*$)")
MOST_PLACES = 6
_TEMPERATURE = re.compile(r"\^\\circ\s*(?:\\(?:text|mathrm)\s*\{\s*([CF])\s*\}|([CF])\b)\s*$")
_QUALIFIER = re.compile(
    r"\s+(?:old|each|long|wide|tall|high|deep|away|ago|later|apart|left|(?:in )?total|altogether)$"
)
# 9页, 192公斤: compared as written.
_FOREIGN = re.compile(
    rf"(.*[\d}})])\s*(?:\\text\s*\{{\s*)?((?![不非没或和])(?:{FOREIGN}){{1,6}}(?:/(?:{FOREIGN}){{1,4}})?)\s*\}}?",
    re.DOTALL,
)
# Only these are units without a space: 2mg is more often two times m times g.
_GLUED = frozenset(["cm", "mm", "km", "kg"])


@functools.lru_cache(maxsize=4096)
def split(text: str) -> tuple[str, Unit | None]:
    """Split a normalised answer into its value and its unit; the unit is None if there is none."""
    temperature = _TEMPERATURE.search(text)
    if temperature:
        name = "°" + (temperature[1] or temperature[2])
        return text[: temperature.start()].strip(), UNITS[name]
    if re.search(r"\d\s*\\Omega$", text):
        return text.removesuffix(r"\Omega").rstrip(), UNITS["Ω"]
    if text.endswith(r"^\circ"):
        return text.removesuffix(r"^\circ").rstrip(), UNITS["degree"]
    foreign = None if text.isascii() else _FOREIGN.fullmatch(text)
    if foreign:
        return foreign[1].rstrip(), Unit(((foreign[2], 1),), Fraction(1))
    text = _FRACTION.sub(r"\1/(\2)", text)
    marked = _MARK.search(text)
    if marked and marked.start() > 0:
        head = text[: marked.start()].rstrip()
        unit = _unit(_bare(text[marked.start() :]), marked=True)
        if unit is not None and _has_value(head):
            return _without_sign(head), unit
        return text, None
    for count, plain in enumerate(_PLAIN.finditer(text)):
        if count == MOST_PLACES:
            break
        unit = _unit(text[plain.end() :], marked=False, spaced=bool(plain[1]))
        if unit is not None:
            return text[: plain.start()].rstrip(), unit
    return text, None


def same_dimension(one: Unit, other: Unit) -> bool:
    """Whether two units measure the same quantity: length, speed, or counted nouns."""
    if one.counted and other.counted:
        return True
    generic, real = (one, other) if one.counted else (other, one)
    if generic.counted:
        # "square units" matches square inches, "units" matches inches.
        powers = dict(generic.dimensions)
        return "unit" in powers and real.dimensions == (("length", powers["unit"]),)
    return one.dimensions == other.dimensions


def ratio(one: Unit, other: Unit) -> Fraction:
    """Return how many of `other` make one of `one`."""
    return Fraction(1) if one.counted or other.counted else one.factor / other.factor


def _has_value(head: str) -> bool:
    return bool(head) and (head[-1].isalnum() or head[-1] in "})]!*%" or head.endswith(r"\cdot"))


def _without_sign(head: str) -> str:
    return re.sub(r"\s*(?:\\cdot|\*)$", "", head)


def _bare(tail: str) -> str:
    r"""Remove the commands ``\text`` and ``\mathrm`` with their braces."""
    tail = re.sub(r"\}\s*\\Omega", "Ω}", tail)
    tail = _MICRO.sub(r"\\text{μ", tail)
    tail = re.sub(r"\\mu(?![a-zA-Z])\s*", "μ", tail.replace(r"\Omega", "Ω"))
    while marked := _MARK.search(tail):
        depth, position = 1, marked.end()
        while position < len(tail) and depth:
            depth += (tail[position] == "{") - (tail[position] == "}")
            position += 1
        inside = tail[marked.end() : position - 1]
        tail = f"{tail[: marked.start()]} {inside} {tail[position:]}"
    return tail.replace("~", " ").replace("{-}", "-")


@functools.lru_cache(maxsize=4096)
def _unit(text: str, *, marked: bool, spaced: bool = True) -> Unit | None:
    """Parse a unit; an unmarked one must be a word, not a single letter."""
    text = re.sub(r"\\%|%", "", text).strip().strip(".,;")
    if not text:
        return None
    clock = re.fullmatch(r"([ap])\.?\s?m", text, re.IGNORECASE)
    if clock and (marked or spaced):
        return Unit(((f"{clock[1].lower()}.m.", 1),), Fraction(1))
    text = _QUALIFIER.sub("", text)
    compound = _compound(text)
    if compound is not None:
        names = re.findall(r"[A-Za-zµμΩ]+", text)
        if marked or (spaced and "/" in text):
            return compound
        words = all(len(name) > 1 and (len(name) > 2 or name in _GLUED or spaced) for name in names)
        return compound if words else None
    return _noun(text, marked)


def _noun(text: str, marked: bool) -> Unit | None:
    words = text.split()
    if not 1 <= len(words) <= 4 or not all(word.replace("-", "").isalpha() for word in words):
        return None
    if any(word.casefold() in NO_NOUN for word in words):
        return None
    if any(len(word) < 3 for word in words) or (len(words) > 1 and not words[-1].islower()):
        return None
    plural = [
        word for word in words if word in IRREGULAR or re.fullmatch(r"[a-z]{2,}[^s\W\d]s", word)
    ]
    return Unit((("noun", 1),), Fraction(1), counted=True) if plural else None


def _compound(text: str) -> Unit | None:
    powers: dict[str, int] = {}
    factor, sign, position, pending, counted = Fraction(1), 1, 0, 1, False
    last: Unit | None = None
    inside = False
    text = re.sub(r"\bper\b", "/", text)
    text = re.sub(r"\bdegrees?\s+(?=[CF]\b|[Cc]elsius|[Ff]ahrenheit)", "°", text)
    text = text.replace("°celsius", "°C").replace("°Celsius", "°C")
    text = text.replace("°fahrenheit", "°F").replace("°Fahrenheit", "°F")

    def add(unit: Unit, power: int) -> None:
        nonlocal factor, counted
        for name, own in unit.dimensions:
            powers[name] = powers.get(name, 0) + own * power
        factor *= unit.factor**power
        counted = counted or unit.counted

    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        position = match.end()
        if match["power"]:
            if last is None:
                return None
            add(last, sign * (int(match["exponent"]) - 1))
            last = None
        elif match["divide"]:
            if not powers and last is None and counted is False:
                return None
            sign, last = -1, None
        elif match["multiply"]:
            sign, last = sign if inside else 1, None
        elif match["bracket"]:
            inside = match["bracket"] == "("
            sign, last = sign if inside else 1, None
        else:
            name = match["name"]
            if name in _SQUARES:
                pending = _SQUARES[name]
                continue
            if name in _SQUARED:
                if last is None:
                    return None
                add(last, sign * (_SQUARED[name] - 1))
                last = None
                continue
            unit = UNITS.get(name)
            if unit is None:
                return None
            add(unit, sign * pending)
            last, pending = unit, 1
    if pending != 1 or not powers:
        return None
    return Unit(sorted_powers(powers), factor, counted)
