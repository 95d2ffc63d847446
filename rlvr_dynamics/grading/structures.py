r"""The shape of an answer: one value, a list, a point, a set, an interval, a matrix, a relation.

Text is split outside of brackets; nothing is computed. Ambiguous text is kept as written: ``(1,2)``
is two values in parentheses, which may be a point or an interval.
"""

import functools
import re
from dataclasses import dataclass

MAX_ITEMS = 60

_OPEN = {"(": ")", "[": "]", "{": "}"}
_SEPARATOR = re.compile(
    r"\s*[,;]?\s*(?:\\text\s*\{\s*(?P<word>,?\s*(?:and|or))\s*\}|(?<![a-zA-Z\\])(?P<plain>and|or)(?![a-zA-Z])"
    r"|\\(?P<sign>lor|land|vee|wedge)(?![a-zA-Z]))\s*"
)
_RELATION = re.compile(
    r"(?P<name>\\(?:le|lt|gt|ge|ne|in|approx|equiv|sim|implies|iff|to)(?![a-zA-Z])"
    r"|\\(?:Rightarrow|rightarrow|Leftrightarrow|Longrightarrow)(?![a-zA-Z])|<=|>=|!=|=|<|>)"
)
_CUP = re.compile(r"\\cup(?![a-zA-Z])")
_MATRIX = re.compile(
    r"\\begin\s*\{(?P<kind>[pbB]?matrix|smallmatrix|array|cases)\}(?:\s*\{[lcr| ]*\})?(?P<rows>.*)"
    r"\\end\s*\{(?P=kind)\}",
    re.DOTALL,
)
_ROW_END = re.compile(r"\\\\(?:\[[^\]]*\])?|\\cr")
# {x | x > 1}: a set given by a condition.
_BUILT = re.compile(
    r"[a-zA-Z](?:\s*\\in\s*(?:\\mathbb\s*\{\s*R\s*\}|\\R))?"
    r"\s*(?:\\mid(?![a-zA-Z])|\||:)\s*(.+)",
    re.DOTALL,
)
_SAME = {"<=": r"\le", ">=": r"\ge", "!=": r"\ne", r"\lt": "<", r"\gt": ">"}
_PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![a-zA-Z])")


@dataclass(frozen=True)
class Value:
    """One formula, number, quantity or word, not parsed further here."""

    text: str


@dataclass(frozen=True)
class Group:
    r"""Several answers.

    Attributes:
        brackets: ``""`` for a bare list, ``"()"``, ``"[)"`` ... as written, ``"{}"`` for a set,
            ``"or"`` for a list whose items are alternatives, ``"cup"`` for a union.
    """

    brackets: str
    items: "tuple[Shape, ...]"


@dataclass(frozen=True)
class Matrix:
    """A matrix or a column vector with at least one row."""

    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Relation:
    """A chain such as x = 5 or 1 < x <= 2, with one sign fewer than sides."""

    sides: "tuple[Shape, ...]"
    signs: tuple[str, ...]


Shape = Value | Group | Matrix | Relation


@functools.lru_cache(maxsize=8192)
def shape(text: str, *, thousands: bool = True) -> Shape | None:
    r"""Return the shape of a normalised text, None if brackets do not match.

    Args:
        text: From `answer_text.normalise`.
        thousands: Whether 1,234 is one number; otherwise it is two.
    """
    try:
        return _shape(text.strip(), thousands)
    except ValueError:
        return None


def _shape(text: str, thousands: bool) -> Shape:
    depths = _depths(text)
    separated = _split(text, depths, thousands)
    if separated is not None:
        kind, pieces = separated
        if len(pieces) > MAX_ITEMS or any(not piece.strip() for piece in pieces):
            raise ValueError
        items = tuple(_shape(piece.strip(), thousands) for piece in pieces)
        return Group("or" if kind == "or" else "", items)
    relation = _relation(text, depths, thousands)
    if relation is not None:
        return relation
    union = _pieces(text, [m.span() for m in _CUP.finditer(text) if depths[m.start()] == 0])
    if len(union) > 1:
        return Group("cup", tuple(_shape(piece.strip(), thousands) for piece in union))
    if _PLUS_MINUS.search(text) and "\\pm" in text:
        return Group("", tuple(Value(_signed(text, sign)) for sign in "+-"))
    matrix = _MATRIX.fullmatch(
        text.removeprefix("(").removesuffix(")").removeprefix("[").removesuffix("]").strip()
    )
    if matrix is not None:
        if matrix["kind"] == "cases" and "&" not in matrix["rows"]:
            return _system(matrix["rows"], thousands)
        return _matrix(matrix["rows"])
    return _bracketed(text, thousands) or Value(text)


def _signed(text: str, sign: str) -> str:
    other = "-" if sign == "+" else "+"
    text = re.sub(r"\\pm(?![a-zA-Z])\s*", sign, text)
    return re.sub(r"\\mp(?![a-zA-Z])\s*", other, text).lstrip("+")


def _system(rows: str, thousands: bool) -> Group:
    """Return the lines of a system of equations, which hold simultaneously."""
    lines = [line.strip().rstrip(",;. ") for line in _ROW_END.split(rows)]
    return Group("", tuple(_shape(line, thousands) for line in lines if line))


def _matrix(rows: str) -> Matrix:
    cells = tuple(
        tuple(cell.strip() for cell in row.split("&"))
        for row in _ROW_END.split(rows.replace("\\hline", ""))
        if row.strip()
    )
    if not cells or len({len(row) for row in cells}) != 1:
        raise ValueError
    return Matrix(cells)


