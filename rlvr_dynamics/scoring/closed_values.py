r"""The approximate value of a closed expression: numbers, ``\frac``, ``\sqrt``, ``\pi``, + - * / ^.

Two expressions whose values differ clearly are different, and no algebra is needed to say so. Two
that agree may still differ: that is left to math-verify.
"""

import math
import re

# Far above the error of double arithmetic, and above math-verify's rounding to six decimals.
CLEARLY = 1e-4

_TOKEN = re.compile(
    r"\s*(?:(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)"
    r"|(\\frac|\\sqrt|\\pi|\\cdot|\\times)(?![a-zA-Z])|([-+*/^(){}\[\]]))",
    re.ASCII,
)
_MAX_TOKENS = 80


class _Unreadable(Exception):
    """The text is no closed expression of the kind read here."""


def differ_clearly(gold: str, answer: str) -> bool:
    """Whether both texts are closed expressions of clearly different value."""
    right = closed_value(gold)
    given = closed_value(answer) if right is not None else None
    if right is None or given is None:
        return False
    return abs(right - given) > CLEARLY * max(1.0, abs(right), abs(given))


def closed_value(text: str) -> float | None:
    """Return the value of a normalised closed expression; None for anything else."""
    try:
        reader = _Reader(_tokens(text))
        value = reader.sum()
        reader.expect("")
    except (_Unreadable, ArithmeticError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _tokens(text: str) -> list[str]:
    tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or len(tokens) == _MAX_TOKENS:
            raise _Unreadable
        tokens.append(match[match.lastindex or 0])
        position = match.end()
    return tokens


class _Reader:
    """Recursive descent over at most `_MAX_TOKENS` tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [*tokens, ""]
        self.at = 0

    def expect(self, token: str) -> None:
        if self.tokens[self.at] != token:
            raise _Unreadable
        self.at += 1

    def accept(self, *tokens: str) -> str | None:
        token = self.tokens[self.at]
        if token not in tokens:
            return None
        self.at += 1
        return token

    def sum(self) -> float:
        value = self.product()
        while sign := self.accept("+", "-"):
            term = self.product()
            value = value + term if sign == "+" else value - term
        return value

    def product(self) -> float:
        value = self.signed()
        while True:
            if self.accept("*", "\\cdot", "\\times"):
                value *= self.signed()
            elif self.accept("/"):
                value /= self.signed()
            elif self.tokens[self.at] in ("\\frac", "\\sqrt", "\\pi", "(", "{"):
                # A number before a fraction may be mixed or multiplied: leave that to others.
                if self.tokens[self.at] == "\\frac" and self.tokens[self.at - 1][-1:].isdigit():
                    raise _Unreadable
                value *= self.power()
            else:
                return value

    def signed(self) -> float:
        sign = self.accept("+", "-")
        if sign:
            value = self.signed()
            return -value if sign == "-" else value
        return self.power()

    def power(self) -> float:
        base = self.atom()
        if not self.accept("^"):
            return base
        exponent = self.group() if self.tokens[self.at] == "{" else self.atom()
        value = base**exponent
        if isinstance(value, complex):
            raise _Unreadable
        return value

    def group(self) -> float:
        self.expect("{")
        value = self.sum()
        self.expect("}")
        return value

    def atom(self) -> float:
        piece = self.tokens[self.at]
        self.at += 1
        if piece[:1].isdigit() or piece[:1] == ".":
            return float(piece.replace(",", ""))
        if piece == "\\pi":
            return math.pi
        if piece == "\\frac":
            return self.group() / self.group()
        if piece == "\\sqrt":
            return self.root()
        if piece in ("(", "{"):
            value = self.sum()
            self.expect(")" if piece == "(" else "}")
            return value
        raise _Unreadable

    def root(self) -> float:
        index = 2.0
        if self.accept("["):
            index = self.sum()
            self.expect("]")
        if self.tokens[self.at] == "{":
            radicand = self.group()
        else:
            digits = self.tokens[self.at]
            # \sqrt12 is the root of 1, times 2: left to others.
            if len(digits) != 1 or not digits.isdigit():
                raise _Unreadable
            self.at += 1
            radicand = float(digits)
        if radicand < 0:
            raise _Unreadable
        return radicand ** (1 / index)
