"""Few-shot sums for a real language model, graded by the exact number.

A prompt is bare text: two worked lines and an open one. The model's line break ends the answer:

    14 + 13 = 27
    58 + 27 = 85
    88 + 84 =

A base that has never seen this task thus nearly always answers with a number, and the reward only
decides whether it is the right one. A hash of the sum's numbers in ascending order and the seed
assigns it to training, validation or test, so no test sum is trained on, even with swapped terms.
"""

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.training.task_tables import count_shared, write_tables

# Upper bound of each pool; the hash is uniform on the unit interval.
POOLS = {"train": 0.75, "validation": 0.80, "test": 1.0}
IN_DOMAIN = "sums"
MAX_DRAWS_PER_PROBLEM = 200


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


@dataclass(frozen=True)
class SumTask:
    """The task generated from one seed, and how many problems of each kind it has."""

    seed: int
    train_problems: int
    validation_problems: int
    test_problems: int
    ood_problems: int

    def pool_of(self, problem: Sum) -> str:
        """Return the pool that a problem belongs to."""
        digest = hashlib.sha256(f"{self.seed}:{problem.canonical}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        return next(pool for pool, end in POOLS.items() if place < end)

    def problems(self, family: str, pool: str, count: int) -> list[Sum]:
        """Draw distinct problems of a family from a pool; answers are never negative.

        Raises:
            ValueError: The family has too few distinct problems in this pool.
        """
        rng = random.Random(f"{self.seed}:{family}:{pool}")  # noqa: S311
        shape = FAMILIES[family]
        shown = {Sum(family, terms).canonical for terms in shape.examples}
        found: dict[str, Sum] = {}
        for _ in range(count * MAX_DRAWS_PER_PROBLEM):
            if len(found) == count:
                break
            terms = [rng.randint(*limits) for limits in shape.ranges]
            if shape.sign == "-":
                terms.sort(reverse=True)
            problem = Sum(family, tuple(terms))
            if problem.canonical not in shown and self.pool_of(problem) == pool:
                found.setdefault(problem.canonical, problem)
        if len(found) < count:
            raise ValueError(
                f"{family} has only about {len(found)} problems in its {pool} pool, "
                f"{count} were asked for"
            )
        return list(found.values())

    def train(self) -> list[Sum]:
        """Return the problems for reinforcement learning."""
        return self.problems(IN_DOMAIN, "train", self.train_problems)

    def validation(self) -> list[Sum]:
        """Return in-domain problems for decisions that must not use the test set."""
        return self.problems(IN_DOMAIN, "validation", self.validation_problems)

    def benchmarks(self) -> dict[str, list[Sum]]:
        """Return the test problems by benchmark name; the first benchmark is in-domain."""
        return {
            family: self.problems(
                family, "test", self.test_problems if family == IN_DOMAIN else self.ood_problems
            )
            for family in FAMILIES
        }


def shared_problems(sets: dict[str, Iterable[Sum]]) -> dict[str, int]:
    """Count the problems shared by each pair of sets, by "<one> & <other>"."""
    return count_shared(
        {name: (each.canonical for each in problems) for name, problems in sets.items()}
    )


def write_sums(task: SumTask, folder: Path) -> dict[str, Any]:
    """Write train.parquet, val.parquet and benchmarks/*.parquet, and check for overlap.

    Returns:
        Facts for the report: problems per table and how many any two sets share (0).

    Raises:
        ValueError: Two sets share a problem, or a pool has too few problems.
    """
    train, validation, benchmarks = task.train(), task.validation(), task.benchmarks()
    return write_tables(
        folder,
        "sums",
        "math",
        train=train,
        validation=validation,
        benchmarks=benchmarks,
        titles={name: family.title for name, family in FAMILIES.items()},
        in_domain=IN_DOMAIN,
        shared=shared_problems({"train": train, "validation": validation, **benchmarks}),
    )
