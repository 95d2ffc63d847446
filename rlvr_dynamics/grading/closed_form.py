r"""Decides whether an answer is worked out or only restates the requested computation.

If the gold answer is a number, the answer must be a number or a closed form: a fraction, a root, a
power, one factorial, one binomial coefficient, one small sum or product. A sum over an index, an
integral, a greatest common divisor, a product of large numbers or a quotient of factorials only
repeats the question, and is accepted only if the gold answer has that form too.
"""

import re

from rlvr_dynamics.grading.formula_reader import Tree, parts, symbols
from rlvr_dynamics.grading.formula_values import approximate, exact

_ALWAYS = re.compile(
    r"\\(?:sum|prod|int|iint|oint|lim|limsup|liminf|partial)(?![a-zA-Z])|\\frac\s*\{\s*d\s*\}"
)
_OF_NUMBERS = re.compile(
    r"\\(?:gcd|lcm|max|min|sup|inf|det|deg|dim|bmod|pmod|mod|operatorname|lfloor|lceil)(?![a-zA-Z])"
    r"|(?<![a-zA-Z\\])(?:gcd|lcm|max|min|mod|floor|ceil)(?![a-zA-Z])"
)
_COUNTING = ("factorial", "binomial")


def names_operation(gold: str, answer: str, *, numeric: bool) -> bool:
    """Whether an answer contains an unevaluated operation that the gold answer does not.

    Args:
        gold: Normalised.
        answer: Normalised.
        numeric: Whether the gold answer's value is a number.
    """
    pattern = [_ALWAYS, _OF_NUMBERS] if numeric else [_ALWAYS]
    return any(set(found.findall(answer)) - set(found.findall(gold)) for found in pattern)


def is_number(tree: Tree | None) -> bool:
    """Whether a formula has one real value."""
    return tree is not None and (exact(tree) is not None or approximate(tree) is not None)


def worked_out(gold: Tree, answer: Tree) -> bool:
    """Whether an answer of the right value is in closed form, relative to the gold answer."""
    value = exact(gold)
    if value is None:
        return True
    calls = {part[1] for part in parts(answer) if part[0] == "call"}
    if calls - {part[1] for part in parts(gold) if part[0] == "call"}:
        return False
    counting = sum(part[0] in _COUNTING for part in parts(answer))
    if counting and not any(part[0] in _COUNTING for part in parts(gold)):
        bare = answer[1] if answer[0] == "negative" else answer
        return counting == 1 and bare[0] in _COUNTING
    return symbols(answer) != frozenset() or _in_the_head(gold, answer)


def _in_the_head(gold: Tree, answer: Tree) -> bool:
    """Whether no sum or product has three numbers, or two of several digits (or as the gold)."""
    most = max(2, max((len(numbers) for numbers in _chains(gold)), default=0))
    large = max((_large(numbers) for numbers in _chains(gold)), default=0)
    return all(
        len(numbers) <= most and _large(numbers) <= max(1, large) for numbers in _chains(answer)
    )


def _large(numbers: list[int]) -> int:
    return sum(abs(number) > 9 for number in numbers)


def _chains(tree: Tree):
    """Yield the plain integers of each sum or product."""
    if tree[0] in ("add", "multiply"):
        numbers, others = [], []
        _collect(tree, numbers, others)
        yield numbers
        for other in others:
            yield from _chains(other)
        return
    for child in tree[1:]:
        if isinstance(child, tuple):
            yield from _chains(child)


def _collect(tree: Tree, numbers: list[int], others: list[Tree]) -> None:
    if tree[0] in ("add", "multiply"):
        _collect(tree[1], numbers, others)
        _collect(tree[2], numbers, others)
    elif tree[0] == "negative":
        _collect(tree[1], numbers, others)
    elif tree[0] == "number" and isinstance(tree[1], int):
        numbers.append(tree[1])
    else:
        others.append(tree)
