r"""Compares two formulas: as exact fractions, else by values at sample points to 40 digits.

A formula without symbols has one value. Formulas with symbols are compared at several points, where
two different analytic expressions agree by chance with probability zero. Rational numbers are
compared as fractions, so a decimal never equals the root that it approximates.
"""

import functools
import math
import operator
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from mpmath import MPContext

from rlvr_dynamics.grading.formula_exact import Point, Undefined, exact, exact_at
from rlvr_dynamics.grading.formula_reader import Tree, parts, symbols

DIGITS = 40
# For larger values a power of e has an exponent that does not fit into memory.
MAX_EXPONENT = 10**7
MAX_FACTORIAL = 10**5
# Number of points at which two formulas must agree.
ENOUGH = 2

_CONTEXT = MPContext()
_CONTEXT.dps = DIGITS
TOLERANCE = _CONTEXT.mpf(10) ** -30


def same(one: Tree, other: Tree) -> bool | None:
    """Whether two formulas have the same value wherever both have one.

    Returns:
        None if no value could be computed.
    """
    left, right = exact(one), exact(other)
    if left is not None and right is not None:
        return left == right
    verdicts = [_same(one, other, logarithm) for logarithm in _logarithms(one, other)]
    return True if True in verdicts else None if None in verdicts else False


def proportional(one: Tree, other: Tree) -> bool:
    """Whether one formula is a nonzero multiple of the other."""
    names = tuple(sorted(symbols(one) | symbols(other)))
    ratios = []
    for point, _ in _points(names):
        found = _values((one, other), point, "ln")
        if found is None or abs(found[1][0]) <= found[1][1] * TOLERANCE:
            continue
        ratios.append(found[0][0] / found[1][0])
    return (
        len(ratios) > 2
        and abs(ratios[0]) > TOLERANCE
        and all(abs(ratio - ratios[0]) <= TOLERANCE * abs(ratios[0]) * 1000 for ratio in ratios)
    )


def positive_ratio(one: Tree, other: Tree) -> bool:
    """Whether one formula is a positive multiple of the other."""
    if not proportional(one, other):
        return False
    names = tuple(sorted(symbols(one) | symbols(other)))
    for point, _ in _points(names):
        found = _values((one, other), point, "ln")
        if found and abs(found[1][0]) > found[1][1] * TOLERANCE:
            return _CONTEXT.re(found[0][0] / found[1][0]) > 0
    return False


def approximate(tree: Tree) -> float | None:
    """Return the value of a real formula without symbols as a float; None for any other."""
    if symbols(tree):
        return None
    found = _values((tree,), {}, "ln")
    if found is None or abs(_CONTEXT.im(found[0][0])) > TOLERANCE:
        return None
    try:
        value = float(_CONTEXT.re(found[0][0]))
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _logarithms(*trees: Tree) -> tuple[str, ...]:
    """Return the possible meanings of ``log`` without a base: natural or decimal."""
    used = any(part[0] == "call" and part[1] == "log" for tree in trees for part in parts(tree))
    return ("ln", "lg") if used else ("ln",)


def _same(one: Tree, other: Tree, logarithm: str) -> bool | None:
    names = tuple(sorted(symbols(one) | symbols(other)))
    compared = 0
    for point, more in _points(names):
        if more and compared >= ENOUGH:
            break
        exactly = _both_exact(one, other, point)
        if exactly is not None:
            if not exactly:
                return False
            compared += 1
            continue
        found = _values((one, other), point, logarithm)
        if found is None:
            continue
        (left, left_scale), (right, right_scale) = found
        scale = max(abs(left), abs(right), left_scale, right_scale)
        if abs(left - right) > scale * TOLERANCE:
            return False
        compared += 1
    return True if compared >= (ENOUGH if names else 1) else None


def _both_exact(one: Tree, other: Tree, point: Point) -> bool | None:
    try:
        return exact_at(one, point) == exact_at(other, point)
    except ZeroDivisionError:
        return None
    except (Undefined, ArithmeticError, ValueError):
        return None


@functools.lru_cache(maxsize=256)
def _points(names: tuple[str, ...]) -> tuple[tuple[Point, bool], ...]:
    r"""Return points to compare at, and whether each is only a fallback for undefined values.

    The points have both signs and are not all integers or halves, at which ``\sin 8 \pi n`` is 0;
    then come positive points below 1, then integers for expressions such as (-1)^n.
    """
    if not names:
        return (({}, False),)
    draw = random.Random("".join(names))  # noqa: S311 - points, not secrets
    points: list[tuple[Point, bool]] = []
    for signs, below in (((-1, -1), 1), ((1, -1), 17), ((-1, 1), 17)):
        drawn = [Fraction(draw.randint(2, 40), below) for _ in names]
        values = [value * signs[i % 2] for i, value in enumerate(drawn)]
        points.append((dict(zip(names, values, strict=True)), False))
    for most in (15, 15, 60, 60):
        fractions = [Fraction(draw.randint(1, most), 17) for _ in names]
        points.append((dict(zip(names, fractions, strict=True)), True))
    for _ in range(4):
        points.append(({name: draw.randint(2, 11) for name in names}, True))
    return tuple(points)


