r"""Grades answers: which are correct, and the status of every other.

The kinds of question:

* ``integer``: the last ``\boxed{...}`` must hold exactly the gold integer. Pure Python, light
  enough for a training reward; nothing outside the box counts.
* ``math``: the last box, else the text after "answer is", else the last number. Numbers, bases,
  percentages and units are compared exactly (`exact_rules`), everything else by math-verify with
  static limits and in a process that can be killed (`math_pool`).
* ``letter``: multiple choice, A to D (`letters.chosen_letter`).
* ``reasoning_gym``: the gold is the JSON of a task; its own scorer decides, in the same processes
  (`reasoning_tasks`).

Text written by a model is compared or parsed, never evaluated.
"""

import ast
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.extraction import (
    MAX_ANSWER_CHARS,
    Extracted,
    boxed_answer,
    has_box,
)
from rlvr_dynamics.grading.letters import chosen_letter
from rlvr_dynamics.grading.prose import mathematical_answer
from rlvr_dynamics.grading.reasoning_tasks import task_answer
from rlvr_dynamics.grading.turns import final_part

STATUSES = ("correct", "incorrect", "no_answer", "truncated", "limit", "timeout", "crash")
KINDS = ("integer", "math", "letter", "reasoning_gym")
MAX_DIGITS = 400
TIME_LIMIT = 3.0

_EXTRACTION = ("grade", "extraction", "turns", "prose")
_COMPARISON = """
    same_answer structures relations exact_rules closed_form plain_numbers units unit_table
    formula_reader formula_tokens formula_values formula_exact answer_text number_words gold_text
    question_text math_limits math_pool math_worker
"""
_RULES = {
    "integer": ("grade", "extraction", "turns", "question_text"),
    "letter": (*_EXTRACTION, "letters"),
    "math": (*_EXTRACTION, *_COMPARISON.split()),
    "reasoning_gym": (*_EXTRACTION, "reasoning_tasks", "math_pool", "math_worker"),
}
_LIBRARIES = {
    "math": ("math-verify", "latex2sympy2_extended", "sympy", "mpmath", "antlr4-python3-runtime"),
    "reasoning_gym": ("reasoning_gym", "sympy"),
}

# Kinds whose answers may be copied from the question; every question contains letters.
_COPYABLE = ("integer", "math")

_LETTER = re.compile(r"[\s(]*([A-D])[\s).]*")
_INTEGER = re.compile(r"([+-]?)[ \t]*([0-9]+)", re.ASCII)


@dataclass(frozen=True)
class Grade:
    """The verdict on one response.

    Attributes:
        status: One of `STATUSES`.
        answer: The extracted answer, None if there is none (or it is over the limit).
        score: 1.0 if correct, else 0.0.
        copied: Whether the answer occurs verbatim in the question; False if unknown.
    """

    status: str
    answer: str | None
    score: float
    copied: bool = False


def verdict(status: str, answer: str | None = None) -> Grade:
    """Build a Grade; the score follows from the status."""
    return Grade(status, answer, 1.0 if status == "correct" else 0.0)


@functools.cache
def grader_version(kind: str) -> str:
    """Return the version stored with a score: a digest of our rules and the library versions.

    Raises:
        UserError: The kind is unknown, or a library that it needs is not installed.
    """
    _known(kind)
    digest = hashlib.sha256()
    for module in _RULES[kind]:
        digest.update(_rules_in(Path(__file__).parent / f"{module}.py"))
    libraries = [f"{name}={_version(name)}" for name in _LIBRARIES.get(kind, ())]
    return " ".join([f"{kind}/{digest.hexdigest()[:12]}", *libraries])


