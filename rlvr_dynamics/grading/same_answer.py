r"""Compares an answer with the gold answer: values by value, structures by their parts.

Lists and sets are compared without order, points and intervals in order, an equation by its value
if it names one and otherwise up to a factor.
"""

import functools
import re
from collections.abc import Sequence

from rlvr_dynamics.grading.exact_rules import compare_values, is_value, words
from rlvr_dynamics.grading.formula_reader import read, symbols
from rlvr_dynamics.grading.relations import (
    both_bounds,
    bounded,
    interval,
    is_constant,
    is_name,
    lone_symbol,
    named_value,
    same_relation,
    tree_of,
)
from rlvr_dynamics.grading.structures import Group, Matrix, Relation, Shape, Value, shape

_LISTS = ("", "or", "{}")
_DROPPED = (r"\text", r"\mathrm", r"\ldots", r"\not", "'", '"', "?", "@", "#")
REALS = r"\mathbb{R}"
_ALL_REALS = Group("()", (Value(r"-\infty"), Value(r"\infty")))
_EMPTY = Value(r"\emptyset")
# A point or an equation in parentheses, with arithmetic but no set operation around it.
_INSIDE = re.compile(
    r"(?!.*\\(?:cap|setminus|backslash|mathbb|cup))(?:.*?[^a-zA-Z} ] ?)?\([^()]*[,=<>][^()]*\)",
    re.DOTALL,
)


@functools.lru_cache(maxsize=16384)
def decide(gold: str, answer: str) -> tuple[str, bool] | None:
    """Compare two normalised texts.

    Args:
        gold: From `answer_text.normalise`.
        answer: From `answer_text.normalise`.

    Returns:
        The name of the deciding rule and whether the answer is right; None if algebra is needed.
    """
    if gold == answer:
        return "equal", True
    right, given = shape(gold), shape(answer)
    if isinstance(given, Value) and not isinstance(right, Value) and _INSIDE.match(answer):
        return "shape", False  # -(x = 5) or (1, 2) + 1, which algebra takes for x = 5 and (1, 2)
    if isinstance(right, Value) and isinstance(given, Value):
        whole = compare_values(gold, answer)
        if whole is None or whole[1] or "," not in gold or "," not in answer:
            return whole
    elif "\\text" in gold + answer and words(gold) == words(answer):
        return "text", True
    verdict = _same(right, given)
    if not verdict and "," in gold and "," in answer:
        lists = (shape(gold, thousands=False), shape(answer, thousands=False))
        if len(set(map(_length, lists))) == 1 and _same(*lists):  # 100,200 and 200,100
            verdict = True
    return None if verdict is None else ("shape", verdict)


def _length(found: Shape | None) -> int:
    return len(found.items) if isinstance(found, Group) else 1


def is_read(text: str) -> bool:
    """Whether every part of a normalised text is read as a number, a formula or words."""
    found = shape(text)
    return found is not None and _is_read(found)


def _is_read(found: Shape) -> bool:
    if isinstance(found, Value):
        return is_value(found.text)
    if isinstance(found, Matrix):
        return all(is_read(cell) for row in found.rows for cell in row)
    if isinstance(found, Relation):
        named = named_value(found)
        return _is_read(named[1]) if named else all(_is_read(side) for side in found.sides)
    return all(_is_read(item) for item in found.items)


def leftovers(text: str) -> frozenset[str]:
    """Return which kinds of elements algebra would drop from a text: words, dots, primes."""
    return frozenset(mark for mark in _DROPPED if mark in text)


def _same(gold: Shape | None, answer: Shape | None) -> bool | None:
    if gold is None or answer is None:
        return None
    gold, answer = _canonical(gold), _canonical(answer)
    if gold == answer:
        return True
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        return _relations(gold, answer)
    if isinstance(answer, Relation):
        return _answer_is_relation(gold, answer)
    if isinstance(gold, Relation):
        return _gold_is_relation(gold, answer)
    if isinstance(gold, Value) and isinstance(answer, Value):
        decided = compare_values(gold.text, answer.text)
        return None if decided is None else decided[1]
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        return _matrices(gold, answer)
    if isinstance(gold, Group) and isinstance(answer, Group):
        return _groups(gold, answer)
    return _unlike(gold, answer)


