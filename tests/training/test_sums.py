"""The sums: no test sum is trained on, answers are right, tables as both readers want them."""

import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.grade import grade
from rlvr_dynamics.training.generated_task import shared_problems
from rlvr_dynamics.training.reward import compute_score
from rlvr_dynamics.training.sums import FAMILIES, Sum, SumTask

DEMO = (2560, 64, 256, 100)
SMALL = SumTask(3, 200, 16, 64, 24)
LINE = re.compile(r"(\d+(?: [+-] \d+)+) =(?: (\d+))?")


def value_of(expression):
    first, *rest = re.split(r" ([+-]) ", expression)
    total = int(first)
    for sign, number in zip(rest[::2], rest[1::2], strict=True):
        total += int(number) if sign == "+" else -int(number)
    return total


def numbers_asked(table):
    """Sign and numbers in rising order of the open line, read from the text alone."""
    texts = [
        messages if isinstance(messages, str) else messages[0]["content"] for messages in table
    ]
    lines = [text.splitlines()[-1] for text in texts]
    return {("-" in line, tuple(sorted(re.findall(r"\d+", line), key=int))) for line in lines}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_line_of_a_prompt_is_right_and_the_last_is_open(family):
    for problem in SMALL.problems(family, "test", 24):
        *shown, asked = problem.prompt.split("\n")
        assert len(shown) == 2
        for line in shown:
            match = LINE.fullmatch(line)
            assert value_of(match[1]) == int(match[2])
        match = LINE.fullmatch(asked)
        assert value_of(match[1]) == problem.answer >= 0
        assert match[2] is None


@settings(max_examples=10)
@given(seed=st.integers(0, 2**31 - 1))
def test_no_two_sets_share_a_problem(seed):
    task = SumTask(seed, 400, 16, 128, 40)
    sets = {"train": task.train(), "validation": task.validation(), **task.benchmarks()}
    shared = shared_problems(sets)
    assert len(shared) == len(sets) * (len(sets) - 1) // 2
    assert not any(shared.values())


def test_a_sum_with_its_terms_swapped_is_the_same_problem():
    assert Sum("sums", (41, 27)).canonical == Sum("sums", (27, 41)).canonical
    assert Sum("sums", (41, 27)).canonical != Sum("differences", (41, 27)).canonical
    for seed in range(30):
        task = SumTask(seed, 1, 1, 1, 1)
        assert task.pool_of(Sum("sums", (41, 27))) == task.pool_of(Sum("sums", (27, 41)))
    # The count sees it too, so that it can fail.
    swapped = {"train": [Sum("sums", (41, 27))], "test": [Sum("sums", (27, 41))]}
    assert shared_problems(swapped) == {"train & test": 1}


def test_what_is_shown_is_never_asked():
    for family, shape in FAMILIES.items():
        shown = {tuple(sorted(terms)) for terms in shape.examples}
        for pool in ("train", "validation", "test"):
            asked = {tuple(sorted(each.terms)) for each in SMALL.problems(family, pool, 20)}
            assert not asked & shown


@pytest.mark.parametrize("seed", range(4))
def test_the_experiment_has_thousands_of_problems(seed):
    task = SumTask(seed, *DEMO)
    assert len({problem.canonical for problem in task.train()}) == 2560
    assert [len(problems) for problems in task.benchmarks().values()] == [256, 100, 100, 100]


def test_seed_decides_everything():
    again, other = SumTask(3, 200, 16, 64, 24), SumTask(4, 200, 16, 64, 24)
    assert again.train() == SMALL.train()
    assert again.benchmarks() == SMALL.benchmarks()
    for name in ("train", "validation", "benchmarks"):
        assert getattr(other, name)() != getattr(SMALL, name)(), name


def test_too_many_problems_are_refused():
    with pytest.raises(ValueError, match="validation pool"):
        SumTask(0, 10, 260, 10, 10).validation()


def test_written_tables_share_no_numbers_and_are_graded_by_the_exact_number(tmp_path):
    facts = SMALL.write(tmp_path)
    train, val = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("train", "val"))
    test = pd.read_parquet(tmp_path / "benchmarks" / "sums.parquet")
    asked = [numbers_asked(table["prompt"]) for table in (train, val, test)]
    assert [len(each) for each in asked] == [200, 16, 64]
    assert not (asked[0] & asked[1]) | (asked[0] & asked[2]) | (asked[1] & asked[2])
    assert facts["benchmarks"] == {"sums": 64, **dict.fromkeys(list(FAMILIES)[1:], 24)}
    assert not any(facts["shared_problems"].values())
    assert set(train.columns) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    others = [pd.read_parquet(file) for file in (tmp_path / "benchmarks").glob("*.parquet")]
    assert {(table["split"].iloc[0], len(table)) for table in others} == {
        ("in_domain", 64),
        ("out_of_domain", 24),
    }
    for row in train.head(20).itertuples():
        gold = row.reward_model["ground_truth"]
        assert int(gold) == value_of(row.prompt[0]["content"].splitlines()[-1].removesuffix(" ="))
        for text, right in ((f" {gold}\n", 1), (f" {int(gold) + 1}\n", 0), (f" {gold}0\n", 0)):
            assert compute_score(row.data_source, text, gold)["score"] == right
        nothing = compute_score(row.data_source, " \n", gold)
        assert set(nothing) == {"score", "acc", "acc_exact", "answered", "truncated"}
        assert not any(nothing.values())
    for row in test.head(20).itertuples():
        assert grade(row.gold, f" {row.gold}\n", kind=row.kind).status == "correct"


def test_a_tiny_model_cannot_be_asked_sums():
    with pytest.raises(UserError, match="model=tiny is pretrained on arithmetic"):
        config.load(["data=sums", "model=tiny"])
