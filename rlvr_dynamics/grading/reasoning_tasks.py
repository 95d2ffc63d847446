"""Grades reasoning-gym tasks with its own scorer, behind limits on the scorer's input.

The scorer's code is trusted, the answer is not. Only families whose scorer was reviewed are
allowed: knights_knaves, spell_backward and number_sorting compare strings or JSON; countdown passes
its answer to sympy's ``parse_expr``, which evaluates Python, so it only gets plain integer
arithmetic.

Source: https://github.com/open-thought/reasoning-gym, version 0.1.25.
"""

import functools
import json
import re
from typing import Any

from rlvr_dynamics.grading.extraction import (
    MAX_ANSWER_CHARS,
    NOTHING,
    TAIL_CHARS,
    Extracted,
    boxed_answer,
)
from rlvr_dynamics.grading.prose import after_phrase
from rlvr_dynamics.grading.turns import final_part

FAMILIES = ("knights_knaves", "countdown", "spell_backward", "number_sorting")
MAX_ARITHMETIC_CHARS = 200

_TAGGED = re.compile(r"<answer>(.{0,1000}?)</answer>", re.DOTALL)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf)\s*\{([^{}]*)\}")
_ARITHMETIC = re.compile(r"[0-9+\-*/() ]+", re.ASCII)
# Powers, floor divisions, calls such as 3(4) and long integers are not allowed in a countdown.
_FORBIDDEN = re.compile(r"\*\s*\*|/\s*/|[0-9)]\s*\(|\)\s*[0-9]|[0-9]\s+[0-9]|[0-9]{7}", re.ASCII)
_LATEX_SIGNS = {r"\times": "*", r"\cdot": "*", r"\div": "/", "×": "*", "÷": "/", "−": "-"}


def task_of(gold: str) -> dict[str, Any] | None:
    """Return the task's entry, None if `gold` is not the JSON of a known family.

    Args:
        gold: JSON object with ``answer`` and ``metadata``; ``metadata.source_dataset`` names the
            family.
    """
    try:
        entry = json.loads(gold)
    except ValueError:
        return None
    metadata = entry.get("metadata") if isinstance(entry, dict) else None
    if not isinstance(metadata, dict) or metadata.get("source_dataset") not in FAMILIES:
        return None
    return entry if isinstance(entry.get("answer"), str) and entry["answer"] else None


def task_answer(response: str) -> Extracted:
    r"""Return the last ``\boxed{}``, else the last ``<answer>``, else what follows "answer is"."""
    response = final_part(response)
    boxed = boxed_answer(response)
    if boxed.too_long or (boxed.boxed and boxed.text is None):
        return boxed
    if boxed.text is not None:
        return Extracted(_TEXT.sub(r"\1", boxed.text).strip() or None)
    tail = response[-(TAIL_CHARS + MAX_ANSWER_CHARS) :]
    opening = tail.rfind("<answer>")
    if opening >= 0:
        tagged = _TAGGED.match(tail, opening)
        return Extracted(tagged[1].strip() or None) if tagged else NOTHING
    return after_phrase(response)


def arithmetic(answer: str) -> str | None:
    """Return the answer if it is plain integer arithmetic, else None."""
    for sign, plain in _LATEX_SIGNS.items():
        answer = answer.replace(sign, plain)
    answer = " ".join(answer.strip().strip("$").split())
    if len(answer) > MAX_ARITHMETIC_CHARS or not _ARITHMETIC.fullmatch(answer):
        return None
    return None if _FORBIDDEN.search(answer) else answer


@functools.lru_cache(maxsize=len(FAMILIES))
def scorer(family: str) -> Any:
    """Return a family's reasoning-gym dataset; only its ``score_answer`` is used."""
    from reasoning_gym import create_dataset

    return create_dataset(family, size=1, seed=0)


def is_solved(gold: str, answer: str) -> bool | None:
    """Whether reasoning-gym gives the answer its full score; None for an unknown task.

    Runs in a worker of the pool.
    """
    entry = task_of(gold)
    if entry is None:
        return None
    family = entry["metadata"]["source_dataset"]
    given = arithmetic(answer) if family == "countdown" else answer
    return given is not None and float(scorer(family).score_answer(given, entry)) == 1.0