def _canonical(found: Shape) -> Shape:
    if isinstance(found, Value) and found.text == REALS:
        return _ALL_REALS
    if isinstance(found, Relation) and found.signs == (r"\in",) and is_name(found.sides[0]):
        return _canonical(found.sides[1])
    if isinstance(found, Group):
        if found.brackets == "{}" and not found.items:
            return _EMPTY
        if found.brackets in _LISTS and len(found.items) == 1:
            return _canonical(found.items[0])
        if found.brackets == "" and len(found.items) == 2:
            one, other = found.items
            if isinstance(one, Relation) and isinstance(other, Relation):
                return both_bounds(one, other) or found
        if found.brackets == "or" and all(isinstance(i, Relation) for i in found.items):
            sets = [interval(i) for i in found.items if isinstance(i, Relation)]
            inequalities = all(
                r"\ne" not in i.signs for i in found.items if isinstance(i, Relation)
            )
            if inequalities and all(one is not None for one in sets):
                return Group("cup", tuple(one for one in sets if one is not None))
    return found


def _relations(gold: Relation, answer: Relation) -> bool | None:
    right, given = named_value(gold, strict=True), named_value(answer)
    if right is not None and given is not None:
        named = None if right[0] is None or given[0] is None else _same_name(right[0], given[0])
        verdict = _same(right[1], given[1])
        if named is not False and (verdict or named is None):
            return verdict
        if named and verdict is None:
            return None
        if named and all(_is_solved(*pair) for pair in (right, given)):
            return False
        if is_constant(right[1]) or tree_of(right[1]) is None:
            return False
        return same_relation(gold, answer)
    right_set, given_set = interval(gold), interval(answer)
    if right_set is not None:
        return _same(right_set, given_set) if given_set is not None else False
    if right is not None and is_constant(right[1]):
        return False  # the gold answer is a solution, the answer an equation to solve
    return same_relation(gold, answer)


def _is_solved(name: Shape | None, value: Shape) -> bool:
    """Whether an equation expresses a symbol by other symbols: T = 2t + 1."""
    tree = tree_of(value)
    symbol = None if name is None else lone_symbol(name)
    return symbol is not None and tree is not None and symbol not in symbols(tree)


def _same_name(gold: Shape, answer: Shape) -> bool | None:
    if isinstance(gold, Value) and isinstance(answer, Value):
        applied = [re.fullmatch(r"[a-zA-Z]\s*\([a-zA-Z]\)", one.text) for one in (gold, answer)]
        if "y" in (gold.text, answer.text) and any(applied):
            return True  # y = x^2 and f(x) = x^2
    return _same(gold, answer)


def _answer_is_relation(gold: Shape, answer: Relation) -> bool | None:
    value = named_value(answer)
    if value is not None:
        return _same(gold, value[1])
    solved = interval(answer)
    if solved is not None:
        return _same(gold, solved) if isinstance(gold, Group) else False
    if _is_text(gold):
        return None
    return False


def _gold_is_relation(gold: Relation, answer: Shape) -> bool | None:
    value = named_value(gold, strict=True)
    if value is not None and set(gold.signs) <= {"=", r"\in", r"\approx"}:
        return _same(value[1], answer)
    solved = interval(gold)
    if solved is not None:
        return _same(solved, answer)
    if isinstance(answer, Value) and read(answer.text) is not None:
        return False
    return None


