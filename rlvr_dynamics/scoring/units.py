r"""Units of measurement: dimensions and factors, and where a unit stands in an answer.

A letter right behind a number is a symbol, never a unit: 6m is six times m. A unit stands in
``\text{...}`` or ``\mathrm{...}``, or is a word of two letters or more (5 cm, 12 apples, 3 miles per hour).
"""

import functools
import re
from dataclasses import dataclass
from fractions import Fraction

Dimensions = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Unit:
    """A unit as a product of powers of base units.

    Attributes:
        dimensions: Base quantity and its power, in alphabetical order; the power is never 0.
        factor: Size in base units.
        counted: A noun that is counted (apples, ways) or a word such as "units", which measures
            nothing by itself.
    """

    dimensions: Dimensions
    factor: Fraction
    counted: bool = False


_BASE = {
    "length": "m meter meters metre metres",
    "time": "s sec secs second seconds",
    "mass": "g gram grams gm",
    "current": "A amp amps ampere amperes",
    "temperature": "K kelvin kelvins",
    "amount": "mol mole moles",
    "luminosity": "cd",
    "money": "dollar dollars USD usd buck bucks",
    "euro": "euro euros EUR",
    "pound": "GBP",
    "yuan": "yuan RMB",
    "rupee": "rupee rupees",
    "data": "bit bits",
    "angle": "rad radian radians",
    "celsius": "°C celsius Celsius",
    "fahrenheit": "°F fahrenheit Fahrenheit",
    "decibel": "dB",
}
# name: (names, factor, powers of the base quantities)
_DERIVED: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("inch inches in", "0.0254", {"length": 1}),
    ("foot feet ft", "0.3048", {"length": 1}),
    ("yard yards yd yds", "0.9144", {"length": 1}),
    ("mile miles mi", "1609.344", {"length": 1}),
    ("angstrom angstroms Å", "1/10000000000", {"length": 1}),
    ("minute minutes min mins", "60", {"time": 1}),
    ("hour hours hr hrs h", "3600", {"time": 1}),
    ("day days", "86400", {"time": 1}),
    ("week weeks", "604800", {"time": 1}),
    ("month months", "2629746", {"time": 1}),
    ("year years yr yrs", "31556952", {"time": 1}),
    ("pound pounds lb lbs", "453.59237", {"mass": 1}),
    ("ounce ounces oz", "28.349523125", {"mass": 1}),
    ("ton tons tonne tonnes", "1000000", {"mass": 1}),
    ("cent cents", "1/100", {"money": 1}),
    ("byte bytes B", "8", {"data": 1}),
    ("degree degrees deg", "1", {"degree": 1}),
    ("mph", "0.44704", {"length": 1, "time": -1}),
    ("kmh kph kmph", "5/18", {"length": 1, "time": -1}),
    ("N newton newtons", "1000", {"mass": 1, "length": 1, "time": -2}),
    ("J joule joules", "1000", {"mass": 1, "length": 2, "time": -2}),
    ("cal calorie calories", "4184", {"mass": 1, "length": 2, "time": -2}),
    ("eV", "0.0000000000000001602176634", {"mass": 1, "length": 2, "time": -2}),
    ("erg ergs", "1/10000", {"mass": 1, "length": 2, "time": -2}),
    ("dyn dyne dynes", "1/100", {"mass": 1, "length": 1, "time": -2}),
    ("W watt watts", "1000", {"mass": 1, "length": 2, "time": -3}),
    ("Pa pascal pascals", "1000", {"mass": 1, "length": -1, "time": -2}),
    ("atm", "101325000", {"mass": 1, "length": -1, "time": -2}),
    ("bar bars", "100000000", {"mass": 1, "length": -1, "time": -2}),
    ("Hz hertz", "1", {"time": -1}),
    ("C coulomb coulombs", "1", {"current": 1, "time": 1}),
    ("V volt volts", "1000", {"mass": 1, "length": 2, "time": -3, "current": -1}),
    ("Ω ohm ohms Ohm", "1000", {"mass": 1, "length": 2, "time": -3, "current": -2}),
    ("F farad farads", "1/1000", {"mass": -1, "length": -2, "time": 4, "current": 2}),
    ("T tesla teslas", "1000", {"mass": 1, "time": -2, "current": -1}),
    ("G gauss", "1/10", {"mass": 1, "time": -2, "current": -1}),
    ("Wb weber webers", "1000", {"mass": 1, "length": 2, "time": -2, "current": -1}),
    ("H henry henries", "1000", {"mass": 1, "length": 2, "time": -2, "current": -2}),
    ("L l liter liters litre litres", "1/1000", {"length": 3}),
    ("cc", "1/1000000", {"length": 3}),
    ("gallon gallons gal", "0.003785411784", {"length": 3}),
    ("quart quarts", "0.000946352946", {"length": 3}),
    ("pint pints", "0.000473176473", {"length": 3}),
    ("cup cups", "0.0002365882365", {"length": 3}),
    ("acre acres", "4046.8564224", {"length": 2}),
    ("hectare hectares ha", "10000", {"length": 2}),
    ("M molar", "1000", {"amount": 1, "length": -3}),
    ("rpm", "1/60", {"time": -1}),
)
_PREFIXES = {
    **{"k": 3, "c": -2, "m": -3, "d": -1, "M": 6, "G": 9, "T": 12, "n": -9, "p": -12, "μ": -6},
    **{"µ": -6, "u": -6, "h": 2, "f": -15},
}
_LONG_PREFIXES = {
    **{"kilo": 3, "centi": -2, "milli": -3, "deci": -1, "mega": 6, "giga": 9, "micro": -6},
    **{"nano": -9, "pico": -12, "tera": 12, "hecto": 2},
}
_PREFIXED = frozenset("m s g A K mol N J W Pa Hz C V Ω F T L l eV B cal bar H Wb sec".split())
# Nouns measure nothing by themselves; "units" may be squared.
_GENERIC = frozenset("unit units".split())
_IRREGULAR = frozenset(
    "people men women children feet mice geese teeth sheep fish deer series person child man woman "
    "apple student".split()
)
# Words that change a value, compare it or say something about it.
_NO_NOUN = frozenset(
    "times plus minus over modulo mod dozen dozens half halves thirds fourths quarters fifths "
    "sixths sevenths eighths ninths tenths elevenths twelfths hundredths thousandths hundred "
    "hundreds thousand thousands million millions billion billions trillion trillions percent "
    "percents divides equals guess is was are not less more fewer least most twos threes fours "
    "fives sixes sevens eights nines tens elevens twelves zeros ones factors powers squares cubes "
    "roots exponents negatives inverses reciprocals squared cubed factorials perhaps always "
    "remainders bases digits decimals pis yes unless plusses minuses sums products differences "
    "quotients multiples does has this thus cos".split()
)
_NUMERALS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety and "
    "or if when to of i it the by than at above below".split()
)


