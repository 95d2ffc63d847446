r"""What counts as a correct answer, and the status of every answer that does not.

Two kinds of question:

* ``integer``: the last ``\boxed{...}`` must hold exactly the gold integer. Pure Python, light
  enough for a training reward; nothing outside the box counts.
* ``math``: math-verify decides whether two expressions are equal, behind static limits and in a
  process that can be killed (see `math_pool`).

Text written by a model is compared or parsed, never evaluated.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.scoring.extraction import has_box, last_boxed, mathematical_answer

STATUSES = ("correct", "incorrect", "no_answer", "truncated", "limit", "timeout", "crash")
KINDS = ("integer", "math")
MAX_DIGITS = 400
_RULES_VERSION = 1

_INTEGER = re.compile(r"([+-]?)[ \t]*([0-9]+)", re.ASCII)


@dataclass(frozen=True)
class Grade:
    """The verdict on one response.

    Attributes:
        status: One of `STATUSES`.
        answer: The answer as extracted, None if there is none (or it is over the limit).
        score: 1.0 if correct, else 0.0.
    """

    status: str
    answer: str | None
    score: float


def verdict(status: str, answer: str | None = None) -> Grade:
    """Build a Grade; the score follows from the status."""
    return Grade(status, answer, 1.0 if status == "correct" else 0.0)


def grader_version(kind: str) -> str:
    """Return what a stored score must name: our rules and the libraries that decide."""
    if kind == "integer":
        return f"integer/{_RULES_VERSION}"
    libraries = ("math-verify", "latex2sympy2_extended", "sympy")
    return f"math/{_RULES_VERSION} " + " ".join(f"{name}={version(name)}" for name in libraries)


def grade(gold: str, response: str, kind: str = "math") -> Grade:
    r"""Grade one response.

    Args:
        gold: The right answer (for ``integer`` an integer, for ``math`` LaTeX or plain text).
        response: What the model wrote; any text of any length.
        kind: ``integer`` or ``math``.

    Raises:
        UserError: The gold answer cannot be parsed, or the kind is unknown.
    """
    return grade_many([(gold, response)], kind=kind)[0]


def grade_many(
    pairs: Iterable[tuple[str, str]], kind: str = "math", *, time_limit: float = 5.0
) -> list[Grade]:
    """Grade many responses.

    Args:
        pairs: (gold, response) each.
        kind: ``integer`` or ``math``.
        time_limit: Seconds that one answer of kind ``math`` may take.

    Returns:
        One Grade per pair, in their order.

    Raises:
        UserError: A gold answer cannot be parsed, or the kind is unknown.
    """
    if kind == "integer":
        return [_grade_integer(gold, response) for gold, response in pairs]
    if kind == "math":
        return _grade_math(list(pairs), time_limit)
    raise UserError(f"unknown kind of answer {kind!r}", way_out=f"one of {', '.join(KINDS)}")


def grade_finished(
    pairs: Sequence[tuple[str, str]], finish_reasons: Sequence[str], kind: str
) -> list[Grade]:
    """Grade generated responses: cut off by the token limit and without a box is `truncated`.

    Args:
        pairs: (gold, response) each.
        finish_reasons: vLLM's reason per response; ``length`` means cut off.
        kind: ``integer`` or ``math``.
    """
    cut = [
        reason == "length" and not has_box(response)
        for (_, response), reason in zip(pairs, finish_reasons, strict=True)
    ]
    whole = [pair for pair, is_cut in zip(pairs, cut, strict=True) if not is_cut]
    grades = iter(grade_many(whole, kind=kind))
    return [verdict("truncated") if is_cut else next(grades) for is_cut in cut]


def check_golds(golds: Iterable[str], kind: str) -> None:
    """Make sure that every gold answer is graded correct against itself.

    Raises:
        UserError: Names the first gold answer for which this is not so.
    """
    unique = list(dict.fromkeys(golds))
    grades = grade_many([(gold, f"\\boxed{{{gold}}}") for gold in unique], kind=kind)
    for gold, given in zip(unique, grades, strict=True):
        if given.status != "correct":
            raise bad_gold(gold, kind)


def bad_gold(gold: str, kind: str) -> UserError:
    """Return the error for a gold answer that cannot be parsed."""
    return UserError(
        f"gold answer {gold[:80]!r} cannot be parsed as {kind}",
        way_out="correct the benchmark or leave the question out",
    )


def _integer(text: str) -> int | None:
    match = _INTEGER.fullmatch(text.strip(" \t\n"))
    return int(match[1] + match[2]) if match else None


def _grade_integer(gold: str, response: str) -> Grade:
    right = _integer(str(gold)) if len(str(gold)) <= MAX_DIGITS else None
    if right is None:
        raise bad_gold(str(gold), "integer")
    box = last_boxed(response)
    # int() is quadratic in the number of digits, hence the limit before it.
    if box.too_long or (box.text is not None and len(box.text) > MAX_DIGITS):
        return verdict("limit")
    if box.text is None:
        return verdict("no_answer")
    return verdict("correct" if _integer(box.text) == right else "incorrect", box.text)


def _grade_math(pairs: list[tuple[str, str]], time_limit: float) -> list[Grade]:
    from rlvr_dynamics.scoring.math_pool import compare_many
    from rlvr_dynamics.scoring.math_worker import BAD_GOLD

    extracted = [mathematical_answer(response) for _, response in pairs]
    statuses = compare_many(
        [(str(gold), found.text) for (gold, _), found in zip(pairs, extracted, strict=True)],
        time_limit=time_limit,
    )
    grades = []
    for (gold, _), found, status in zip(pairs, extracted, statuses, strict=True):
        if status == BAD_GOLD:
            raise bad_gold(str(gold), "math")
        grades.append(verdict("limit" if found.too_long else status, found.text))
    return grades