def _groups(gold: Group, answer: Group) -> bool | None:
    if "cup" in (gold.brackets, answer.brackets):
        if gold.brackets != answer.brackets or len(gold.items) != len(answer.items):
            return None
        return _without_order(gold.items, answer.items)
    if gold.brackets in _LISTS and answer.brackets in _LISTS:
        if _named(gold.items) and not _named(answer.items):
            if len(set(_names(answer.items) or [])) == 1:  # x_1 = 2, x_2 = 3 and x = 2, x = 3
                return _without_order(_values(gold.items), _values(answer.items))
            return _in_order(gold.items, answer.items)
        return _without_order(gold.items, answer.items)
    if gold.brackets in _LISTS or answer.brackets in _LISTS:
        plain, other = (gold, answer) if gold.brackets in _LISTS else (answer, gold)
        if plain.brackets != "" or other.brackets != "()":
            return False
        items = [tuple(_by_name(group.items)) for group in (gold, answer)]
        return _in_order(items[0], items[1])
    if gold.brackets != answer.brackets:
        return False
    return _in_order(gold.items, answer.items)


def _named(items: Sequence[Shape]) -> bool:
    """Whether the items are equations with different names: x = 1, y = 2."""
    names = _names(items)
    return names is not None and len(set(names)) == len(items) > 1


def _values(items: Sequence[Shape]) -> list[Shape]:
    return [item.sides[-1] for item in items if isinstance(item, Relation)]


def _names(items: Sequence[Shape]) -> list[str] | None:
    names = []
    for item in items:
        if not isinstance(item, Relation) or not is_name(item.sides[0]):
            return None
        names.append(str(item.sides[0]))
    return names


def _by_name(items: Sequence[Shape]) -> Sequence[Shape]:
    """Sort y = 2, x = 1 by name, as in the point (x, y), if the names are single letters."""
    if not _named(items):
        return items
    letters = [lone_symbol(item.sides[0]) or "" for item in items if isinstance(item, Relation)]
    if not all(len(letter) == 1 for letter in letters):
        return items
    named = dict(zip(letters, items, strict=True))
    return [named[letter] for letter in sorted(named)]


def _in_order(gold: Sequence[Shape], answer: Sequence[Shape]) -> bool | None:
    if len(gold) != len(answer):
        return False
    return _all([_same(right, given) for right, given in zip(gold, answer, strict=True)])


def _without_order(gold: Sequence[Shape], answer: Sequence[Shape]) -> bool | None:
    """Whether each item on either side matches one on the other side."""
    several = len({_symbol(item) for item in gold}) > 1
    table = [
        [
            False if several and _symbol(right) != _symbol(given) else _same(right, given)
            for given in answer
        ]
        for right in gold
    ]
    found = [_any(row) for row in table]
    found += [_any([row[i] for row in table]) for i in range(len(answer))]
    return _all(found)


def _symbol(item: Shape) -> str | None:
    """Return the symbol that an inequality bounds: x > 0, y < 3 differs from x < 3, y > 0."""
    return bounded(item) if isinstance(item, Relation) and interval(item) else None


def _all(verdicts: Sequence[bool | None]) -> bool | None:
    return False if False in verdicts else None if None in verdicts else True


def _any(verdicts: Sequence[bool | None]) -> bool | None:
    return True if True in verdicts else None if None in verdicts else False


def _matrices(gold: Matrix, answer: Matrix) -> bool | None:
    if len(gold.rows) != len(answer.rows) or len(gold.rows[0]) != len(answer.rows[0]):
        return False
    cells = [
        _same(shape(right), shape(given))
        for row, other in zip(gold.rows, answer.rows, strict=True)
        for right, given in zip(row, other, strict=True)
    ]
    return _all(cells)


def _unlike(gold: Shape, answer: Shape) -> bool | None:
    """Compare a value with a structure: right only if it is alternatives that all equal it."""
    for value, several in ((gold, answer), (answer, gold)):
        if isinstance(value, Value) and isinstance(several, Group) and several.brackets == "or":
            return _all([_same(value, item) for item in several.items])
    if isinstance(answer, Value) and _INSIDE.match(answer.text):
        return False
    for one in (gold, answer):
        if isinstance(one, Value):
            if one == _EMPTY:
                return False
            if read(one.text) is None:
                return None
    several = answer if isinstance(gold, Matrix) else gold
    return None if isinstance(several, Group) and Matrix in (type(gold), type(answer)) else False


def _is_text(found: Shape) -> bool:
    return isinstance(found, Value) and ("\\text" in found.text or words(found.text).isalpha())
