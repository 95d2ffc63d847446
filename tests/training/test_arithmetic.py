"""The arithmetic task: sets kept apart, answers right, tables as trainer and scorer read them."""

import ast
import operator
import random
import re
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.grading.grade import check_golds, grade
from rlvr_dynamics.training.arithmetic import (
    CLEAN,
    ArithmeticTask,
    Noise,
    Problem,
    canonical,
    draw,
    solution,
)
from rlvr_dynamics.training.generated_task import shared_problems
from rlvr_dynamics.training.task_tables import shuffle_answers

SMALL = ArithmeticTask(
    seed=3, train_problems=200, validation_problems=16, test_problems=64, ood_problems=24
)
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
FAMILIES = sorted(SMALL.TITLES)


def value_of(expression):
    """Python's own grammar decides about precedence, not the generator."""

    def walk(node):
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.UnaryOp):
            assert isinstance(node.op, ast.USub)
            return -walk(node.operand)
        assert isinstance(node, ast.Constant)
        return node.value

    return walk(ast.parse(expression, mode="eval").body)


@given(family=st.sampled_from(FAMILIES), seed=st.integers(0, 2**31))
def test_answers_equal_an_independent_evaluation(family, seed):
    problem = draw(family, random.Random(seed))
    assert problem.prompt.endswith("=")
    assert problem.answer == value_of(problem.prompt[:-1])
    assert all(value == value_of(left) for left, value in problem.steps)


@given(family=st.sampled_from(FAMILIES), seed=st.integers(0, 2**31))
def test_a_reference_solution_is_graded_correct(family, seed):
    rng = random.Random(seed)
    problem = draw(family, rng)
    text = solution(problem, rng, CLEAN)
    lines = [f"{left}={value}" for left, value in problem.steps]
    assert text.splitlines() == [*lines, f"\\boxed{{{problem.answer}}}"]
    assert grade(str(problem.answer), text, kind="integer").status == "correct"


def test_a_worked_example():
    steps = (("6-5", 1), ("1+1", 2))
    problem = Problem(family="arithmetic", prompt="6-5+1=", answer=2, steps=steps)
    assert solution(problem, random.Random(0), CLEAN) == "6-5=1\n1+1=2\n\\boxed{2}"


def test_a_mistake_is_carried_on():
    rng = random.Random(0)
    problem = draw("longer", rng)
    text = solution(problem, rng, Noise(careful=0.0, sloppy=1.0, step_error=1.0))
    *steps, box = text.splitlines()
    assert len(steps) == len(problem.steps)
    wrong = [value_of(left) != int(value) for left, value in (line.split("=") for line in steps)]
    assert all(wrong)
    values = [line.split("=")[1] for line in steps]
    for previous, line in zip(values, steps[1:], strict=False):
        assert line.startswith(previous)
    assert box == f"\\boxed{{{values[-1]}}}"


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (Noise(1.0, 0.0, 1.0), 1.0),
        (Noise(0.0, 0.0, 0.0), 1.0),
        (Noise(0.0, 0.0, 1.0), 0.0),
        (Noise(0.5, 0.0, 1.0), 0.5),
        (Noise(0.0, 0.0, 0.3), 0.7),
    ],
)
def test_noise_makes_the_stated_share_wrong(noise, expected):
    rng = random.Random(1)
    problems = [draw("arithmetic", rng) for _ in range(1000)]
    right = [
        grade(str(problem.answer), solution(problem, rng, noise), kind="integer").score
        for problem in problems
    ]
    assert sum(right) / len(right) == pytest.approx(expected, abs=0.06)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**31 - 1))
def test_no_two_sets_share_a_problem(seed):
    task = ArithmeticTask(seed, 300, 16, 128, 48)
    sets = {
        "pretraining": task.pretraining(2000),
        "train": task.train(),
        "validation": task.validation(),
        **task.benchmarks(),
    }
    shared = shared_problems(sets)
    assert len(shared) == len(sets) * (len(sets) - 1) // 2
    assert not any(shared.values())


@given(family=st.sampled_from(FAMILIES), seed=st.integers(0, 2**31))
def test_every_problem_has_one_pool(family, seed):
    problem = draw(family, random.Random(seed))
    assert SMALL.pool_of(problem) in SMALL.POOLS


def test_a_commuted_product_is_the_same_problem():
    assert canonical("7*3+51=") == canonical("3*7+51=") == "3*7+51="
    assert canonical("3-7+51=") == "3-7+51="
    one, other = (Problem("operations", text, 72, ()) for text in ("7*3+51=", "3*7+51="))
    for seed in range(20):
        task = ArithmeticTask(seed, 1, 1, 1, 1)
        assert task.pool_of(one) == task.pool_of(other)


def test_sets_of_the_demo_are_large_enough_and_distinct():
    for seed in range(3):
        task = ArithmeticTask(seed, 4096, 64, 512, 256)
        benchmarks = task.benchmarks()
        assert len(benchmarks) >= 4
        for problems in (task.train(), *benchmarks.values()):
            assert len({canonical(problem.prompt) for problem in problems}) == len(problems)
        assert len(task.train()) == 4096
        assert [len(problems) for problems in benchmarks.values()] == [512, 256, 256, 256]


