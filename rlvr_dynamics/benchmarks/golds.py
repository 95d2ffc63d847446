r"""The right answers: how a table's column becomes one, and whether the grader can work with it."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.scoring.extraction import last_boxed
from rlvr_dynamics.scoring.grading import KINDS, check_golds

SHORT = 300  # characters; a text without a box that is longer is a solution, not an answer
SHOWN = 20

_INTEGER = re.compile(r"[+-]?\d+(?:\.0*)?", re.ASCII)
_DOLLAR = re.compile(r"(?<!\\)\$")
_BARE_BOX = re.compile(r"\\(?:boxed|fbox) +([^$]+?)\s*\$")


def _first(value: Any) -> Any:
    """First of several equivalent answers (OlympiadBench keeps a list)."""
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
    """OlympiadBench: answers stand between dollar signs, several of them each in its own."""
    return _DOLLAR.sub("", str(value))


def _integer(value: Any) -> str:
    """AMC writes 27.0, AIME 025, GSM8K 1,234: the integer in digits alone."""
    text = str(value).strip().replace(",", "")
    if not _INTEGER.fullmatch(text):
        raise ValueError("is not an integer")
    return str(int(text.partition(".")[0]))


RULES: dict[str, Callable[[Any], Any]] = {
    "first": _first,
    "after_hashes": _after_hashes,
    "boxed": _boxed,
    "dollars": _dollars,
    "integer": _integer,
}


def gold_answer(value: Any, rules: Sequence[str]) -> str:
    """Return the right answer that a table's cell holds.

    Args:
        value: The cell: text, a number or a list.
        rules: Names in `RULES`, applied one after the other.

    Raises:
        ValueError: A rule does not apply, or nothing is left; the text says what is wrong.
    """
    for rule in rules:
        value = RULES[rule](value)
    answer = "" if value is None else str(value).strip()
    if not answer:
        raise ValueError("is empty")
    return answer


def ungradable(golds: Sequence[tuple[str, str]], kind: str) -> list[str]:
    """Return the ids of the right answers that are not graded correct against themselves.

    Args:
        golds: (question id, right answer) each.
        kind: Kind of answer, one of the grader's.

    Raises:
        UserError: The grader does not know the kind.
    """
    if kind not in KINDS:
        raise UserError(f"unknown kind of answer {kind!r}", way_out=f"one of {', '.join(KINDS)}")
    try:
        check_golds([gold for _, gold in golds], kind)
    except UserError:
        if len(golds) == 1:
            return [golds[0][0]]
        half = len(golds) // 2
        return ungradable(golds[:half], kind) + ungradable(golds[half:], kind)
    return []


def bad_golds(key: str, kind: str, problems: dict[str, str]) -> UserError:
    """Return the error that names every unusable answer and how to leave them out.

    Args:
        key: Where the table stands in the configuration, such as ``benchmark.math500``.
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
