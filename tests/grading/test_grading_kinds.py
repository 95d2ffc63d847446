import json
import subprocess
import sys
from importlib import metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading import grade as grading
from rlvr_dynamics.grading.formula_reader import read
from rlvr_dynamics.grading.formula_values import approximate, exact
from rlvr_dynamics.grading.grade import (
    KINDS,
    STATUSES,
    check_golds,
    grade,
    grade_finished,
    grade_many,
    grader_version,
)
from rlvr_dynamics.grading.letters import chosen_letter
from rlvr_dynamics.grading.plain_numbers import number
from rlvr_dynamics.grading.reasoning_tasks import FAMILIES, arithmetic
from rlvr_dynamics.training.reward import compute_score

LETTERS = [
    (r"\boxed{B}", "B"),
    (r"\boxed{b}", "B"),
    (r"\boxed{(D)}", "D"),
    (r"\boxed{B)}", "B"),
    (r"\boxed{\text{(B)}}", "B"),
    (r"\boxed{\textbf{(C) } 5\text{ m}}", "C"),
    (r"\boxed{\text{B. } 3.2}", "B"),
    (r"\boxed{\mathrm{A}}", "A"),
    (r"\boxed{B: 5 cm}", "B"),
    (r"\boxed{A} no, \boxed{C}", "C"),
    (r"\boxed{10^{-4}}. The answer is (B).", "B"),
    (r"\boxed{Cat}. I pick B", "B"),
    ("The answer is B", "B"),
    ("The answer is A because it is larger", "A"),
    ("The correct answer is: **(D)**", "D"),
    ("Answer: C", "C"),
    ("the answer is option A", "A"),
    ("the answer is (b)", "B"),
    (r"answer is $\mathbf{C}$", "C"),
    ("the answer is B. the answer is C.", "C"),
    ("So we choose C.", "C"),
    ("Options A, B, C and D. Therefore D", "D"),
    ("\u202eB", "B"),
    (r"\boxed{Dog}", None),
    (r"\boxed{AB}", None),
    (r"\boxed{A+B}", None),
    ("The answer is Apple", None),
    ("The answer is BC", None),
    ("A cat is a Dog", None),
    ("Because DNA and RNA", None),
    ("vitamins ABCD", None),
    ("D-glucose and C-H bonds", None),
    ("x_A = B_2", None),
    ("", None),
]


@pytest.mark.parametrize(("response", "letter"), LETTERS)
def test_the_letter_chosen(response, letter):
    assert chosen_letter(response).text == letter
    status = "no_answer" if letter is None else "correct"
    assert grade(letter or "A", response, kind="letter").status == status


@given(st.text(alphabet="ABCDabcd (){}\\boxed.", max_size=60), st.sampled_from("ABCD"))
def test_a_boxed_letter_is_the_answer_whatever_stands_before(before, letter):
    response = f"{before} \\boxed{{{letter}}}"
    assert grade(letter, response, kind="letter").status == "correct"
    other = "ABCD"["ABCD".index(letter) - 1]
    assert grade(other, response, kind="letter").status == "incorrect"


def test_several_letters_in_the_box_are_a_wrong_answer():
    assert grade("B", r"\boxed{A, B}", kind="letter").status == "incorrect"


@given(st.text(max_size=200))
def test_any_text_gets_a_status_as_a_letter(text):
    for response in (text, f"\\boxed{{{text}}}", f"answer is {text}"):
        assert grade("A", response, kind="letter").status in STATUSES


def test_hostile_letters():
    assert grade("A", r"\boxed{" + "A" * 10_000_000 + "}", kind="letter").status == "limit"
    assert grade("A", r"\boxed" + "{" * 1_000_000, kind="letter").status == "limit"
    assert grade("A", "(" * 1_000_000 + "A", kind="letter").status == "correct"
    assert grade("A", "answer is " * 100_000, kind="letter").status == "no_answer"


@pytest.mark.parametrize("gold", ["", "E", "AB", "1", "a"])
def test_a_gold_that_is_no_letter_is_the_users_mistake(gold):
    with pytest.raises(UserError, match="gold answer"):
        grade(gold, r"\boxed{A}", kind="letter")


# reasoning-gym


