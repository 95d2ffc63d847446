r"""Equations and inequalities: whether they name a value or are solved, and their solution sets.

``x = 5`` names a value and ``1 < x \le 2`` is solved. ``x + 1 = 5``, ``2x > 6`` and
``(x-2)(x-3) < 0`` are neither: they are the question, not its answer.
"""

import re

from rlvr_dynamics.grading.exact_rules import compare_values
from rlvr_dynamics.grading.formula_reader import Tree, parts, read, symbols
from rlvr_dynamics.grading.formula_values import (
    approximate,
    exact,
    positive_ratio,
    proportional,
    same,
)
from rlvr_dynamics.grading.plain_numbers import number
from rlvr_dynamics.grading.structures import Group, Relation, Shape, Value

INEQUALITIES = frozenset(("<", ">", r"\le", r"\ge"))
_TURNED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
_LOWEST, _HIGHEST = Value(r"-\infty"), Value(r"\infty")
_APPLIED = re.compile(r"\\?[a-zA-Z]+(?:_\{[^{}]*\}|_\w)?(?:\^\{-1\})?'*\s*\([^()]*\)")


def tree_of(shape: Shape) -> Tree | None:
    """Return the tree of a side that is a formula, None for any other side."""
    return read(shape.text) if isinstance(shape, Value) else None


def is_closed(shape: Shape) -> bool:
    """Whether a side is a number, written as a formula without symbols."""
    if not isinstance(shape, Value):
        return False
    if number(shape.text) is not None:
        return True
    tree = read(shape.text)
    return tree is not None and (exact(tree) is not None or approximate(tree) is not None)


def is_name(shape: Shape, *, strict: bool = False) -> bool:
    r"""Whether a side only names something: x, AB, P(A), f(3), a + b, (x, y), \text{Area}.

    A side with symbols and numbers, such as x + 1 or 2x, is a condition. If `strict`, so is
    x^2 + y^2, which denotes a curve rather than a value.
    """
    if isinstance(shape, Group):
        return all(is_name(item, strict=strict) for item in shape.items)
    if not isinstance(shape, Value):
        return False
    if _APPLIED.fullmatch(shape.text):
        return True
    tree = read(shape.text)
    if tree is None:
        return number(shape.text) is None
    if strict and len(symbols(tree)) > 1 and any(part[0] == "power" for part in parts(tree)):
        return False
    return bool(symbols(tree)) and not _coefficients(tree)


def _coefficients(tree: Tree) -> bool:
    """Whether a formula contains a number other than as an exponent, an index or a degree."""
    if tree[0] == "number":
        return True
    children = tree[1:2] if tree[0] == "power" else tree[2:] if tree[0] == "root" else tree[1:]
    return any(isinstance(child, tuple) and _coefficients(child) for child in children)


def lone_symbol(shape: Shape) -> str | None:
    """Return the name of a side that is a single symbol, else None."""
    tree = tree_of(shape)
    return tree[1] if tree is not None and tree[0] == "symbol" else None


def named_value(relation: Relation, *, strict: bool = False) -> tuple[Shape | None, Shape] | None:
    """Return the name and the value of an answer such as ``x = 5`` or ``2 + 3 = 5``.

    Returns:
        (None, value) if there is no name. None if no value is named: for an inequality, a condition
        or a false equation of numbers.
    """
    sides, signs = list(relation.sides), list(relation.signs)
    if r"\approx" in signs:
        # The exact value comes first, the decimals only explain it: 7/12 \approx 0.583.
        place = signs.index(r"\approx")
        if place == 0 and len(sides) == 2 and not is_closed(sides[0]):
            return (sides[0], sides[1]) if is_name(sides[0], strict=strict) else None
        sides, signs = sides[: place + 1], signs[:place]
        if not signs:
            return None, sides[0]
    if signs == [r"\in"]:
        return (sides[0], sides[1]) if is_name(sides[0], strict=strict) else None
    if set(signs) != {"="}:
        return None
    closed = [side.text for side in sides if isinstance(side, Value) and is_closed(side)]
    for one, other in zip(closed, closed[1:], strict=False):
        equal = compare_values(other, one)
        if equal is not None and not equal[1] and not _same_value(one, other):
            return None
    if is_closed(sides[0]):
        return (None, sides[-1]) if is_closed(sides[-1]) else _turned(sides)
    return (sides[0], sides[-1]) if is_name(sides[0], strict=strict) else _turned(sides)


