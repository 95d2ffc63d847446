r"""Static limits on an expression, checked before any parser sees it.

An expression that passes can still be slow (then its process is stopped), but a scan of the text
rejects the cheap ways to make a computer algebra system explode.
"""

import re

MAX_EXPRESSION_CHARS = 400
MAX_DIGIT_RUN = 100
MAX_DEPTH = 15
MAX_POWERS = 12
MAX_EXPONENT_DIGITS = 3
MAX_FACTORIAL_DIGITS = 2

_DIGIT_RUN = re.compile(rf"\d{{{MAX_DIGIT_RUN + 1}}}")
# Braces, brackets, signs and spaces that may separate the parts of a tower such as 9^{9^{9}}.
_FILLER = r"[\s{}()\[\]+\-]{0,6}"
_TOWER = re.compile(rf"\^{_FILLER}[\w.\\]{{1,20}}{_FILLER}\^{_FILLER}[\w.\\]{{1,20}}{_FILLER}\^")
_NUMBER_TOWER = re.compile(rf"\d{_FILLER}\^{_FILLER}\d{{1,20}}{_FILLER}\^")
_LARGE_EXPONENT = re.compile(rf"\^{_FILLER}\d{{{MAX_EXPONENT_DIGITS + 1}}}")
_FACTORIAL = re.compile(rf"\d{{{MAX_FACTORIAL_DIGITS + 1}}}{_FILLER}!|!{_FILLER}!")
_BINOMIAL = re.compile(r"binom.{0,40}?\d{4}|\d{4}.{0,20}?\\choose", re.DOTALL)
_SIGN = re.compile(r"\\[\\{}]")
_BIG_OPERATOR = re.compile(r"\\(?:sum|prod|int|lim|Gamma|zeta)(?![a-zA-Z])")


def over_limit(expression: str) -> bool:
    """Whether an expression is too long, too deep or too explosive for computer algebra."""
    return too_large(expression) or explosive(expression)


def too_large(expression: str) -> bool:
    """Whether an expression is too long or too deep for any parser."""
    if len(expression) > MAX_EXPRESSION_CHARS or "\x00" in expression:
        return True
    return _depth(expression) > MAX_DEPTH


def explosive(expression: str) -> bool:
    """Whether a short expression may have a value that is too large to compute."""
    expression = expression.replace("**", "^")
    if expression.count("^") > MAX_POWERS:
        return True
    if "^" in expression and any(
        pattern.search(expression) for pattern in (_TOWER, _NUMBER_TOWER, _LARGE_EXPONENT)
    ):
        return True
    return bool(
        _DIGIT_RUN.search(expression)
        or _FACTORIAL.search(expression)
        or _BINOMIAL.search(expression)
        or len(_BIG_OPERATOR.findall(expression)) > 1
    )


def _depth(expression: str) -> int:
    depth = deepest = 0
    for character in expression:
        if character in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})]":
            depth -= 1
    return deepest


def is_balanced(expression: str) -> bool:
    r"""Whether the braces are balanced; ``\{`` is a symbol and does not count."""
    depth = 0
    for character in _SIGN.sub("", expression):
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0