@pytest.fixture(scope="module")
def tasks():
    reasoning_gym = pytest.importorskip("reasoning_gym")
    return {
        family: [
            {"answer": entry["answer"], "metadata": entry["metadata"]}
            for entry in reasoning_gym.create_dataset(family, size=5, seed=3)
        ]
        for family in FAMILIES
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tasks_own_answers_are_correct(tasks, family):
    golds = [json.dumps(entry) for entry in tasks[family]]
    check_golds(golds, "reasoning_gym")
    pairs = []
    for entry, gold in zip(tasks[family], golds, strict=True):
        for rendering in (r"\boxed{%s}", r"\boxed{\text{%s}}", "<answer>%s</answer>"):
            pairs.append((gold, "so " + rendering % entry["answer"]))
    assert {given.status for given in grade_many(pairs, kind="reasoning_gym")} == {"correct"}
    others = [*golds[1:], golds[0]]
    crossed = [
        (gold, f"<answer>{entry['answer']}</answer>")
        for gold, entry in zip(others, tasks[family], strict=True)
        if json.loads(gold)["answer"] != entry["answer"]
    ]
    assert crossed
    assert "correct" not in {g.status for g in grade_many(crossed, kind="reasoning_gym")}
    assert grade(golds[0], "I do not know", kind="reasoning_gym").status == "no_answer"
    assert grade(golds[0], "<answer>never closed", kind="reasoning_gym").status == "no_answer"


def test_countdown_takes_any_right_way_and_only_arithmetic(tmp_path):
    pytest.importorskip("reasoning_gym")
    gold = json.dumps(
        {
            "answer": "2*3 + 4",
            "metadata": {"source_dataset": "countdown", "numbers": [2, 3, 4], "target": 10},
        }
    )
    planted = tmp_path / "planted"
    cases = {
        "4 + 3*2": "correct",
        r"4 + 3 \times 2": "correct",
        "(4+(3*2))": "correct",
        "4*3 - 2": "correct",
        "4+3+2": "incorrect",
        "10": "incorrect",
        "2*3+4+0": "incorrect",
        "2**3+4-2": "incorrect",
        "9**9**9**9": "incorrect",
        "(2)(3)": "incorrect",
        "1/0": "incorrect",
        "Integer(10)": "incorrect",
        "(" * 90 + "2*3+4" + ")" * 90: "correct",
        "(" * 900: "incorrect",
        f"__import__('pathlib').Path('{planted}').touch()": "incorrect",
        f"open('{planted}','w')": "incorrect",
        "().__class__.__base__.__subclasses__()": "incorrect",
        "2*3+4\x00": "incorrect",
        "\u202e2*3+4": "incorrect",
    }
    pairs = [(gold, f"\\boxed{{{answer}}}") for answer in cases]
    statuses = [given.status for given in grade_many(pairs, kind="reasoning_gym")]
    assert dict(zip(cases, statuses, strict=True)) == cases
    assert not planted.exists()


@given(st.text(alphabet="0123456789+-*/() ._x[]'", max_size=40))
def test_only_plain_arithmetic_reaches_the_evaluator(text):
    passed = arithmetic(text)
    assert passed is None or set(passed) <= set("0123456789+-*/() ")
    assert passed is None or "**" not in passed.replace(" ", "")


@pytest.mark.parametrize(
    "gold",
    ["", "5", "[]", '{"answer": "5"}', '{"answer": "5", "metadata": {"source_dataset": "sudoku"}}'],
)
def test_a_gold_that_is_no_known_task_is_the_users_mistake(gold):
    pytest.importorskip("reasoning_gym")
    with pytest.raises(UserError, match="gold answer"):
        grade(gold, r"\boxed{5}", kind="reasoning_gym")


def test_a_task_whose_own_answer_fails_stops_the_build():
    pytest.importorskip("reasoning_gym")
    gold = {"answer": "2+2", "metadata": {"source_dataset": "countdown", "numbers": [2, 3]}}
    gold["metadata"]["target"] = 5
    with pytest.raises(UserError, match="gold answer"):
        check_golds([json.dumps(gold)], "reasoning_gym")


# All kinds


@pytest.mark.parametrize("kind", KINDS)
def test_the_version_names_every_library_that_decides(kind):
    if kind == "reasoning_gym":
        pytest.importorskip("reasoning_gym")
    named = grader_version(kind)
    assert named.startswith(f"{kind}/")
    if kind == "math":
        for library in ("math-verify", "latex2sympy2_extended", "sympy"):
            assert f"{library}={metadata.version(library)}" in named


def test_the_version_changes_with_our_rules_and_with_the_libraries(monkeypatch, tmp_path):
    before = grader_version("math")
    for module in grading._RULES["math"]:
        (tmp_path / f"{module}.py").write_bytes(
            (grading.Path(grading.__file__).parent / f"{module}.py").read_bytes()
        )
    monkeypatch.setattr(grading, "__file__", str(tmp_path / "grading.py"))
    grader_version.cache_clear()
    assert grader_version("math") == before
    for module in grading._RULES["math"]:
        copy = tmp_path / f"{module}.py"
        content = copy.read_bytes()
        copy.write_bytes(
            b"# A comment.\n" + content.replace(b"\n\nfrom ", b"\n\nimport abc\nfrom ", 1)
        )
        grader_version.cache_clear()
        assert grader_version("math") == before
        copy.write_bytes(content + b"\nmore = 1\n")
        grader_version.cache_clear()
        assert grader_version("math") != before
        copy.write_bytes(content)
    monkeypatch.setattr(grading, "version", lambda name: "0")
    grader_version.cache_clear()
    assert grader_version("math") != before
    monkeypatch.undo()
    grader_version.cache_clear()
    assert grader_version("math") == before


def test_the_version_does_not_change_with_the_version_of_python(monkeypatch):
    own, dump = grading._rules_in(grading.Path(grading.__file__)), grading.ast.dump

    def later(tree):
        text = dump(tree).replace(", type_params=[]", "")
        return text.replace("decorator_list=[]", "decorator_list=[], type_params=[]")

    monkeypatch.setattr(grading.ast, "dump", later)
    assert grading._rules_in(grading.Path(grading.__file__)) == own


def test_the_version_covers_every_module_that_grading_imports():
    code = (
        "import sys; from rlvr_dynamics.grading import grade, math_worker, math_pool;"
        "ours = {m.rsplit('.', 1)[1] for m in sys.modules if 'rlvr_dynamics.grading.' in m};"
        "named = {m for kind in grade._RULES.values() for m in kind};"
        "assert ours <= named, ours - named"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=180)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("math", [r"\frac{1}{2}", "(1,2)", "A", r"\sqrt{2}"], r"\frac{1"),
        ("integer", ["5", "-3"], "5.5"),
        ("letter", ["A", "D"], "E"),
    ],
)
def test_one_bad_gold_stops_the_build_and_is_named(kind, good, bad):
    check_golds(good, kind)
    with pytest.raises(UserError) as error:
        check_golds([*good, bad], kind)
    assert repr(bad) in str(error.value)