def _same_value(one: str, other: str) -> bool:

    left, right = read(one), read(other)
    return left is not None and right is not None and same(left, right) is True


def _turned(sides: list[Shape]) -> tuple[Shape, Shape] | None:
    """Treat ``5 = x`` like ``x = 5``."""
    if len(sides) == 2 and lone_symbol(sides[1]) and not lone_symbol(sides[0]):
        tree = tree_of(sides[0])
        if tree is not None and lone_symbol(sides[1]) not in symbols(tree):
            return sides[1], sides[0]
    return None


def interval(relation: Relation) -> Group | None:
    r"""Return the solution set of a solved inequality as an interval or a union.

    Solved forms are ``a < x \le b``, ``x > a``, ``|x| < a``, ``x \ne a``: a symbol compared with
    formulas that do not contain it.
    """
    signs = relation.signs
    sides = relation.sides
    if signs == (r"\ne",) and lone_symbol(sides[0]) and is_closed(sides[1]):
        low = Group("()", (_LOWEST, sides[1]))
        return Group("cup", (low, Group("()", (sides[1], _HIGHEST))))
    if not set(signs) <= INEQUALITIES:
        return None
    if len(signs) == 2 and signs[0] in (">", r"\ge") and signs[1] in (">", r"\ge"):
        sides, signs = sides[::-1], tuple(_TURNED[sign] for sign in signs[::-1])
    if len(signs) == 2 and set(signs) <= {"<", r"\le"}:
        low, middle, high = sides
        if not _free_of(middle, low, high):
            return None
        return Group(_brackets(signs[0], signs[1]), (low, high))
    if len(signs) != 1:
        return None
    left, right = sides
    sign = signs[0]
    if is_closed(left):
        left, right, sign = right, left, _TURNED[sign]
    if isinstance(left, Value) and left.text.startswith("-") and is_closed(right):
        left, right, sign = Value(left.text[1:].strip()), _negative(right), _TURNED[sign]
    if _absolute(left) is not None:
        return _of_absolute(right, sign)
    if not _free_of(left, right):
        return None
    if sign in (">", r"\ge"):
        return Group(_brackets(">" if sign == ">" else r"\ge", "<"), (right, _HIGHEST))
    return Group(_brackets("<", sign), (_LOWEST, right))


def _brackets(low: str, high: str) -> str:
    return ("[" if low in (r"\le", r"\ge") else "(") + ("]" if high in (r"\le", r"\ge") else ")")


def _free_of(symbol: Shape, *others: Shape) -> bool:
    name = lone_symbol(symbol)
    if name is None or name in (r"\infty",):
        return False
    trees = [tree_of(other) for other in others]
    return all(tree is not None and name not in symbols(tree) for tree in trees)


def _negative(shape: Shape) -> Value:
    text = shape.text if isinstance(shape, Value) else ""
    return Value(text[1:].strip() if text.startswith("-") and read(text[1:]) else f"-({text})")


