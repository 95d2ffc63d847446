"""Every gold answer of the real benchmarks, written in five ways, is graded correct."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from rlvr_dynamics.grading.answer_text import normalise
from rlvr_dynamics.grading.grade import check_golds, grade_many
from rlvr_dynamics.grading.plain_numbers import number

GOLDS = json.loads((Path(__file__).parents[1] / "data" / "benchmarks" / "golds.json").read_text())
ROWS = {"math": 500, "aime24": 30, "gsm8k": 1319}
EXCEPTIONS: dict[str, str] = {}
SAME = [("5", r"\boxed{x=5}")]


def exact_decimal(value: Fraction) -> str | None:
    """Write a fraction as a decimal, None if that has no end."""
    for places in range(13):
        scaled = value * 10**places
        if scaled.denominator == 1:
            digits = f"{abs(int(scaled)):0{places + 1}d}"
            whole, part = digits[: len(digits) - places], digits[len(digits) - places :]
            return ("-" if value < 0 else "") + whole + ("." + part if part else ".0")
    return None


def renderings(gold: str) -> dict[str, str]:
    value = number(normalise(gold))
    decimal = exact_decimal(value) if value is not None else None
    return {
        "boxed": f"Hence \\boxed{{{gold}}}.",
        "sentence": f"We add up. The answer is {gold}.",
        "dollars": f"The answer is ${gold}$",
        "spaces": f"so  \\boxed  {{   {gold}\t }} \n",
        **({"decimal": f"\\boxed{{{decimal}}}"} if decimal else {}),
    }


@pytest.mark.parametrize("name", ROWS)
def test_every_real_gold_is_correct_in_five_renderings(name):
    golds = GOLDS[name]
    assert len(golds) == ROWS[name]
    check_golds(golds, "math")
    cases = [
        (f"{name}-{row}-{shape}", gold, response)
        for row, gold in enumerate(golds)
        for shape, response in renderings(gold).items()
    ]
    assert len(cases) > 4.7 * len(golds)
    grades = grade_many([(gold, response) for _, gold, response in cases])
    wrong = {
        case for (case, _, _), given in zip(cases, grades, strict=True) if given.status != "correct"
    }
    assert wrong == {case for case in EXCEPTIONS if case.startswith(f"{name}-")}


@pytest.mark.parametrize("name", ROWS)
def test_no_gold_passes_for_its_neighbour(name):
    golds = GOLDS[name]
    unlike = [
        (gold, f"\\boxed{{{other}}}")
        for gold, other in zip(golds, [*golds[1:], golds[0]], strict=True)
        if normalise(gold) != normalise(other)
    ]
    taken = [
        pair
        for pair, given in zip(unlike, grade_many(unlike), strict=True)
        if given.status != "incorrect"
    ]
    assert taken == [pair for pair in taken if pair in SAME]
