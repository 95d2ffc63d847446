r"""Parses a formula into a tree: numbers, symbols, ``\frac``, ``\sqrt``, powers, functions.

A tree is a nested tuple: ``("number", value)``, ``("symbol", name)``, ``("add", a, b)``,
``("multiply", a, b)``, ``("divide", a, b)``, ``("power", a, b)``, ``("negative", a)``,
``("root", index, a)``, ``("call", function, a)``, ``("factorial", a)``, ``("binomial", n, k)``,
``("degrees", a)``. A letter is a symbol, ``i`` is the imaginary unit and ``e`` Euler's number.
Nothing is evaluated here. A text that is not understood completely, for example because of words,
units, sums over an index or integrals, is not read at all.
"""

import functools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from rlvr_dynamics.grading.formula_tokens import Unreadable, tokens_of

Tree = tuple[Any, ...]


_FUNCTIONS = """
    sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp
"""
_GREEK = """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi
    rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega
    ell hbar infty
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
_LETTERS = frozenset(_GREEK.split()) | {"pi"}
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}

_STARTS = frozenset(("number", "letter", "bold"))
_ATOMS = frozenset(("(", "{", "[", r"\frac", r"\sqrt", "sqrt", r"\binom", r"\lfloor", r"\lceil"))


@functools.lru_cache(maxsize=8192)
def read(text: str, *, tight: bool = False) -> Tree | None:
    """Return the tree of a normalised formula, None for anything else.

    Args:
        text: From `answer_text.normalise`.
        tight: Whether an implicit product binds tighter than a slash: then 1/2x is 1/(2x),
            otherwise (1/2)x.
    """
    try:
        return _Reader(tokens_of(text), tight).whole()
    except (Unreadable, ValueError, RecursionError):
        return None


def symbols(tree: Tree) -> frozenset[str]:
    """Return the names of all symbols in a tree except i, e and pi."""
    return frozenset(part[1] for part in parts(tree) if part[0] == "symbol" and not constant(part))


def constant(part: Tree) -> bool:
    """Whether a symbol stands for a number: i, e or pi."""
    return part[1] in ("i", "e", r"\pi")


def parts(tree: Tree) -> Iterator[Tree]:
    """Yield the tree and all trees inside it."""
    yield tree
    for child in tree[1:]:
        if isinstance(child, tuple):
            yield from parts(child)


def _number(text: str) -> Tree:
    text = text.replace(",", "").rstrip(".")
    return ("number", int(text) if text.isdigit() else Fraction(text))


class _Reader:
    """A recursive-descent parser for at most `MAX_TOKENS` tokens."""

    def __init__(self, tokens: list[tuple[str, str]], tight: bool) -> None:
        self.tokens = [*tokens, ("end", "")]
        self.at = 0
        self.tight = tight
        self.bars = 0

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def text(self) -> str:
        return self.tokens[self.at][1]

    def whole(self) -> Tree:
        tree = self.sum()
        if self.kind != "end":
            raise Unreadable
        return tree

    def expect(self, piece: str) -> None:
        if self.text != piece or self.kind == "end":
            raise Unreadable
        self.at += 1

    def accept(self, *tokens: str) -> str | None:
        piece = self.text
        if self.kind == "end" or piece not in tokens:
            return None
        self.at += 1
        return piece

    def sum(self) -> Tree:
        tree = self.product()
        while sign := self.accept("+", "-"):
            term = self.product()
            tree = ("add", tree, term if sign == "+" else ("negative", term))
        return tree

    def product(self) -> Tree:
        tree = self.signed()
        while True:
            if self.accept("*", r"\cdot", r"\times"):
                tree = ("multiply", tree, self.signed())
            elif self.accept("/", r"\div"):
                below = self.signed()
                while self.tight and self.starts_factor():
                    below = ("multiply", below, self.power())
                tree = ("divide", tree, below)
            elif self.starts_factor():
                tree = ("multiply", tree, self.power())
            else:
                return tree

    def starts_factor(self) -> bool:
        if self.kind == "number" and self.tokens[self.at - 1][0] == "number":
            raise Unreadable  # 5 5
        if self.kind in _STARTS or (self.kind == "sign" and self.text in "({["):
            return True
        if self.text == "|" or self.text == r"\|":
            return not self.bars
        return self.kind == "command" and (
            self.text in _ATOMS or _function(self.text) is not None or _letter(self.text)
        )

    def signed(self) -> Tree:
        sign = self.accept("+", "-")
        if sign:
            tree = self.signed()
            return ("negative", tree) if sign == "-" else tree
        return self.power()

    def power(self) -> Tree:
        tree = self.atom()
        powered = False
        while True:
            if self.accept("!"):
                tree = ("factorial", tree)
            elif self.text == "^" and self.kind == "sign":
                self.at += 1
                if self.accept(r"\circ"):
                    tree = ("degrees", tree)
                    continue
                if powered:
                    raise Unreadable  # a double superscript
                tree, powered = ("power", tree, self.exponent()), True
            else:
                return tree

    def exponent(self) -> Tree:
        if self.text == "{":
            return self.group()
        if self.accept("-"):
            return ("negative", self.exponent())
        return self.atom()

    def group(self) -> Tree:
        self.expect("{")
        bars, self.bars = self.bars, 0
        tree = self.sum()
        self.bars = bars
        self.expect("}")
        return tree

    def argument(self) -> Tree:
        """Read a command's argument: a group, or one digit or letter."""
        if self.text == "{":
            return self.group()
        if self.kind == "number":
            digits = self.text
            if not digits.isdigit():
                raise Unreadable
            if len(digits) == 1:
                self.at += 1
            else:
                self.tokens[self.at] = ("number", digits[1:])
            return _number(digits[0])
        return self.atom()

    def atom(self) -> Tree:
        kind, piece = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return self.mixed(_number(piece))
        if kind == "letter" or kind == "bold" or (kind == "command" and _letter(piece)):
            return self.symbol(piece)
        if kind == "sign" and piece in "([{":
            bars, self.bars = self.bars, 0
            tree = self.sum()
            self.bars = bars
            self.expect({"(": ")", "[": "]", "{": "}"}[piece])
            return tree
        if piece == "|":
            self.bars += 1
            tree = self.sum()
            self.bars -= 1
            self.expect("|")
            return ("call", "abs", tree)
        if kind == "command":
            return self.command(piece)
        raise Unreadable

    def mixed(self, tree: Tree) -> Tree:
        """Add an integer directly before a numeric fraction to it (a mixed number)."""
        if self.text == "_":
            raise Unreadable  # a number in another base
        if self.text != r"\frac" or not isinstance(tree[1], int):
            return tree
        start, tokens = self.at, list(self.tokens)
        self.at += 1
        fraction = self.command(r"\frac")
        if fraction[1][0] == fraction[2][0] == "number":
            return ("add", tree, fraction)
        self.at, self.tokens = start, tokens
        return tree

    def symbol(self, piece: str) -> Tree:
        name = piece if not piece.startswith(r"\math") else "".join(piece.split())
        if piece.startswith((r"\mathrm", r"\mathit", r"\mathbf")):
            name = piece[piece.index("{") + 1 : -1].strip()
        if self.accept("_"):
            name = f"{name}_{self.subscript()}"
        while self.accept("'"):
            name += "'"
        return ("symbol", name)

    def subscript(self) -> str:
        if not self.accept("{"):
            if self.kind not in ("number", "letter", "command"):
                raise Unreadable
            self.at += 1
            return self.tokens[self.at - 1][1]
        depth, texts = 1, []
        while True:
            if self.kind == "end":
                raise Unreadable
            depth += (self.text == "{") - (self.text == "}")
            self.at += 1
            if depth == 0:
                return "".join(texts)
            texts.append(self.tokens[self.at - 1][1])

    def command(self, piece: str) -> Tree:
        if piece == r"\frac":
            above = self.argument()
            return ("divide", above, self.argument())
        if piece == r"\binom":
            above = self.argument()
            return ("binomial", above, self.argument())
        if piece in (r"\sqrt", "sqrt"):
            return self.root()
        if piece in (r"\lfloor", r"\lceil"):
            tree = self.sum()
            self.expect(piece.replace("l", "r", 1))
            return ("call", "floor" if piece == r"\lfloor" else "ceil", tree)
        name = _function(piece)
        if name is None:
            raise Unreadable
        return self.function(name)

    def root(self) -> Tree:
        index: Tree = ("number", 2)
        if self.accept("["):
            index = self.sum()
            self.expect("]")
        if self.kind == "number" and len(self.text) > 1:
            raise Unreadable  # \sqrt12 is the root of 1 times 2, which is rarely what is meant
        return ("root", index, self.argument())

    def function(self, name: str) -> Tree:
        base: Tree | None = None
        power: Tree | None = None
        if name == "log" and self.accept("_"):
            base = self.argument()
        if self.text == "^" and self.kind == "sign":
            self.at += 1
            power = self.exponent()
            if power == ("negative", ("number", 1)):
                if name not in _INVERSES:
                    raise Unreadable
                name, power = _INVERSES[name], None
        argument = self.function_argument()
        tree: Tree = ("call", name, argument)
        if base is not None:
            tree = ("divide", ("call", "ln", argument), ("call", "ln", base))
        return tree if power is None else ("power", tree, power)

    def function_argument(self) -> Tree:
        if self.text in ("(", "{", "[") and self.kind == "sign":
            return self.atom()
        tree = self.signed()
        while self.starts_factor() and _function(self.text) is None:
            if self.text in ("(", "["):
                break
            tree = ("multiply", tree, self.power())
        if self.tokens[self.at][1] == "/" and tree[0] == "number":
            raise Unreadable  # \ln 2/3 has two readings
        return tree


def _function(piece: str) -> str | None:
    name = piece.removeprefix("\\")
    return name if name in FUNCTIONS else None


def _letter(piece: str) -> bool:
    return piece.startswith("\\") and piece[1:] in _LETTERS
