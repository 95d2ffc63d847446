"""Evaluates a formula of rational numbers exactly as a fraction, up to a size bound."""

import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from rlvr_dynamics.grading.formula_reader import Tree

# Maximum size of a fraction in bits; larger values are not computed here.
MAX_BITS = 20_000

Rational = int | Fraction
Point = Mapping[str, Rational]


class Undefined(Exception):
    """The formula has no value here, or one that is not computed here."""


def exact(tree: Tree) -> Rational | None:
    """Return the value of a formula of only numbers as a fraction, None for any other."""
    try:
        return exact_at(tree, {})
    except (Undefined, ArithmeticError, ValueError):
        return None


def exact_at(tree: Tree, point: Point) -> Rational:
    """Return the value of a formula at given values of its symbols.

    Raises:
        Undefined: The value is not rational or too long, or a symbol has no given value.
        ArithmeticError: The formula has no value.
    """
    kind = tree[0]
    if kind == "number":
        return tree[1]
    if kind == "symbol" and tree[1] in point:
        return point[tree[1]]
    if kind in _EXACT:
        return _small(_EXACT[kind](*(exact_at(child, point) for child in tree[1:])))
    raise Undefined


def _small(value: Rational) -> Rational:
    if value.numerator.bit_length() + value.denominator.bit_length() > 4 * MAX_BITS:
        raise Undefined
    return value


def _exact_quotient(above: Rational, below: Rational) -> Rational:
    value = Fraction(above, below)
    return value.numerator if value.denominator == 1 else value


def _exact_power(base: Rational, exponent: Rational) -> Rational:
    if exponent.denominator != 1:
        raise Undefined
    bits = base.numerator.bit_length() + base.denominator.bit_length()
    if abs(exponent) * bits > MAX_BITS:
        raise Undefined
    power = int(exponent)
    return base**power if power >= 0 else Fraction(1, base**-power)


def _exact_root(index: Rational, value: Rational) -> Rational:
    if index.denominator != 1 or not 2 <= index <= 64 or value < 0:
        raise Undefined
    above, below = (_whole_root(number, int(index)) for number in value.as_integer_ratio())
    return Fraction(above, below)


def _whole_root(number: int, index: int) -> int:
    if number.bit_length() > 1000:
        raise Undefined
    root = math.isqrt(number) if index == 2 else round(number ** (1 / index))
    if root**index != number:
        raise Undefined
    return root


def _exact_factorial(value: Rational) -> Rational:
    if value.denominator != 1 or not 0 <= value <= 1000:
        raise Undefined
    return math.factorial(int(value))


def _exact_binomial(n: Rational, k: Rational) -> Rational:
    if n.denominator != 1 or k.denominator != 1 or not k >= 0 or not 0 <= n <= 1000:
        raise Undefined
    return math.comb(int(n), int(k))


_EXACT: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "multiply": operator.mul,
    "divide": _exact_quotient,
    "negative": operator.neg,
    "power": _exact_power,
    "root": _exact_root,
    "factorial": _exact_factorial,
    "binomial": _exact_binomial,
}
