"""The workload behind the rates in `perf/grading.py`: what it calls right is right."""

import math
import random

from perf.grading import SHAPES, SLOW, hostile, ordinary, with_hostile
from rlvr_dynamics.grading.grade import check_golds, grade_many


def test_every_shape_is_right_in_both_spellings():
    draw = random.Random(0)
    drawn = [shape(draw) for shape, _ in SHAPES for _ in range(8)]
    check_golds([gold for gold, _ in drawn], "math")
    pairs = [(gold, f"\\boxed{{{other}}}") for gold, other in drawn]
    wrong = [
        pair
        for pair, given in zip(pairs, grade_many(pairs), strict=True)
        if given.status != "correct"
    ]
    assert not wrong
    assert math.isclose(sum(share for _, share in SHAPES), 1.0)


def test_the_workload_is_the_same_again_and_hostile_in_one_of_a_hundred():
    pairs = ordinary(400, seed=3)
    assert pairs == ordinary(400, seed=3) != ordinary(400, seed=4)
    mixed = with_hostile(pairs, 5, slow=0)
    assert sum(one != other for one, other in zip(pairs, mixed, strict=True)) == 4
    texts = hostile(30, 1, SLOW)
    assert len(set(texts)) == 30
    assert not {given.status for given in grade_many([("5", text) for text in texts[SLOW:]])} - {
        "limit",
        "incorrect",
        "no_answer",
    }