def both_bounds(one: Relation, other: Relation) -> Group | None:
    """Return the solution set of a lower and an upper bound of one symbol: x > 1, x < 2.

    Bounds with nothing between them are alternatives: x < 1, x > 2.
    """
    if not set(one.signs + other.signs) <= INEQUALITIES or bounded(one) != bounded(other):
        return None
    found = (interval(one), interval(other))
    if found[0] is None or found[1] is None or len(one.signs + other.signs) != 2:
        return None
    upper, lower = sorted((found[0], found[1]), key=lambda bound: bound.items[0] != _LOWEST)
    if upper.items[0] != _LOWEST or lower.items[1] != _HIGHEST:
        return None
    low, high = _value_of(lower.items[0]), _value_of(upper.items[1])
    if low is None or high is None:
        return None
    if low < high:
        return Group(lower.brackets[0] + upper.brackets[1], (lower.items[0], upper.items[1]))
    return Group("cup", (upper, lower)) if low > high else None


def bounded(relation: Relation) -> str | None:
    """Return the bounded symbol of an inequality: the first side that is a single symbol."""
    return next(filter(None, map(lone_symbol, relation.sides)), None)


def _value_of(bound: Shape) -> float | None:
    if not isinstance(bound, Value) or not is_closed(bound):
        return None
    tree = read(bound.text)
    return approximate(tree if tree is not None else ("number", number(bound.text)))


def _absolute(shape: Shape) -> str | None:
    tree = tree_of(shape)
    if tree is None or tree[0] != "call" or tree[1] != "abs" or tree[2][0] != "symbol":
        return None
    return tree[2][1]


def _of_absolute(bound: Shape, sign: str) -> Group | None:
    value = _value_of(bound)
    if value is None or value < 0 or not isinstance(bound, Value):
        return None
    low = Value(f"-({bound.text})")
    closed = sign in (r"\le", r"\ge")
    if sign in ("<", r"\le"):
        return Group("[]" if closed else "()", (low, bound))
    below = Group("(]" if closed else "()", (_LOWEST, low))
    return Group("cup", (below, Group("[)" if closed else "()", (bound, _HIGHEST))))


def same_relation(gold: Relation, answer: Relation) -> bool | None:
    """Whether two relations with one sign are equivalent up to a factor.

    Returns:
        None if a side is not a formula.
    """
    if len(gold.signs) > 1 and set(gold.signs) != {"="}:
        return None
    if len(answer.signs) > 1 and set(answer.signs) != {"="}:
        return None
    right, given = _difference(gold), _difference(answer)
    if right is None or given is None:
        return None
    wanted, sign = next(iter(gold.signs)), next(iter(answer.signs))
    if "=" in (wanted, sign):
        if wanted != sign:
            return False
        # Not a multiple, but possibly the same curve: xy = 1 and y = 1/x.
        curved = len(symbols(right)) > 1 and not (is_linear(right) and is_linear(given))
        return proportional(right, given) or (None if curved else False)
    if wanted not in INEQUALITIES or sign not in INEQUALITIES:
        return None
    if _strict(wanted) != _strict(sign):
        return False
    if _TURNED[wanted] == sign:
        given = ("negative", given)
    return positive_ratio(right, given)


def is_linear(tree: Tree) -> bool:
    """Whether a formula has no power, quotient or product of symbols and no function."""
    for part in parts(tree):
        inside = [bool(symbols(child)) for child in part[1:] if isinstance(child, tuple)]
        if part[0] in ("power", "root", "call", "factorial", "binomial") and any(inside):
            return False
        if (part[0] == "multiply" and all(inside)) or (part[0] == "divide" and inside[1]):
            return False
    return True


def _strict(sign: str) -> bool:
    return sign in ("<", ">")


def _difference(relation: Relation) -> Tree | None:
    left, right = tree_of(relation.sides[0]), tree_of(relation.sides[-1])
    if left is None or right is None:
        return None
    return ("add", left, ("negative", right))


def is_constant(shape: Shape) -> bool:
    """Whether a value contains no symbol."""
    if isinstance(shape, Group):
        return all(is_constant(item) for item in shape.items)
    tree = tree_of(shape)
    return is_closed(shape) or (
        tree is not None and not any(part[0] == "symbol" for part in parts(tree))
    )
