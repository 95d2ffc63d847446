import re
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.extraction import last_boxed
from rlvr_dynamics.grading.grade import (
    STATUSES,
    Grade,
    grade,
    grade_finished,
    grade_many,
)
from rlvr_dynamics.grading.prose import mathematical_answer

INTEGER_CASES = [
    ("5", r"\boxed{5}", "correct"),
    ("5", r"6-1=5" + "\n" + r"\boxed{5}", "correct"),
    ("5", r"\boxed{6}", "incorrect"),
    ("5", r"\boxed{ 5 }", "correct"),
    ("5", r"\boxed {5}", "correct"),
    ("5", r"\boxed{+5}", "correct"),
    ("-5", r"\boxed{- 5}", "correct"),
    ("-5", r"\boxed{5}", "incorrect"),
    ("0", r"\boxed{-0}", "correct"),
    ("5", r"\boxed{005}", "correct"),
    ("007", r"\boxed{7}", "correct"),
    ("5", r"\boxed{4} no, \boxed{5}", "correct"),
    ("5", r"\boxed{5} no, \boxed{4}", "incorrect"),
    ("5", r"\boxed{5} no, \boxed{", "no_answer"),
    ("5", r"\boxed{5} no, \boxed", "no_answer"),
    ("5", "the answer is 5", "no_answer"),
    ("5", "5", "no_answer"),
    ("5", "", "no_answer"),
    ("5", r"\boxed{}", "no_answer"),
    ("5", r"\boxed{   }", "no_answer"),
    ("5", r"\boxed{{5}}", "incorrect"),
    ("5", r"\boxed{\boxed{5}}", "correct"),
    ("5", r"\boxed{2+3}", "incorrect"),
    ("5", r"\boxed{5.0}", "incorrect"),
    ("5", r"\boxed{5 5}", "incorrect"),
    ("5", "\\boxed{5\x00}", "incorrect"),
    ("5", "\x00\\boxed{5}", "correct"),
    ("5", "\\boxed{\u202e5}", "incorrect"),
    ("5", "\\boxed{\u0665}", "incorrect"),
    ("5", r"\boxed{" + "0" * 390 + "5}", "correct"),
    ("5", r"\boxed{" + "7" * 401 + "}", "limit"),
    ("5", r"\boxed{" + "7" * 10_000_000 + "}", "limit"),
    ("5", r"\boxed" + "{" * 1_000_000, "limit"),
    ("5", r"\boxed{" * 200_000, "no_answer"),
    ("5", r"\boxed{__import__('os').getpid()}", "incorrect"),
    ("5", r"\boxed{9**9**9**9}", "incorrect"),
]


@pytest.mark.parametrize(("gold", "response", "status"), INTEGER_CASES)
def test_integer_cases(gold, response, status):
    result = grade(gold, response, kind="integer")
    assert result.status == status
    assert result.score == (1.0 if status == "correct" else 0.0)


@given(st.integers(), st.text(alphabet="ab \n\\{}0123456789=", max_size=40))
def test_any_integer_in_the_last_box_is_correct(value, before):
    if len(str(value)) < 400:
        assert grade(str(value), f"{before}\\boxed{{{value}}}", kind="integer").status == "correct"


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_integers_are_correct_only_if_equal(gold, answer):
    result = grade(str(gold), f"\\boxed{{{answer:+05d}}}", kind="integer")
    assert (result.status == "correct") == (gold == answer)


@given(st.text(max_size=200))
def test_any_text_gets_a_status(text):
    for response in (text, f"\\boxed{{{text}", f"\\boxed{{{text}}}"):
        assert grade("5", response, kind="integer").status in STATUSES


@given(st.text(alphabet="ab{}\\ ", max_size=60))
def test_a_box_is_balanced(text):
    answer = last_boxed(f"\\boxed{{{text}}}").text
    if answer is not None:
        signs_aside = re.sub(r"\\[\\{}]", "", answer)
        assert any(each.count("{") == each.count("}") for each in (answer, signs_aside))


@pytest.mark.parametrize("gold", ["", "five", "1.5", "9" * 401])
def test_a_gold_that_is_no_integer_is_the_users_mistake(gold):
    with pytest.raises(UserError, match="gold answer"):
        grade(gold, r"\boxed{5}", kind="integer")


def test_an_unknown_kind_is_named():
    with pytest.raises(UserError, match="letters"):
        grade("A", "A", kind="letters")


def test_cut_off_without_a_box_is_truncated():
    pairs = [("5", "1+1="), ("5", r"\boxed{5}"), ("5", "1+1="), ("5", r"\boxed{4} \boxed{5")]
    grades = grade_finished(pairs, ["length", "length", "stop", "length"], "integer")
    assert [g.status for g in grades] == ["truncated", "correct", "no_answer", "truncated"]


