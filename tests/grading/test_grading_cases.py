"""Whole responses with the verdict that they deserve, and the kinds of mistake behind them.

`data/grading_cases.jsonl` are responses that other graders take wrongly: letters read as units,
complex numbers, unfinished boxes, words around a number, rejected options. Here each kind is
generated again with other letters, numbers and units.
"""

import json
import string
from pathlib import Path

import pytest

from rlvr_dynamics.grading.grade import grade, grade_many

FILE = Path(__file__).parents[1] / "data" / "grading_cases.jsonl"


def verdicts(pairs):
    return [given.status == "correct" for given in grade_many(pairs)]


def boxed(pairs):
    return verdicts([(gold, f"\\boxed{{{answer}}}") for gold, answer in pairs])


def test_every_case_gets_its_verdict():
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf8").splitlines()]
    assert len(rows) > 200
    found = verdicts([(row["gold"], row["response"]) for row in rows])
    wrong = [row for row, given in zip(rows, found, strict=True) if given != row["expected"]]
    assert not wrong


@pytest.mark.parametrize("number", ["2", "17", "0.5", r"\frac{3}{4}", r"\sqrt{3}", r"5\pi ", "-4"])
def test_a_letter_behind_a_number_is_a_symbol(number):
    letters = string.ascii_letters
    dropped = [(f"{number}{letter}", number) for letter in letters]
    added = [(number, f"{number}{letter}") for letter in letters]
    spaced = [(f"{number} {letter}", number) for letter in letters]
    other = [(f"{number}{a}", f"{number}{b}") for a, b in zip(letters, letters[1:], strict=False)]
    assert not any(boxed(dropped + added + spaced + other))
    moved = [(f"{number}{letter}", f"{letter}\\cdot({number})") for letter in letters]
    moved += [(f"{number}{letter}+1", f"1+{letter} ({number})") for letter in letters]
    assert all(boxed(moved))