def test_train_and_test_hold_nearly_the_same_mixture():
    task = ArithmeticTask(0, 4096, 64, 512, 256)

    def short(problems):
        return sum(len(problem.steps) == 2 for problem in problems) / len(problems)

    assert short(task.train()) == pytest.approx(short(task.benchmarks()["arithmetic"]), abs=0.07)


def test_seed_decides_everything():
    again = ArithmeticTask(3, 200, 16, 64, 24)
    other = ArithmeticTask(4, 200, 16, 64, 24)
    assert again.train() == SMALL.train()
    assert again.benchmarks() == SMALL.benchmarks()
    assert again.pretraining(50) == SMALL.pretraining(50)
    for name in ("train", "validation", "benchmarks"):
        assert getattr(other, name)() != getattr(SMALL, name)(), name
    assert other.pretraining(50) != SMALL.pretraining(50)


@pytest.mark.slow
def test_too_many_problems_are_refused():
    with pytest.raises(ValueError, match="validation pool"):
        ArithmeticTask(0, 10, 2000, 10, 10).validation()
    with pytest.raises(ValueError, match="unknown family"):
        draw("geometry", random.Random(0))


def test_written_tables(tmp_path):
    facts = SMALL.write(tmp_path, pretraining=SMALL.pretraining(500))
    train = pd.read_parquet(tmp_path / "train.parquet")
    assert set(train.columns) == {
        *("data_source", "prompt", "ability", "reward_model", "extra_info")
    }
    assert len(train) == 200 and len(pd.read_parquet(tmp_path / "val.parquet")) == 16
    row = train.iloc[7]
    assert row.data_source == "arithmetic"
    assert [dict(message) for message in row.prompt] == [
        {"role": "user", "content": SMALL.train()[7].prompt}
    ]
    assert row.reward_model == {"style": "rule", "ground_truth": str(SMALL.train()[7].answer)}
    assert row.extra_info == {"split": "train", "index": 7}
    tables = {
        path.stem: pd.read_parquet(path) for path in (tmp_path / "benchmarks").glob("*.parquet")
    }
    assert set(tables) == set(SMALL.TITLES) == set(facts["benchmarks"])
    everything = pd.concat(tables.values())
    assert everything.question_id.is_unique
    assert set(everything.columns) == {*("question_id", "prompt", "gold", "kind", "split", "title")}
    assert set(everything.kind) == {"integer"}
    assert everything.groupby("split").title.nunique().to_dict() == {
        "in_domain": 1,
        "out_of_domain": 3,
    }
    check_golds(everything.gold, "integer")
    for prompt, gold in zip(everything.prompt, everything.gold, strict=True):
        assert value_of(re.sub("=$", "", prompt)) == int(gold)
    assert facts["train_problems"] == 200
    assert not any(facts["shared_problems"].values())


def test_same_task_same_bytes(tmp_path):
    for name in ("one", "two"):
        SMALL.write(tmp_path / name)
    for path in (tmp_path / "one").rglob("*.parquet"):
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == twin.read_bytes()


def test_shuffled_answers_are_the_same_answers_of_other_problems(tmp_path):
    def answers(folder, seed=None):
        SMALL.write(folder)
        path = folder / "train.parquet"
        facts = None if seed is None else shuffle_answers(path, seed)["shuffled_answers"]
        table = pd.read_parquet(path)
        prompts = [messages[0]["content"] for messages in table["prompt"]]
        assert prompts == [problem.prompt for problem in SMALL.train()]
        assert {row["style"] for row in table["reward_model"]} == {"rule"}
        return [row["ground_truth"] for row in table["reward_model"]], facts

    before, _ = answers(tmp_path / "plain")
    after, facts = answers(tmp_path / "one", seed=7)
    assert sorted(after) == sorted(before)
    right = sum(map(str.__eq__, before, after)) / 200
    assert facts == {"still_right": right, "seed": 7}
    assert right < 0.3
    assert answers(tmp_path / "again", seed=7)[0] == after != answers(tmp_path / "two", seed=8)[0]


@pytest.mark.parametrize("twin", [False, True])
def test_a_leak_is_found(tmp_path, twin):
    leaked = SMALL.benchmarks()["operations"][0]
    if twin:
        first, second, rest = re.fullmatch(r"(\d+)\*(\d+)(.*)", leaked.prompt).groups()
        leaked = Problem("operations", f"{second}*{first}{rest}", leaked.answer, ())
    with pytest.raises(ValueError, match="share problems"):
        SMALL.write(tmp_path, pretraining=[leaked])
    assert not list(tmp_path.rglob("*.parquet"))


def test_the_module_needs_no_torch():
    code = (
        "import sys; import rlvr_dynamics.training.arithmetic, rlvr_dynamics.training.tiny_base;"
        "sys.exit(bool({'torch', 'transformers', 'verl', 'vllm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