def _bracketed(text: str, thousands: bool) -> Shape | None:
    if text.startswith("\\{") and text.endswith("\\}"):
        inside = text[2:-2].strip()
        if "\\}" in inside and not _matching(inside):
            return None
        return _set(inside, thousands)
    if not text or text[0] not in "([" or text[-1] not in ")]":
        return None
    inside = text[1:-1].strip()
    if not _matching(inside):
        return None
    # (20,100) is a point; 20,100 alone is one number.
    depths = _depths(inside)
    separated = _split(inside, depths, thousands) or _split(inside, depths, thousands=False)
    if separated is None:
        return None
    pieces = separated[1]
    if any(not piece.strip() for piece in pieces):
        raise ValueError
    return Group(text[0] + text[-1], tuple(_shape(piece.strip(), thousands) for piece in pieces))


def _set(inside: str, thousands: bool) -> Shape | None:
    if not inside:
        return Group("{}", ())
    built = _BUILT.fullmatch(inside)
    if built:
        condition = _shape(built[1].strip(), thousands)
        return condition if isinstance(condition, (Relation, Group)) else None
    if re.search(r"\\mid(?![a-zA-Z])|:", inside):
        return None
    whole = _shape(inside, thousands)
    if isinstance(whole, Group) and whole.brackets in ("", "or"):
        return Group("{}", whole.items)
    return Group("{}", (whole,))


def _matching(inside: str) -> bool:
    r"""Whether the brackets inside are balanced: those of ``1,2),(3,4`` are not."""
    try:
        _depths(inside)
    except ValueError:
        return False
    return True


def _depths(text: str) -> list[int]:
    r"""Return the bracket depth at each character; intervals may close with either bracket.

    Raises:
        ValueError: A bracket is not closed, or closed by one of another kind.
    """
    stack: list[str] = []
    depths = []
    escaped = False
    begins = 0
    for position, character in enumerate(text):
        if escaped:
            escaped = False
            depths.append(len(stack) + begins)
            if character == "{":
                stack.append("\\}")
            elif character == "}" and (not stack or stack.pop() != "\\}"):
                raise ValueError
            continue
        if character == "\\":
            begins += text.startswith("\\begin", position) - text.startswith("\\end", position)
            escaped = True
            depths.append(len(stack) + begins)
            continue
        if character in _OPEN:
            depths.append(len(stack) + begins)
            stack.append(_OPEN[character])
            continue
        if character in ")]}":
            wanted = stack.pop() if stack else ""
            if wanted != character and {wanted, character} != {")", "]"}:
                raise ValueError
        depths.append(len(stack) + begins)
    if stack:
        raise ValueError
    return depths


def _split(text: str, depths: list[int], thousands: bool) -> tuple[str, list[str]] | None:
    """Split at commas, semicolons, "and" and "or" outside all brackets."""
    cuts: list[tuple[int, int]] = []
    kinds: set[str] = set()
    for match in _SEPARATOR.finditer(text):
        place = match.end() - 1 if match.end() > match.start() else match.start()
        start = next(i for i in range(match.start(), match.end()) if not text[i].isspace())
        if depths[start] == 0 and depths[min(place, len(text) - 1)] == 0:
            cuts.append(match.span())
            word = (match["word"] or match["plain"] or match["sign"]).strip(", ")
            kinds.add("or" if word in ("or", "lor", "vee") else "and")
    for i, character in enumerate(text):
        if character in ",;" and depths[i] == 0 and not any(a <= i < b for a, b in cuts):
            if thousands and character == "," and _is_thousand(text, i):
                continue
            cuts.append((i, i + 1))
    if not cuts:
        return None
    rows = [cut for cut in cuts if text[cut[0]] == ";"]
    if not rows and _is_table(_pieces(text, sorted(c for c in cuts if text[c[0]] != ","))):
        rows = [cut for cut in cuts if text[cut[0]] != ","]
    if rows and len(rows) < len(cuts):
        cuts = rows  # x=1, y=2; x=3, y=4
    return ("or" if kinds == {"or"} else "and"), _pieces(text, sorted(cuts))


def _is_table(rows: list[str]) -> bool:
    """Whether every row assigns values to the same names: x=1, y=2 and x=3, y=4."""
    cells = [[cell.split("=") for cell in row.split(",")] for row in rows]
    if len(cells[0]) < 2 or any(len(cell) != 2 for row in cells for cell in row):
        return False
    return len({tuple(cell[0].strip() for cell in row) for row in cells}) == 1


def _is_thousand(text: str, comma: int) -> bool:
    after, before = text[comma + 1 : comma + 5], re.search(r"\d+$", text[:comma])
    three = len(after) >= 3 and after[:3].isdigit() and not after[3:4].isdigit()
    if not three or before is None:
        return False
    earlier = text[: before.start()]
    return len(before[0]) <= 3 and (before[0][0] != "0" or earlier.endswith(","))


def _pieces(text: str, cuts: list[tuple[int, int]]) -> list[str]:
    pieces, start = [], 0
    for begin, end in cuts:
        pieces.append(text[start:begin])
        start = end
    return [*pieces, text[start:]]


def _relation(text: str, depths: list[int], thousands: bool) -> Relation | None:
    found = [m for m in _RELATION.finditer(text) if depths[m.start()] == 0]
    if not found:
        return None
    sides = [side.strip() for side in _pieces(text, [m.span() for m in found])]
    if not sides[-1] or any(not side for side in sides[1:]):
        raise ValueError
    signs = tuple(_SAME.get(m["name"], m["name"]) for m in found)
    if not sides[0]:
        raise ValueError
    return Relation(tuple(_shape(side, thousands) for side in sides), signs)