SAME = [
    (r"\frac12m", r"\frac m2"),
    (r"\frac{1}{2}gt^2", r"\frac{gt^2}{2}"),
    ("(1+2i)^2", "-3+4i"),
    ("i^2", "-1"),
    ("i^3", "-i"),
    (r"1+2i\sqrt3", r"2\sqrt{3}i+1"),
    (r"\frac{1}{i}", "-i"),
    (r"\mathrm{i}+1", "1+i"),
    (r"e^{i\pi}", "-1"),
    (r"\frac13E_1+\frac23E_2", r"\frac{E_1+2E_2}{3}"),
    (r"a_1+2a_2", r"2a_{2}+a_{1}"),
    ("1<x<2", "(1,2)"),
    ("(2,3)", "2<x<3"),
    (r"(-\infty,2)\cup(2,\infty)", r"x\ne2"),
    (r"3\times10^8\text{ m/s}", r"3\cdot 10^{8}\,\mathrm{m\,s^{-1}}"),
    (r"3\times10^8", r"3\times10^8\ \text{m/s}"),
    (r"6.02\times10^{23}\text{ mol}^{-1}", "6.02e23"),
    (r"5\ \mu\text{m}", r"0.005\,\mathrm{mm}"),
    (r"2\text{ k}\Omega", r"2"),
    (r"3\,\mathrm{min}", r"180\text{ s}"),
    (r"2.5\mathrm{~cm}", "2.5"),
    (r"36\text{ km/h}", r"10\text{ m/s}"),
    (r"1\text{ cm}^2", r"100\text{ mm}^2"),
    (r"1\text{ L}", r"1000\text{ cm}^3"),
    (r"5\text{ N}", r"5\ \text{kg}\cdot\text{m}/\text{s}^2"),
    (r"\$5.40", r"540\text{ cents}"),
    (r"12\text{ students}", "12"),
    ("20:34", r"8:34\text{ p.m.}"),
    ("21", "twenty-one"),
    ("y=2x+1", "2x-y+1=0"),
    ("(4,-1)", "y=-1, x=4"),
    (r"\sqrt[3]{-8}", "-2"),
    (r"\sin 30^\circ", r"\frac{1}{2}"),
    ("1/2x", r"\frac{x}{2}"),
    ("2^{2005}", r"2\cdot4^{1002}"),
    ("720", r"2^4\cdot3^2\cdot5"),
    ("1023", "2^{10}-1"),
    (r"2\sqrt[4]{2}", "2*2**(1/4)"),
    ("2>x", "x<2"),
    (r"m\ge\sqrt2", r"m\in[\sqrt2,+\infty)"),
    (r"\{x\mid x>1\}", r"(1,\infty)"),
    (r"0.\dot3", r"\frac13"),
    ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
    (r"\frac{639}{40}", r"15\frac{39}{40}\text{ or }\frac{639}{40}"),
    ("100,200", "200,100"),
    ("5", r"\text{The answer is }5"),
]
DIFFERENT = [
    ("1+2i", "1-2i"),
    ("2i", "2"),
    ("i", "1"),
    ("(2,3)", "(x-2)(x-3)<0"),
    ("(2,3)", "x^2-5x+6<0"),
    ("x>3", "2x>6"),
    ("x>3", "x-3>0"),
    (r"[1,\infty)", r"x^3\ge1"),
    ("x=5", "2x=10"),
    ("5", "x+1=6"),
    ("5", "2x=5"),
    (r"10\text{ m/s}", r"10\text{ N}"),
    (r"10\text{ cm}^2", r"10\text{ cm}^3"),
    (r"10\text{ km/h}", r"10\text{ m/s}"),
    (r"10\text{ kg}", r"10\text{ g}"),
    (r"10^\circ\text{C}", r"10^\circ\text{F}"),
    (r"6:30\text{ a.m.}", r"6:30\text{ p.m.}"),
    ("12:00", "1:00"),
    (r"\frac13E_1+\frac23E_2", "1"),
    (r"2E_1", "20"),
    ("x_1", "x_2"),
    (r"\sqrt2", "1.4142135623730950488"),
    ("5", "9-4=5=4+2"),
    ("5", "4=5"),
    ("391", r"17\times23"),
    ("57", "12+45"),
    ("3", r"\log_2 8"),
    ("4", "|-4|"),
    ("4", r"\min(4,7)"),
    ("12", r"\operatorname{lcm}(4,6)"),
    ("10", r"\sum_{k=1}^4 k"),
    (r"\frac{n(n+1)}{2}", r"\sum_{k=1}^n k"),
    ("2", r"\lim_{x\to0}\frac{\sin 2x}{x}"),
    (r"\{1,2\}", "(1,2)"),
    ("F", "f"),
    ("1,2,3", "1,2,4"),
    (r"1,2,\ldots,n", r"1,3,\ldots,n"),
    (r"\text{Tuesday}", r"\text{Thursday}"),
    ("n=2,3,4", "n=1,2,3"),
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
    ("4", "4'"),
    ("4", r"\not=4"),
    ("4", "4_{3}"),
    ("4", r"\frac{d}{dx}(4x)"),
    ("40_9", "58_9-18_9"),
    ("1,000,000", "1,000"),
    (r"36^\circ", r"\$36"),
    ("4", r"4\text{ (mod 7)}"),
    ("4", r"4\pmod 7"),
    ("4", r"4\mid5"),
    ("4", r"x\approx4.1"),
    ("4", r"4+\epsilon"),
    ("p=1,q=2", "2,1"),
]


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_the_same_answer_otherwise_spelled(gold, answer):
    assert boxed([(gold, answer)]) == [True]


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_another_answer(gold, answer):
    assert boxed([(gold, answer)]) == [False]


WORDS = [
    *("plus five", "minus one", "times ten", "over five", "divided by two", "modulo three"),
    *("is wrong", "I guess", "or five", "and five", "if x>0", "when x is even", "thirds", "halves"),
    *("percent of x", "dozen", "squared", "less", "more than x", "to six", "not really", "hundred"),
    *("million", "maybe", "at least", "unless x=0", "out of ten", "remainder one", "mod 7"),
]


@pytest.mark.parametrize("words", WORDS)
def test_words_around_a_number_change_it(words):
    pairs = [("4", f"4\\text{{ {words}}}"), ("4", f"4 {words}"), ("4", f"\\text{{4 {words}}}")]
    pairs += [("4", f"\\text{{{words} }}4")]
    assert not any(boxed(pairs))


@pytest.mark.parametrize(
    "noun", ["apples", "ways", "different ways", "cm", "square units", "miles per hour", "people"]
)
def test_what_is_counted_or_measured_does_not(noun):
    assert all(
        boxed([("4", f"4\\text{{ {noun}}}"), (f"4\\text{{ {noun}}}", "4"), ("4", f"4 {noun}")])
    )