def _rules_in(path: Path) -> bytes:
    """Return a module's code without comments, docstrings and imports, which cannot affect it."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            words = ast.get_docstring(node, clean=False) is not None
            node.body = [
                each
                for each in node.body[words:]
                if not isinstance(each, ast.Import | ast.ImportFrom)
            ]
    # Python 3.12 added this field; a version of Python must not change a version of ours.
    return ast.dump(tree).replace(", type_params=[]", "").encode()


def _known(kind: str) -> None:
    if kind not in KINDS:
        raise UserError(f"unknown kind of answer {kind!r}", way_out=f"one of {', '.join(KINDS)}")


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError as error:
        raise UserError(
            f"{library} is not installed", way_out=f"pip install {library.replace('_', '-')}"
        ) from error


def grade(gold: str, response: str, kind: str = "math", question: str | None = None) -> Grade:
    r"""Grade one response.

    Args:
        gold: The gold answer: an integer, LaTeX or plain text, a letter or the JSON of a task.
        response: The model's response; any text of any length.
        kind: One of `KINDS`.
        question: The prompt, used to recognise an answer that only repeats the question.

    Raises:
        UserError: The gold answer cannot be used, or the kind is unknown.
    """
    questions = None if question is None else [question]
    return grade_many([(gold, response)], kind=kind, questions=questions)[0]


def grade_many(
    pairs: Iterable[tuple[str, str]],
    kind: str = "math",
    *,
    time_limit: float = TIME_LIMIT,
    questions: Sequence[str] | None = None,
) -> list[Grade]:
    """Grade many responses.

    Args:
        pairs: (gold, response) pairs.
        kind: One of `KINDS`.
        time_limit: CPU seconds for one answer of kind ``math`` or ``reasoning_gym``.
        questions: The prompt of each pair, if known.

    Returns:
        One Grade per pair, in the same order.

    Raises:
        UserError: A gold answer cannot be used, or the kind is unknown.
    """
    _known(kind)
    pairs = list(pairs)
    if kind == "integer":
        grades = [_grade_integer(gold, response) for gold, response in pairs]
    elif kind == "letter":
        grades = [_grade_letter(gold, response) for gold, response in pairs]
    else:
        grades = _grade_in_pool(kind, pairs, time_limit)
    if questions is None or kind not in _COPYABLE:
        return grades
    golds = [str(gold) for gold, _ in pairs]
    return [_beside_question(kind, *each) for each in zip(golds, grades, questions, strict=True)]


def _beside_question(kind: str, gold: str, given: Grade, question: str) -> Grade:
    from rlvr_dynamics.grading.question_text import restates, stands_in

    if given.answer is None or not stands_in(given.answer, question):
        return given
    again = kind == "math" and given.status == "correct" and restates(gold, given.answer, question)
    found = verdict("incorrect", given.answer) if again else given
    return replace(found, copied=True)


def grade_finished(
    pairs: Sequence[tuple[str, str]],
    finish_reasons: Sequence[str],
    kind: str,
    questions: Sequence[str] | None = None,
) -> list[Grade]:
    """Grade generated responses; one cut off by the token limit without a box is `truncated`.

    Args:
        pairs: (gold, response) pairs.
        finish_reasons: vLLM's reason per response; ``length`` means cut off.
        kind: One of `KINDS`.
        questions: The prompt of each pair, if known.
    """
    cut = [
        reason == "length" and not has_box(response)
        for (_, response), reason in zip(pairs, finish_reasons, strict=True)
    ]
    whole = [pair for pair, is_cut in zip(pairs, cut, strict=True) if not is_cut]
    if questions is not None:
        questions = [q for q, is_cut in zip(questions, cut, strict=True) if not is_cut]
    grades = iter(grade_many(whole, kind=kind, questions=questions))
    return [verdict("truncated") if is_cut else next(grades) for is_cut in cut]


def check_golds(golds: Iterable[str], kind: str) -> set[str]:
    """Check that every gold answer is graded correct against itself.

    Returns:
        The golds of kind ``math`` that algebra cannot read and that are compared as text.

    Raises:
        UserError: A gold answer is not; the message names the first.
    """
    unique = [str(gold) for gold in dict.fromkeys(golds)]
    grades = grade_many([(gold, f"\\boxed{{{_itself(gold, kind)}}}") for gold in unique], kind=kind)
    for gold, given in zip(unique, grades, strict=True):
        if given.status != "correct":
            raise bad_gold(gold, kind)
    return _as_text(unique) if kind == "math" else set()


def _as_text(golds: list[str]) -> set[str]:
    from rlvr_dynamics.grading.math_pool import golds_as_text

    return golds_as_text(golds, TIME_LIMIT)


def _itself(gold: str, kind: str) -> str:
    return json.loads(gold)["answer"] if kind == "reasoning_gym" else gold


def bad_gold(gold: str, kind: str) -> UserError:
    """Return the error for a gold answer that cannot be used."""
    return UserError(
        f"gold answer {gold[:80]!r} cannot be used as {kind}",
        way_out="correct the benchmark or leave the question out",
    )


def _integer(text: str) -> int | None:
    match = _INTEGER.fullmatch(text.strip(" \t\n"))
    return int(match[1] + match[2]) if match else None


def _grade_integer(gold: str, response: str) -> Grade:
    right = _integer(str(gold)) if len(str(gold)) <= MAX_DIGITS else None
    if right is None:
        raise bad_gold(str(gold), "integer")
    box = boxed_answer(final_part(response))
    # int() is quadratic in the number of digits, so check the length first.
    if box.too_long or (box.text is not None and len(box.text) > MAX_DIGITS):
        return verdict("limit")
    if box.text is None:
        return verdict("no_answer")
    return verdict("correct" if _integer(box.text) == right else "incorrect", box.text)


def _grade_letter(gold: str, response: str) -> Grade:
    right = _LETTER.fullmatch(str(gold))
    if right is None:
        raise bad_gold(str(gold), "letter")
    found = chosen_letter(response)
    if found.too_long:
        return verdict("limit")
    if found.text is None:
        return verdict("no_answer")
    return verdict("correct" if found.text == right[1] else "incorrect", found.text)


def _whole_or_part(gold: str, response: str) -> Extracted:
    """Return the answer of a response, or all of it if it is exactly the gold answer."""
    if len(response) <= 2 * MAX_ANSWER_CHARS and final_part(response).strip() == gold.strip():
        return Extracted(gold.strip() or None)
    return mathematical_answer(response)


def _grade_in_pool(kind: str, pairs: list[tuple[str, str]], time_limit: float) -> list[Grade]:
    # Imported here because the light kinds need neither a pool nor computer algebra.
    from rlvr_dynamics.grading.math_pool import compare_many, run_in_pool
    from rlvr_dynamics.grading.math_worker import BAD_GOLD

    if kind == "math":
        extracted = [_whole_or_part(str(gold), response) for gold, response in pairs]
    else:
        grader_version(kind)
        extracted = [task_answer(response) for _, response in pairs]
    compared = [(str(gold), found.text) for (gold, _), found in zip(pairs, extracted, strict=True)]
    if kind == "math":
        statuses = compare_many(compared, time_limit=time_limit)
    else:
        done = run_in_pool(kind, list(dict.fromkeys(compared)), time_limit)
        statuses = [done[pair] for pair in compared]
    grades = []
    for (gold, _), found, status in zip(pairs, extracted, statuses, strict=True):
        if status == BAD_GOLD:
            raise bad_gold(str(gold), kind)
        grades.append(verdict("limit" if found.too_long else status, found.text))
    return grades
