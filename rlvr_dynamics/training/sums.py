"""Few-shot sums for a real language model, graded by the exact number.

A prompt is bare text: two worked lines and an open one. The model's line break ends the answer:

    14 + 13 = 27
    58 + 27 = 85
    88 + 84 =

A base that has never seen this task thus nearly always answers with a number, and the reward only
decides whether it is the right one. A hash of the sum's numbers in ascending order and the seed
assigns it to training, validation or test, so no test sum is trained on, even with swapped terms.
"""

import random
from dataclasses import dataclass

from rlvr_dynamics.training.generated_task import GeneratedTask


@dataclass(frozen=True)
class Family:
    """Problems of one form.

    Attributes:
        title: Name in tables.
        sign: Operator between the terms.
        ranges: Smallest and largest value of each term.
        examples: Terms of the two worked lines; never used as questions.
    """

    title: str
    sign: str
    ranges: tuple[tuple[int, int], ...]
    examples: tuple[tuple[int, ...], tuple[int, ...]]


TWO_DIGITS = (10, 99)
FAMILIES = {
    "sums": Family("Sums of two-digit numbers", "+", (TWO_DIGITS,) * 2, ((14, 13), (58, 27))),
    "mixed_sums": Family("Two digits plus one", "+", (TWO_DIGITS, (2, 9)), ((14, 3), (58, 7))),
    "longer_sums": Family("Three terms", "+", ((1, 30),) * 3, ((4, 13, 2), (9, 12, 26))),
    "differences": Family("Differences", "-", (TWO_DIGITS,) * 2, ((34, 13), (82, 57))),
}


@dataclass(frozen=True)
class Sum:
    """One problem.

    Attributes:
        family: Key of `FAMILIES`.
        terms: In the order they are written.
    """

    family: str
    terms: tuple[int, ...]

    @property
    def answer(self) -> int:
        """The right number."""
        first, *rest = self.terms
        return first + (sum(rest) if FAMILIES[self.family].sign == "+" else -sum(rest))

    @property
    def open_line(self) -> str:
        """The line to complete."""
        return f" {FAMILIES[self.family].sign} ".join(map(str, self.terms)) + " ="

    @property
    def prompt(self) -> str:
        """The whole text: worked lines, then the open one."""
        shown = (Sum(self.family, terms) for terms in FAMILIES[self.family].examples)
        return "".join(f"{each.open_line} {each.answer}\n" for each in shown) + self.open_line

    @property
    def canonical(self) -> str:
        """Canonical text of the problem: its sign and its terms in ascending order."""
        return FAMILIES[self.family].sign + ",".join(map(str, sorted(self.terms)))


class SumTask(GeneratedTask[Sum]):
    """The sums generated from one seed; answers are never negative."""

    IN_DOMAIN = "sums"
    KIND = "math"
    TITLES = {name: family.title for name, family in FAMILIES.items()}
    POOLS = {"train": 0.75, "validation": 0.80, "test": 1.0}
    DRAWS_PER_PROBLEM = 200

    def draw(self, family: str, rng: random.Random) -> Sum:
        """Draw one problem of a family."""
        shape = FAMILIES[family]
        terms = [rng.randint(*limits) for limits in shape.ranges]
        if shape.sign == "-":
            terms.sort(reverse=True)
        return Sum(family, tuple(terms))

    def is_shown(self, problem: Sum) -> bool:
        """Whether a problem is one of the worked lines."""
        examples = FAMILIES[problem.family].examples
        return problem.canonical in {Sum(problem.family, terms).canonical for terms in examples}
