r"""Answers as people and models of many countries write them: boxes, units, systems, bounds."""

import pytest

from rlvr_dynamics.grading.grade import grade, grade_many
from rlvr_dynamics.grading.letters import chosen_letter

RIGHT = [
    ("113", r"\textbf{(113) }"),
    ("42", r"\text{42 apples}"),
    ("9 (apples)", "9"),
    ("9", "9 (apples)"),
    ("42", "Answer: 42"),
    ("(20,100)", "(20, 100)"),
    ("(-1)^n", r"\cos(\pi n)"),
    (r"\sqrt{n}\sqrt{m}", r"\sqrt{nm}"),
    (r"(-\infty,1)\cup(1,\infty)", r"(-\infty,\infty)\setminus\{1\}"),
    ("42", r"\large 42"),
    ("42", r"\textcolor{blue}{42}"),
    ("42", r"{\bf 42}"),
    (r"5\text{ m/s}", r"5~{\rm m/s}"),
    (r"(-\infty, 2] \cup [3, \infty)", "(-inf, 2] U [3, inf)"),
    (r"\infty", r"\text{infinity}"),
    ("9页", "9"),
    ("192", "192公斤"),
    ("9", r"9 \text{页}"),
    (r"\left\{\begin{array}{l}x=1\\y=2\end{array}\right.", "x=1, y=2"),
    (
        r"\begin{cases}x=1,\\y=2.\end{cases}",
        r"\left\{ \begin{aligned} x=1 \\ y=2 \end{aligned} \right.",
    ),
    (
        r"f(x)=\begin{cases}x&x>0\\-x&x\le0\end{cases}",
        r"f(x)=\left\{\begin{array}{ll}x & x>0\\ -x & x\leq 0\end{array}\right.",
    ),
    ("(1,2)", r"\begin{cases}x=1\\y=2\end{cases}"),
    (r"p = 5, q = 2 \quad \text{and} \quad p = 7, q = 2", "p=5,q=2;p=7,q=2"),
    ("[2,3)", r"x\ge2, x<3"),
    (r"2\le x<3", r"x<3 \text{ and } x\ge 2"),
    (r"(-\infty,-1)\cup(1,\infty)", "x<-1, x>1"),
    ("x>0, y<3", "y<3, x>0"),
]
WRONG = [
    (r"2 \cos (\pi t+\pi / 3)", r"2 \cos (\pi t-\pi / 3)"),
    (r"e^{at}+e^{-at}", r"e^{at}+e^{-at}+1"),
    ("2^n", "2^n+1"),
    (r"\sin (880 \pi t)", r"\sin (80 \pi t)"),
    ("(2,251,252)", "[2,251,252]"),
    (r"d=2, M=(\frac{5}{6}, \frac{7}{4})", r"d=2, M=(\frac{5}{6}, \frac{7}{4})+1"),
    (r"T=-10+110 e^{-t \ln 2}", r"T=-10-110 e^{-t \ln 2}"),
    (r"(\frac{2}{5}, \frac{3}{5})", r"(\frac{2}{5}, \frac{3}{5})+1"),
    (r"(\frac{2}{5}, \frac{3}{5})", r"-((\frac{2}{5}, \frac{3}{5}))"),
    (r"x=\frac{16}{15}", r"-(x=\frac{16}{15})"),
    ("(20,100)", "[20,100]"),
    ("(20,100)", "20100"),
    ("9", "9 (wrong)"),
    (r"5\text{ m/s}", r"5~{\rm kg}"),
    ("9", r"\text{9 plus five}"),
    ("9", "9不对"),
    ("9页", "9个"),
    ("9", "9或8"),
    (r"\begin{cases}x=1\\y=2\end{cases}", "x=2,y=1"),
    ("[2,3)", r"x\ge2, y<3"),
    ("[2,3)", r"x\ge2, x\le3"),
    ("(-1,1)", "x<-1, x>1"),
    ("x>0, y<3", "x<3, y>0"),
]
RESPONSES = [
    (r"So it is $\boxed 4$.", "4"),
    (r"\boxed 42", "42"),
    (r"\boxed\frac{1}{2}.", r"\frac{1}{2}"),
    (r"$\boxed{\left\{\begin{array}{l}x=1\\y=2\end{array}\right.}$", r"x=1,y=2"),
    ("答案是42。", "42"),
    ("故答案为：$42$.", "42"),
    ("答案：每份应该是 (\\frac{2}{5}) 吨。", "2/5"),
    ("所以还剩9页没有看。答案：9页。", "9"),
    ("因此，水池中水将在300分钟内被放完。", "300"),
    ("答えは42です。", "42"),
    ("답은 42입니다.", "42"),
    ("Ответ: 42", "42"),
    ("La réponse est $42$.", "42"),
    ("Die Antwort lautet 42.", "42"),
    ("هو **92**.", "92"),
    ("She pays $3 and then $2, so in total $5.", "5"),
    ("how many $? just about 1$", "1"),
    (
        "The final answer is $\\begin{bmatrix}1\\\\\n2\\end{bmatrix}$. I hope it is correct.",
        r"\begin{bmatrix}1\\2\end{bmatrix}",
    ),
    (r"The final answer is $34\text{ sq. units}$. I hope it is correct.", "34"),
    ("The answers are 1 and 2.", "1,2"),
    ("The correct answer is thus $42$.", "42"),
    ("The answer is given by 42.", "42"),
    ("It makes 1,000, and that is it.", "1000"),
]
UNANSWERED = [
    (r"\boxed is empty, but 42", "42"),
    (r"\boxed 4x", "4"),
    ("答案是8或9。", "9"),
    ("Soucis : 2,74 a", "74"),
]


def verdicts(pairs):
    return [given.status == "correct" for given in grade_many(pairs)]


@pytest.mark.parametrize(("cases", "right"), [(RIGHT, True), (WRONG, False)])
def test_another_spelling_of_the_answer(cases, right):
    found = verdicts([(gold, f"\\boxed{{{answer}}}") for gold, answer in cases])
    assert [case for case, given in zip(cases, found, strict=True) if given != right] == []


@pytest.mark.parametrize(("cases", "right"), [(RESPONSES, True), (UNANSWERED, False)])
def test_another_way_to_give_the_answer(cases, right):
    found = verdicts([(gold, response) for response, gold in cases])
    assert [case for case, given in zip(cases, found, strict=True) if given != right] == []


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("It is not A because it makes no sense, therefore I think it's B", "B"),
        ("The answer is for sure D, it can't be A or B", "D"),
        ("D. it can't be A or B", "D"),
        ("réponse est C non A", "C"),
        ("B。 不是 A", "B"),
        ("B不是 A", "B"),
        ("选C", "C"),
    ],
)
def test_a_letter_beside_rejected_ones(response, letter):
    assert chosen_letter(response).text == letter


def test_a_box_cut_inside_a_set_is_unfinished():
    assert grade("1,2", r"so \boxed{\{1,2\}").status == "no_answer"
