r"""Gold answers: extracts them from a table's column and checks that the grader can use them."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.extraction import last_boxed
from rlvr_dynamics.grading.grade import KINDS, MAX_DIGITS, check_golds

SHORT = 300  # characters; a longer text without a box is a solution, not an answer
SHOWN = 20

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[+-]?\d+(?:\.0*)?", re.ASCII)
_DOLLAR = re.compile(r"(?<!\\)\$")
_BARE_BOX = re.compile(r"\\(?:boxed|fbox) +([^$]+?)\s*\$")


def _first(value: Any) -> Any:
    """Return the first of several equivalent answers (OlympiadBench stores a list)."""
    if isinstance(value, (list, tuple)):
        return value[0] if value else ""
    return value


def _after_hashes(value: Any) -> str:
    """GSM8K: the answer follows ``####`` at the end of the solution."""
    _, marker, answer = str(value).rpartition("####")
    if not marker:
        raise ValueError("has no ####")
    return answer


def _boxed(value: Any) -> str:
    r"""MATH: the last ``\boxed{...}`` of the solution; a short text without a box is the answer."""
    text = str(value)
    box = last_boxed(text.replace("\\fbox{", "\\boxed{"))
    if box.text is not None:
        return box.text
    bare = _BARE_BOX.findall(text)
    if bare:
        return bare[-1]
    if "\\boxed" in text or "\n" in text.strip() or len(text) > SHORT:
        raise ValueError("has no \\boxed{...}")
    return text


def _dollars(value: Any) -> str:
    """OlympiadBench: each answer is enclosed in its own dollar signs."""
    return _DOLLAR.sub("", str(value))


def _integer(value: Any) -> str:
    """Write integers such as AMC's 27.0, AIME's 025, GSM8K's 1,234 in digits; keep other text."""
    text = str(value).strip()
    digits = text.replace(",", "")
    if len(digits) > MAX_DIGITS or not _INTEGER.fullmatch(digits):
        return text
    return str(int(digits.partition(".")[0]))


RULES: dict[str, Callable[[Any], Any]] = {
    "first": _first,
    "after_hashes": _after_hashes,
    "boxed": _boxed,
    "dollars": _dollars,
    "integer": _integer,
}


def gold_answer(value: Any, rules: Sequence[str]) -> str:
    """Return the gold answer from a table's cell.

    Args:
        value: The cell: text, a number or a list.
        rules: Names in `RULES`, applied in order.

    Raises:
        ValueError: A rule does not apply, or nothing is left; the message says what is wrong.
    """
    for rule in rules:
        value = RULES[rule](value) if not _is_missing(value) else value
    return cell_text(value)


def cell_text(value: Any) -> str:
    """Return the text of a cell without surrounding spaces.

    Raises:
        ValueError: The cell is empty or not text; the message says what is wrong.
    """
    if _is_missing(value):
        raise ValueError("is empty")
    if isinstance(value, (list, tuple, dict, set, bytes)):
        raise ValueError(f"is a {type(value).__name__}, not a text")
    text = str(value).strip()
    if _HALF_CHARACTER.search(text):
        raise ValueError("holds half a character (a lone surrogate)")
    return text


def _is_missing(value: Any) -> bool:
    """Whether a cell is empty: no text, or a table reader's value for a missing one."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or not str(value).strip()


@dataclass(frozen=True)
class Checked:
    """The grader's verdict on gold answers.

    Attributes:
        unusable: Ids of answers that are not graded correct against themselves.
        as_text: Ids of answers that algebra cannot read and that are compared as text.
    """

    unusable: list[str]
    as_text: list[str]


def check(golds: Sequence[tuple[str, str]], kind: str) -> Checked:
    """Check every gold answer with the grader.

    Args:
        golds: (question id, gold answer) pairs.
        kind: One of the grader's kinds of answer.

    Raises:
        UserError: The grader does not know the kind.
    """
    if kind not in KINDS:
        raise UserError(f"unknown kind of answer {kind!r}", way_out=f"one of {', '.join(KINDS)}")
    try:
        as_text = check_golds([gold for _, gold in golds], kind)
    except UserError:
        if len(golds) == 1:
            return Checked([golds[0][0]], [])
        half = len(golds) // 2
        first, second = check(golds[:half], kind), check(golds[half:], kind)
        return Checked(first.unusable + second.unusable, first.as_text + second.as_text)
    return Checked([], [name for name, gold in golds if gold in as_text])


def bad_golds(key: str, kind: str, problems: dict[str, str]) -> UserError:
    """Return an error that names every unusable answer and how to leave them out.

    Args:
        key: Key of the table in the configuration, such as ``benchmark.math500``.
        kind: Kind of answer.
        problems: Question id -> what is wrong with its answer.
    """
    ids = list(problems)
    told = "; ".join(f"{name} {problems[name]}" for name in ids[:3])
    more = f"; and {len(ids) - 3} more" if len(ids) > 3 else ""
    listed = ",".join(ids[:SHOWN]) + (f", and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
    return UserError(
        f"{key}: {len(ids)} gold answer(s) cannot be used as {kind}: {told}{more}",
        way_out=f"correct the table or its extract rules, or leave the questions out: "
        f"{key}.exceptions=[{listed}]",
    )
