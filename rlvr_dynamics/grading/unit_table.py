"""The units of answers, and the nouns that they count."""

from dataclasses import dataclass
from fractions import Fraction

Dimensions = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Unit:
    """A unit as a product of powers of base units.

    Attributes:
        dimensions: Base quantities with their nonzero powers, in alphabetical order.
        factor: Size in base units.
        counted: Whether it is a counted noun (apples, ways) or a word such as "units", which is
            not a measure by itself.
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
_SI = """
    A B C F H Hz J K L N Pa T V W Wb bar cal eV g l m mol s sec Ω
"""
_PREFIXED = frozenset(_SI.split())
_GENERIC = ("unit", "units")
_IRREGULAR = """
    apple child children deer feet fish geese man men mice people person series sheep student
    teeth woman women
"""
# Words that change, compare or qualify a value.
_NO_NOUN = """
    always are bases billion billions cos cubed cubes decimals differences digits divides does
    dozen dozens eighths eights elevens elevenths equals exponents factorials factors fewer
    fifths fives fours fourths guess half halves has hundred hundreds hundredths inverses is
    least less million millions minus minuses mod modulo more most multiples negatives nines
    ninths not ones over percent percents perhaps pis plus plusses powers products quarters
    quotients reciprocals remainders roots sevens sevenths sixes sixths squared squares sums
    tens tenths thirds this thousand thousands thousandths threes thus times trillion trillions
    twelfths twelves twos unless was yes zeros
"""
_NUMERALS = """
    above and at below by eight eighteen eighty eleven fifteen fifty five forty four fourteen i
    if it nine nineteen ninety of one or seven seventeen seventy six sixteen sixty ten than the
    thirteen thirty three to twelve twenty two when zero
"""
IRREGULAR = frozenset(_IRREGULAR.split())
NO_NOUN = frozenset(_NO_NOUN.split()) | frozenset(_NUMERALS.split())


def sorted_powers(powers: dict[str, int]) -> Dimensions:
    """Return base quantities and their powers in canonical order."""
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _table() -> dict[str, Unit]:
    table = {
        name: Unit(((quantity, 1),), Fraction(1))
        for quantity, names in _BASE.items()
        for name in names.split()
    }
    for names, factor, powers in _DERIVED:
        table |= {name: Unit(sorted_powers(powers), Fraction(factor)) for name in names.split()}
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


UNITS = _table()