def test_the_reward_path_stays_light():
    code = (
        "import sys; from rlvr_dynamics.grading.grade import grade;"
        "assert grade('5', '\\\\boxed{5}', kind='integer').score == 1.0;"
        "heavy = {'torch', 'vllm', 'sympy', 'pandas', 'pebble', 'math_verify'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=180)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{\frac{1}{2}} ok", r"\frac{1}{2}"),
        ("The answer is $x^2$.", "$x^2$"),
        ("Answer: 3.5. Thank you", "3.5"),
        ("first 3, then 1,234.5", "1,234.5"),
        ("the answer is 3\nthe answer is 4\n7", "4"),
        ("nothing", None),
        ("the answer is" + " " * 100_000, None),
        ("1," * 100_000, "1"),
    ],
)
def test_where_the_answer_stands(response, answer):
    assert mathematical_answer(response).text == answer


MATH_CASES = [
    (r"\frac{1}{2}", r"\boxed{0.5}", "correct"),
    (r"\frac{1}{2}", r"\boxed{\dfrac12}", "correct"),
    (r"\frac{1}{2}", r"\boxed{\frac{2}{3}}", "incorrect"),
    ("27", "The answer is 27.0.", "correct"),
    ("1234", r"\boxed{1,234}", "correct"),
    (r"\sqrt{2}", r"\boxed{2^{1/2}}", "correct"),
    ("(1,2)", r"\boxed{(1,2)}", "correct"),
    ("(1,2)", r"\boxed{[1,2]}", "incorrect"),
    ("A", r"\boxed{\text{A}}", "correct"),
    ("A", r"\boxed{B}", "incorrect"),
    ("x=5", r"\boxed{5}", "correct"),
    ("p - q", r"\boxed{-q+p}", "correct"),
    ("5", "I do not know", "no_answer"),
    ("5", r"\boxed{9^9^9^9}", "limit"),
    ("5", r"\boxed{9^{9^{9^9}}}", "limit"),
    ("5", r"\boxed{((10!)!)!}", "limit"),
    ("5", r"\boxed{\binom{10000000}{5000000}}", "limit"),
    ("5", r"\boxed{" + "7" * 10_000_000 + "}", "limit"),
    ("5", r"\boxed" + "{" * 1_000_000, "limit"),
    ("5", "\\boxed{5\x00}", "limit"),
    ("5", r"\boxed{" + r"\sqrt{" * 30 + "2" + "}" * 31, "limit"),
]


def test_math_cases():
    pairs = [(gold, response) for gold, response, _ in MATH_CASES]
    statuses = [result.status for result in grade_many(pairs)]
    assert statuses == [status for _, _, status in MATH_CASES]
    assert grade(*pairs[0]) == Grade("correct", "0.5", 1.0)


def test_what_ignores_the_limits_is_stopped_and_the_pool_lives_on():
    pairs = [
        (r"\prod_{k=1}^{3} k^k", r"\boxed{\prod_{k=1}^{999} k^k}"),
        (r"\frac{x}{2}", r"\boxed{x/2}"),
    ]
    assert [g.status for g in grade_many(pairs, time_limit=0.5)] == ["timeout", "correct"]
    assert grade(*pairs[1]).status == "correct"


def test_math_grading_off_the_main_thread():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(grade(r"\frac{1}{3}", r"\boxed{\frac{2}{6}}").status)
    )
    thread.start()
    thread.join(60)
    assert found == ["correct"]


def test_math_grading_from_a_script_without_a_main_guard():
    code = (
        "from rlvr_dynamics.grading.grade import grade\n"
        "assert grade(r'\\frac{1}{2}', r'\\boxed{\\frac{2}{4}}').status == 'correct'\n"
    )
    subprocess.run([sys.executable, "-"], input=code, text=True, check=True, timeout=180)


@pytest.mark.parametrize("gold", ["", r"\frac{1", "{}}{"])
def test_a_gold_that_does_not_parse_is_the_users_mistake(gold):
    with pytest.raises(UserError, match="gold answer"):
        grade(gold, r"\boxed{5}")
    with pytest.raises(UserError, match="gold answer"):
        grade(gold, "no answer")


def test_planted_code_does_not_run(tmp_path):
    planted = tmp_path / "planted"
    payloads = [
        f"__import__('pathlib').Path('{planted}').touch()",
        f"().__class__.__base__.__subclasses__() or open('{planted}','w')",
        f"\\text{{__import__('os').system('touch {planted}')}}",
        f"open('{planted}','w')+1",
        f"eval(\"open('{planted}','w')\")",
    ]
    for wrapping in ("\\boxed{%s}", "The answer is %s", "$%s$"):
        pairs = [("5", wrapping % payload) for payload in payloads]
        for kind in ("math", "integer"):
            grade_many(pairs, kind=kind)
        grade_many([(r"\frac{x}{2}", response) for _, response in pairs])
    assert not planted.exists()