PROSE = [
    ("42", "The answer is 42 because 6 times 7 is 42.", True),
    ("42", "the answer is 42, since 6*7=42", True),
    ("42", "The answer is 42 (see above).", True),
    ("42", "So the answer is 42 - this follows from step 3.", True),
    ("42", "I guess 42", True),
    ("42", "The answer is **42**. I hope it is correct.", True),
    ("42", "Final Answer: The final answer is $42$. I hope it is correct.", True),
    ("120", "Final Answer: The volume of the box is 120. I hope it is correct.", True),
    ("42", "The answer is not 42", False),
    ("42", "The answer is at least 42", False),
    ("42", "The answer is 42 or 43", False),
    ("42", "The answer is nearly 42", False),
    ("42", "See page 42", False),
    ("42", "Problem 42", False),
    ("x^2", "The answer is $x^2$ because the derivative is $2x$.", True),
    (r"x\ge5", r"Therefore $x \geq 5$ is the solution.", True),
    ("2/3", "the probability is 2/3.", True),
    ("42", r"\boxed{} so 42", False),
    ("42", r"the answer is 42. \boxed{", False),
    ("42", r"\boxed{42} and then \boxed{4", False),
    ("42", r"I write it in \boxed{}. The answer is 42.", True),
    ("42", r"\boxed{42}. Put your answer in \boxed{}.", True),
    ("2,3", r"\boxed{2} and \boxed{3}", True),
    ("3", r"\boxed{2} and \boxed{3}", False),
    ("42", "<think>it is 42</think> The answer is 41.", False),
    ("42", r"<think>\boxed{41}</think> \boxed{42}", True),
    ("42", r"<think>\boxed{42}", False),
    ("42", "<answer>42</answer>", True),
    ("42", "<answer>42", False),
    ("42", "The answer is 41.\n\nQuestion: 6*7?\nThe answer is 42.", False),
    ("42", "The answer is 42.\n\nQuestion: 6*8?\nThe answer is 48.", True),
    ("42", "Reasoning\n#### 42", True),
    ("42", "### Answer\n42", True),
    ("42", "Answer: **42** (forty-two)", True),
    ("42", "The answer is 42; to check, add.", True),
    ("42", "The answer is 42 where x is 7", True),
    ("x^2", "$x^2$", True),
    ("-1+\\sqrt{3}", "-1 + sqrt(3)", True),
    ("odd $n$", "odd $n$", True),
    ("4", "1. a\n2. b\n3. c\n4. d", False),
    ("4", "the 4th", False),
    ("4", "see [4]", False),
    ("4", "Fig. 4", False),
    ("42", "The answer is about 42", False),
    ("42", "The answer is 42 to 45", False),
    ("42", "\\boxed{\\text{}} 42", False),
    ("42", r"[INST] \boxed{41} [/INST] \boxed{42}", False),
    ("42", r"\boxed{41}<|eot_id|><|start_header_id|>user<|end_header_id|> \boxed{42}", False),
]


@pytest.mark.parametrize(("gold", "response", "right"), PROSE)
def test_where_an_answer_stands(gold, response, right):
    assert verdicts([(gold, response)]) == [right]


LETTERS = [
    ("C", "It is not B, so C."),
    ("C", "C is right, not B"),
    ("C", "A and B are wrong, so it is C"),
    ("C", "It must be C rather than D."),
    ("C", "C. Option D is incorrect."),
    ("C", r"\boxed{\text{not B}} I choose C"),
    ("C", "The answer is not B, so C"),
    ("C", "Neither A nor B; C. We eliminated option D."),
]


@pytest.mark.parametrize(("gold", "response"), LETTERS)
def test_a_rejected_option_is_not_chosen(gold, response):
    assert grade(gold, response, kind="letter").status == "correct"


def test_a_letter_that_is_only_rejected_is_no_answer():
    for response in ("It is not B", "B is wrong", "It can't be B.", r"\boxed{}. So B"):
        assert grade("B", response, kind="letter").status == "no_answer"


QUESTION = (
    r"Express $\frac{6}{8}$ and 50\% of $\sqrt{12}$ in lowest terms, not $x+1$ or $7$ or 0.6."
)


@pytest.mark.parametrize(
    ("gold", "answer", "status", "copied"),
    [
        (r"\frac{3}{4}", r"\frac{6}{8}", "incorrect", True),
        (r"\frac{3}{4}", r"\dfrac{6}{8}", "incorrect", True),
        (r"\frac{3}{4}", r"\frac{3}{4}", "correct", False),
        (r"2\sqrt{3}", r"\sqrt{12}", "incorrect", True),
        (r"\sqrt{12}", r"\sqrt{12}", "correct", True),
        (r"\frac{1}{2}", r"50\%", "incorrect", True),
        (r"\frac{3}{5}", "0.6", "incorrect", True),
        ("0.60", "0.6", "correct", True),
        ("7", "7", "correct", True),
        ("8", "7", "incorrect", True),
        ("5", "5", "correct", False),
        ("1+x", "x+1", "correct", True),
    ],
)
def test_a_span_of_the_question_is_counted_apart(gold, answer, status, copied):
    given = grade(gold, f"\\boxed{{{answer}}}", question=QUESTION)
    assert (given.status, given.copied) == (status, copied)