@pytest.mark.parametrize(
    "gold",
    [
        *("", " ", "?", "nan", "NaN", "None", "null", "inf", "-inf", "N/A", "<NA>"),
        *(r"\begin{pmatrix} 1 & 2", r"\frac{1", "1}", "1\x002"),
    ],
)
def test_a_gold_that_is_missing_or_cut_off_stops_the_build(gold):
    with pytest.raises(UserError, match="gold answer"):
        check_golds(["5", gold], "math")
    with pytest.raises(UserError, match="gold answer"):
        grade(gold, r"\boxed{5}", "math")


@pytest.mark.parametrize(
    ("gold", "right", "wrong", "as_text"),
    [
        ("-1./3", r"-\frac13", r"\frac13", False),
        ("np.arcsin(10/13)", r"\arcsin\frac{10}{13}", "np.arcsin(10/14)", False),
        ("E_{1},E_{2}", r"$E_2, E_1$", "E_{1},E_{3}", False),
        ("2^{1009}", r"2\cdot 4^{504}", "2^{1008}", False),
        (r"\frac{100!}{2^{50}}", r"\dfrac{100!}{2^{50}}", r"\frac{100!}{2^{51}}", False),
        (r"\frac{1}{2004!}", r"\tfrac{1}{2004!}", "0", False),
        (r"m_{\max }=2k", "2k", "3k", False),
        (r"m_{\max }=2k", r"m_{\max} = 2 k", "n=2k", False),
        (r"\foo", r"\foo", r"\bar", True),
        (r"\frac{}{}", r"\frac{}{}", "0", True),
        ("1" * 101, "1" * 101, "1" * 100, False),
        (
            "x^{" * 20 + "2" + "}" * 20,
            "x^{" * 20 + "2" + "}" * 20,
            "x^{" * 19 + "2" + "}" * 19,
            True,
        ),
    ],
)
def test_a_gold_over_the_limits_or_unread_is_compared_all_the_same(gold, right, wrong, as_text):
    assert check_golds(["5", gold], "math") == ({gold} if as_text else set())
    given = grade_many([(gold, f"\\boxed{{{right}}}"), (gold, f"\\boxed{{{wrong}}}"), (gold, "")])
    assert given[0].status == "correct"
    assert given[1].status in ("incorrect", "limit")
    assert given[2].status == "no_answer"


