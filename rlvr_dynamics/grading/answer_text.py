r"""Normalises equivalent spellings before anything is compared.

Rewrites characters and LaTeX commands, never the mathematics: ``\dfrac12`` and ``½`` become
``\frac{1}{2}``, ``10\,080`` becomes ``10080``, ``**5.**`` becomes ``5``. Applied to gold and answer
alike, only to text within the limits of `math_limits`, so every pattern here sees short input.
"""

import re
import unicodedata

from rlvr_dynamics.grading.number_words import number_of_words

# Decimal digits of every script: ５, ٥ and ५ are 5.
_DIGITS = [chr(code) for code in range(128, 0x1FBFA) if unicodedata.category(chr(code)) == "Nd"]
_CHARACTERS = str.maketrans(
    {
        **{digit: str(unicodedata.digit(digit)) for digit in _DIGITS},
        **{mark: f"^{{{power}}}" for power, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
        **{dash: "-" for dash in "−–－‐‑"},
        **{space: " " for space in "\u00a0\u2009\u202f\u3000"},
        **{"½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}"},
        **{"＋": "+", "．": ".", "，": ",", "（": "(", "）": ")", "％": "%", "⁄": "/"},
        **{"π": r"\pi ", "°": r"^\circ ", "×": r"\times ", "·": r"\cdot "},
        **{"÷": "/", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap "},
        **{"√": r"\sqrt", "∞": r"\infty ", "ℝ": r"\mathbb{R}", "⋅": r"\cdot ", "∗": "*"},
        **{"⟨": "(", "⟩": ")", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda "},
        **{"∅": r"\emptyset ", "±": r"\pm ", "∈": r"\in ", "≈": r"\approx ", "’": "'"},
    }
)
_BASES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
_REPLACEMENTS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\sqrt\s*(\d{2,}|[a-z])(?![\d{])", r"\\sqrt{\1}"),
        (r"\\(?:text|mathrm|mbox)\s*\{\s*\\?[$€£¥]\s*\}", ""),
        (r"\\?\$|[€£¥]", ""),
        (r"(?<!\\)\\[()\[\]]", " "),
        (r"\\(?:displaystyle|textstyle|qquad|quad|bigg?|Bigg?)(?![a-zA-Z])", " "),
        (r"\{\s*\\(?:rm|bf|it|sf)\s+([^{}]*)\}", r"\\text{\1}"),
        (r"\\(?:rm|bf|it|sf|small|large|Large|LARGE|huge|Huge|boldmath)(?![a-zA-Z])", " "),
        (r"\\(?:text)?color\s*\{[^{}]*\}", " "),
        (
            r"\\\\(?=(?:le|ge|leq|geq|ne|neq|frac|dfrac|sqrt|pi|cup|infty|text|cdot|times|left|right|in)(?![a-zA-Z]))"
            r"(?!.*\\begin)",
            r"\\",
        ),
        (
            r"(?:\\left\s*)?\\\{\s*\\begin\s*\{(?:array|aligned|matrix)\}(?:\s*\{[lcr| ]*\})?(.*?)"
            r"\\end\s*\{(?:array|aligned|matrix)\}(?:\s*\\right\s*\.)?",
            r"\\begin{cases}\1\\end{cases}",
        ),
        (r"\\(?:left|right)(?![a-zA-Z.])", ""),
        (r"\\langle(?![a-zA-Z])", "("),
        (r"\\rangle(?![a-zA-Z])", ")"),
        (r"(?<=[\w)}\]])\s*\*\*\s*(?=[\w({\\-])", "^"),
        (r"(?<![a-zA-Z\\])(?:np|numpy|math)\.(?=[a-z])", ""),
        (r"\\!\s*", ""),
        (r"\s*\{\s*,\s*\}", ","),
        (r"(?<=\d)(?:\\[,;: ]|~)\s*(?=\d{3}(?!\d))", ""),
        (r"(?<!\\)\\[,;: ]|~", " "),
        (r"\\(?:textbf|textrm|textit|textnormal|textsf|mbox)(?=\s*\{)", r"\\text"),
        (
            r"\\(?:mathrm|mathit|operatorname\*?)\s*\{\s*"
            r"((?:arc)?(?:sin|cos|tan)h?|cot|csc|ln|log|lcm|gcd)\s*\}",
            r"\\\1 ",
        ),
        (r"\\(?:mathrm|mathit)(?=\s*\{[^{}]{2,}\})", r"\\text"),
        (r"\\(?:mathrm|text)\s*\{\s*([ie])\s*\}", r"\1"),
        (r"\\(?:imath|mathbf\{i\})(?![a-zA-Z])", "i"),
        (r"\\(?:boldsymbol|bm|mathbf|underline|fbox|boxed|mathord)\s*\{([^{}]*)\}", r"\1"),
        (r"\\[lr]?vert(?![a-zA-Z])", "|"),
        (r"(?<![a-zA-Z\\])(\\text\s*\{\s*)?inf(?:inity)?(?![a-zA-Z])(?(1)\s*\})", r"\\infty "),
        (r"(?<=[)\]])\s*[U∪]\s*(?=[(\[])", r"\\cup "),
        (r"\\lbrace(?![a-zA-Z])", r"\\{"),
        (r"\\rbrace(?![a-zA-Z])", r"\\}"),
        (r"\\(?:dots|ldots|cdots|dotsc)(?![a-zA-Z])", r"\\ldots"),
        (r"\\ast(?![a-zA-Z])", "*"),
        (r"\\text\s*\{\s*\(?(-?\d+(?:\.\d+)?)\)?\s*\}", r"\1"),
        (r"\\text\s*\{\s*(-?\d[\d,]*(?:\.\d+)?)\s+([a-zA-Z][a-zA-Z ]*)\}$", r"\1 \\text{\2}"),
        (r"(?<=\d)\s*\(([a-zA-Z]{3,}(?: [a-zA-Z]+){0,3})\)$", r" \\text{\1}"),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)(?!\d)", r"\1{\2}"),
        (r"\\(?:varnothing|O)(?![a-zA-Z])", r"\\emptyset"),
        (r"\\([gl])e(?:q|qq|qslant)(?![a-zA-Z])", r"\\\1e"),
        (r"\\log\s*_\s*(?:\{\s*e\s*\}|e(?![a-zA-Z]))", r"\\ln "),
        (r"\\neq(?![a-zA-Z])|\\not\s*=", r"\\ne"),
        (r"\^\s*\{\s*\\circ\s*\}|\\degree(?:s)?(?![a-zA-Z])", r"^\\circ"),
        (r"(?<![a-zA-Z\\{])pi(?![a-zA-Z])", r"\\pi"),
        (r"(?<!\\log)_\s*(\d+)", r"_{\1}"),
        (r"\s+", " "),
    )
]
_BASE_WORD = re.compile(r"_\s*\{\s*(?:\\text\s*\{)?\s*(" + "|".join(_BASES) + r")\s*\}?\s*\}")
_DOTTED = re.compile(
    r"(?<=\.)(\d{0,20})\\dot\s*\{?(\d)\}?(?:(\d{0,20})\\dot\s*\{?(\d)\}?)?(?!\d)", re.ASCII
)
_REPEATING = re.compile(r"(?<![\d.])(\d{0,20})\.(\d{0,20})\\(?:overline|bar)\s*\{(\d{1,20})\}")
_DECIMAL_POWER = re.compile(r"\^\s*(?:\{\s*(-?\d{0,6}\.\d{1,6})\s*\}|(\d{0,6}\.\d{1,6}))")
_MORE = re.compile(r"(>|\\ge(?![a-zA-Z]))")
_LESS = re.compile(r"<|=|\\(?:le|lt|ne|text)(?![a-zA-Z])|,")
_EMPHASIS = re.compile(r"^\*{1,3}(?![*])(.*?)(?<![*])\*{1,3}$", re.DOTALL)
_LEADING = re.compile(
    r"^(?:=|\\approx(?![a-zA-Z])|approximately(?=\s*-?\d*\.\d)"
    r"|\\text\s*\{\s*(?:(?:so|thus|hence|the|final)\s+){0,3}answer\s*(?:is|:)?\s*\}:?"
    r"|(?:(?:the|final)\s+){0,2}answer\s*(?:is|:|=)(?=[\s\d$\\-]))\s*",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"[,;]?\s*\\text\s*\{\s*,?\s*(?:(?:because|since|so|as|hence|thus)\s[^{}]*|only\s*)\}$"
)
_PLAIN_TEXT = re.compile(r"^\\text\s*\{([^{}]*)\}$")
_DOLLARS = re.compile(r"^\\\$\s*(\d[\d,]*(?:\.\d+)?)$", re.ASCII)
_NO_SOLUTION = re.compile(r"(?:there (?:is|are) )?no (?:real )?solutions?|empty set", re.IGNORECASE)
_ALL_REALS = re.compile(r"(?:all )?(?:the )?real(?: numbers?|s)|all reals", re.IGNORECASE)
_APPROXIMATELY = re.compile(r"^\\approx(?![a-zA-Z])\s*")


def normalise(text: str) -> str:
    """Rewrite an answer into the spelling that the grader compares.

    Args:
        text: Gold or answer, within the limits of `math_limits`.
    """
    text = text.translate(_CHARACTERS)
    text = _DOLLARS.sub(r"\1\\text{ dollars}", _strip_wrapping(text))
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    text = _BASE_WORD.sub(lambda match: f"_{{{_BASES.index(match[1]) + 2}}}", text)
    text = _DOTTED.sub(r"\1\\overline{\2\3\4}", text)
    text = _REPEATING.sub(_repeating_as_fraction, text)
    text = _DECIMAL_POWER.sub(_decimal_power_as_fraction, text)
    return _in_digits(_rising(_strip_wrapping(_without_comment(text))))


def _without_comment(text: str) -> str:
    """Remove a leading "=" and an explanation at the end."""
    text = _LEADING.sub("", text.strip())
    return _REASON.sub("", text).rstrip("\\ ")


def _in_digits(text: str) -> str:
    """Replace number words by digits, and "all real numbers" or "no solution" by the symbol."""
    bare = _PLAIN_TEXT.sub(r"\1", text).strip()
    if not 2 < len(bare) < 200 or not bare[0].isalpha():
        return text
    if _ALL_REALS.fullmatch(bare):
        return r"\mathbb{R}"
    if _NO_SOLUTION.fullmatch(bare):
        return r"\emptyset"
    value = number_of_words(bare)
    return text if value is None else str(value)


def _strip_wrapping(text: str) -> str:
    """Remove surrounding spaces, emphasis, braces and final punctuation."""
    while True:
        before = text
        text = text.strip()
        emphasis = _EMPHASIS.match(text)
        if emphasis:
            text = emphasis[1]
        if text.endswith((".", ",", ";")) and not text.endswith(("..", "\\,", "\\;")):
            text = text[:-1]
        text = _APPROXIMATELY.sub("", text)
        if text.startswith("{") and _closing(text) == len(text) - 1:
            text = text[1:-1]
        if text == before:
            return text


def _closing(text: str) -> int:
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return position
    return -1


def _repeating_as_fraction(match: re.Match[str]) -> str:
    whole, fixed, repeated = match[1] or "0", match[2], match[3]
    # 0.1(6) = (16 - 1) / 90
    above = int(whole + fixed + repeated) - int(whole + fixed)
    below = (10 ** len(repeated) - 1) * 10 ** len(fixed)
    return f"\\frac{{{above}}}{{{below}}}"


def _decimal_power_as_fraction(match: re.Match[str]) -> str:
    digits = match[1] or match[2]
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    whole, _, part = digits.partition(".")
    return f"^{{{sign}\\frac{{{int(whole + part)}}}{{{10 ** len(part)}}}}}"


def _rising(text: str) -> str:
    """Turn a chain such as ``2 > x > 1`` into ``1 < x < 2``, the only order math-verify reads."""
    pieces = _MORE.split(text)
    if len(pieces) < 5 or _LESS.search(text):
        return text
    turned = {">": "<", r"\ge": r"\le"}
    return " ".join(turned.get(piece, piece.strip()) for piece in reversed(pieces))