def _sorted(powers: dict[str, int]) -> Dimensions:
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _table() -> dict[str, Unit]:
    table = {
        name: Unit(((quantity, 1),), Fraction(1))
        for quantity, names in _BASE.items()
        for name in names.split()
    }
    for names, factor, powers in _DERIVED:
        table |= {name: Unit(_sorted(powers), Fraction(factor)) for name in names.split()}
    for name in _PREFIXED:
        for prefix, power in _PREFIXES.items():
            unit = table[name]
            scaled = Unit(unit.dimensions, unit.factor * Fraction(10) ** power)
            table.setdefault(prefix + name, scaled)
    words = [name for name in table if len(name) > 3 and name.islower()]
    for name in words:
        for prefix, power in _LONG_PREFIXES.items():
            unit = table[name]
            scaled = Unit(unit.dimensions, unit.factor * Fraction(10) ** power)
            table.setdefault(prefix + name, scaled)
    return table | {name: Unit((("unit", 1),), Fraction(1), counted=True) for name in _GENERIC}


_UNITS = _table()

_TOKEN = re.compile(
    r"\s*(?:(?P<power>\^\s*(?:\{\s*)?(?P<exponent>[-+]?\d)(?:\s*\})?)|(?P<name>°?[A-Za-zµμΩÅ]+)"
    r"|(?P<divide>/)|(?P<multiply>\*|\\cdot|\\times|⋅|·|\.(?=\s*[a-zA-Z]))|(?P<bracket>[()]))"
)
_SQUARES = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_SQUARED = {"squared": 2, "cubed": 3}
_MARK = re.compile(r"\\(?:text|mathrm)\s*\{")
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
# Without a space these alone are units: 2mg is more often two times m times g.
_GLUED = frozenset("cm mm km kg".split())


@functools.lru_cache(maxsize=4096)
def split(text: str) -> tuple[str, Unit | None]:
    """Split a normalised answer into its value and its unit; the unit is None if there is none."""
    temperature = _TEMPERATURE.search(text)
    if temperature:
        name = "°" + (temperature[1] or temperature[2])
        return text[: temperature.start()].strip(), _UNITS[name]
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
    """Whether two units measure the same: lengths, speeds, or nouns that are counted."""
    if one.counted and other.counted:
        return True
    generic, real = (one, other) if one.counted else (other, one)
    if generic.counted:
        # "square units" goes with square inches, "units" with inches.
        powers = dict(generic.dimensions)
        return "unit" in powers and real.dimensions == (("length", powers["unit"]),)
    return one.dimensions == other.dimensions


def ratio(one: Unit, other: Unit) -> Fraction:
    """How many of the other unit are one of this."""
    return Fraction(1) if one.counted or other.counted else one.factor / other.factor


def _has_value(head: str) -> bool:
    return bool(head) and (head[-1].isalnum() or head[-1] in "})]!*%" or head.endswith(r"\cdot"))


def _without_sign(head: str) -> str:
    return re.sub(r"\s*(?:\\cdot|\*)$", "", head)


def _bare(tail: str) -> str:
    r"""Take the commands ``\text`` and ``\mathrm`` and their braces off."""
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
    """Read a unit; unmarked ones must be of words, not of letters."""
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
    if any(word.casefold() in _NO_NOUN or word.casefold() in _NUMERALS for word in words):
        return None
    if any(len(word) < 3 for word in words) or (len(words) > 1 and not words[-1].islower()):
        return None
    plural = [
        word for word in words if word in _IRREGULAR or re.fullmatch(r"[a-z]{2,}[^s\W\d]s", word)
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
            unit = _UNITS.get(name)
            if unit is None:
                return None
            add(unit, sign * pending)
            last, pending = unit, 1
    if pending != 1 or not powers:
        return None
    return Unit(_sorted(powers), factor, counted)