def test_golds_that_algebra_reads_are_not_counted_as_text():
    golds = [
        "5",
        r"\frac{1}{2}",
        r"336^\circ",
        "(1,2]",
        r"\text{Evelyn}",
        "x=1",
        "50\\%",
        r"\{1,2\}",
    ]
    assert check_golds(golds, "math") == set()


def test_the_training_reward_is_the_grader():
    cases = [
        ("arithmetic", "5", r"\boxed{5}", 1.0, 1.0),
        ("arithmetic", "5", r"\boxed{6}", 0.0, 1.0),
        ("arithmetic", "5", "the answer is 5", 0.0, 0.0),
        ("DigitalLearningGmbH/MATH-lighteval", r"\frac{1}{2}", r"\boxed{0.5}", 1.0, 1.0),
        ("DigitalLearningGmbH/MATH-lighteval", "5", r"\boxed{9^9^9^9}", 0.0, 0.0),
        ("openai/gsm8k", "1234", "The answer is 1,234.", 1.0, 1.0),
    ]
    for source, gold, response, score, answered in cases:
        given = compute_score(source, response, gold, extra_info={"index": 1})
        verdicts = dict.fromkeys(("score", "acc", "acc_exact"), score)
        expected = verdicts | {"answered": answered, "truncated": 0.0}
        assert given == expected


def test_the_reward_of_a_reasoning_gym_task(tasks):
    entry = tasks["spell_backward"][0]
    gold = json.dumps(entry)
    right = compute_score("reasoning_gym", f"<answer>{entry['answer']}</answer>", gold)
    wrong = compute_score("reasoning_gym", f"<answer>{entry['answer']}x</answer>", gold)
    assert (right["score"], wrong["score"]) == (1.0, 0.0)


@pytest.mark.parametrize("kind", ["math", "letter", "integer"])
def test_cut_off_without_a_box_is_truncated_for_every_kind(kind):
    gold = {"letter": "A"}.get(kind, "5")
    pairs = [(gold, f"the answer is {gold}"), (gold, f"\\boxed{{{gold}}}")]
    grades = grade_finished(pairs, ["length", "length"], kind)
    assert [given.status for given in grades] == ["truncated", "correct"]


@given(st.fractions(max_denominator=1000))
def test_any_fraction_is_read_in_every_spelling(value):
    sign, above, below = ("-" if value < 0 else ""), abs(value.numerator), value.denominator
    whole, rest = divmod(above, below)
    spellings = [f"{sign}\\frac{{{above}}}{{{below}}}", f"{sign}{above}/{below}"]
    if whole and rest:
        spellings += [f"{sign}{whole}\\frac{{{rest}}}{{{below}}}", f"{sign}{whole} {rest}/{below}"]
    for spelling in spellings:
        assert number(spelling) == value
        tree = read(spelling)
        if tree is not None:
            assert exact(tree) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"3\sqrt{13}", 10.816653826391969),
        (r"18+2\pi", 24.283185307179586),
        (r"\frac{1+\sqrt{5}}{2}", 1.618033988749895),
        (r"-\frac{\pi}{6}", -0.5235987755982988),
        (r"\sqrt[3]{8}", 2.0),
        (r"2^{-3}", 0.125),
        (r"-2^2", -4.0),
        ("8/2/2", 2.0),
        (r"2(3+4)", 14.0),
        (r"1\frac{1}{2}", 1.5),
        (r"-1\frac{1}{2}", -1.5),
        (r"\sqrt{-1}", None),
        ("1/0", None),
        ("9^{999}", None),
        ("x", None),
        ("2e", 5.43656365691809),
        ("(1,2)", None),
        ("5 5", None),
        ("", None),
        ("(" * 300, None),
    ],
)
def test_closed_values(text, value):
    tree = read(text)
    found = None if tree is None else approximate(tree)
    assert found == (None if value is None else pytest.approx(value, rel=1e-12))