def _values(trees: tuple[Tree, ...], point: Point, logarithm: str) -> list[tuple[Any, Any]] | None:
    """Return value and scale of each formula at a point; None if one of them has no value.

    The scale is the largest intermediate sum: cancellation gives zero only to its precision. A
    formula of real symbols without i that is not real at a point has no value there.
    """
    found = []
    imaginary = any(part == ("symbol", "i") for tree in trees for part in parts(tree))
    real = bool(point) and not imaginary
    for tree in trees:
        evaluation = _Evaluation(point, logarithm, real=real)
        try:
            value = evaluation.of(tree)
        except (Undefined, ArithmeticError, ValueError, TypeError, OverflowError):
            return None
        if not _CONTEXT.isfinite(value):
            return None
        found.append((value, evaluation.scale))
    if real:
        for value, scale in found:
            if abs(_CONTEXT.im(value)) > max(abs(value), scale) * TOLERANCE:
                return None
    return found


class _Evaluation:
    """Evaluates one formula at one point, in floating-point numbers of `DIGITS` digits."""

    def __init__(self, point: Point, logarithm: str, *, real: bool) -> None:
        self.point = point
        self.real = real
        self.logarithm = logarithm
        self.scale = _CONTEXT.mpf(0)

    def of(self, tree: Tree) -> Any:
        kind = tree[0]
        if kind == "number":
            return _CONTEXT.mpf(tree[1].numerator) / tree[1].denominator
        if kind == "symbol":
            return self.symbol(tree[1])
        if kind == "call":
            return self.call(tree[1], self.of(tree[2]))
        if kind == "add":
            return self.add(self.of(tree[1]), self.of(tree[2]))
        value = _bounded(_APPROXIMATE[kind](*(self.of(child) for child in tree[1:])))
        if self.real and kind in ("root", "power") and _CONTEXT.im(value) != 0:
            raise Undefined  # sqrt(a) sqrt(b) is sqrt(ab) where both are real
        return value

    def add(self, one: Any, other: Any) -> Any:
        self.scale = max(self.scale, abs(one), abs(other))
        return one + other

    def symbol(self, name: str) -> Any:
        if name in self.point:
            value = self.point[name]
            return _CONTEXT.mpf(value.numerator) / value.denominator
        if name == r"\pi":
            return +_CONTEXT.pi
        if name == "e":
            return +_CONTEXT.e
        if name == "i":
            return _CONTEXT.j
        raise Undefined

    def call(self, name: str, value: Any) -> Any:
        if name in ("floor", "ceil"):
            return getattr(_CONTEXT, name)(value)
        if name == "abs":
            return abs(value)
        if name == "log":
            name = self.logarithm
        if name in ("ln", "lg"):
            if value == 0:
                raise Undefined
            natural = _CONTEXT.log(value)
            return natural if name == "ln" else natural / _CONTEXT.log(10)
        if abs(value) > MAX_EXPONENT:
            raise Undefined
        return _bounded(getattr(_CONTEXT, _NAMES.get(name, name))(value))


_NAMES = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}


def _bounded(value: Any) -> Any:
    # A value's exponent can be an integer of any size: keep it small enough for memory.
    if value != 0 and abs(_CONTEXT.mag(value)) > MAX_EXPONENT:
        raise Undefined
    return value


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) * max(1, abs(_CONTEXT.mag(base) if base != 0 else 1)) > MAX_EXPONENT:
        raise Undefined
    if base == 0 and _CONTEXT.re(exponent) <= 0:
        raise Undefined
    return base**exponent


def _root(index: Any, value: Any) -> Any:
    if index == 0:
        raise Undefined
    odd = index == int(_CONTEXT.re(index)) and int(_CONTEXT.re(index)) % 2 == 1
    if odd and _CONTEXT.im(value) == 0 and _CONTEXT.re(value) < 0:
        return -((-value) ** (1 / index))
    return value ** (1 / index)


def _factorial(value: Any) -> Any:
    if abs(value) > MAX_FACTORIAL:
        raise Undefined
    return _CONTEXT.gamma(value + 1)


def _binomial(n: Any, k: Any) -> Any:
    if max(abs(n), abs(k)) > MAX_FACTORIAL:
        raise Undefined
    return _CONTEXT.binomial(n, k)


_APPROXIMATE: dict[str, Callable[..., Any]] = {
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "power": _power,
    "root": _root,
    "factorial": _factorial,
    "binomial": _binomial,
    "degrees": lambda value: value * _CONTEXT.pi / 180,
}
