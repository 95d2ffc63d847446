"""Sums for a real language model: shown examples, then one to complete, graded by the exact number.

A prompt is bare text, two worked lines and an open one, and the model's line break ends the answer:

    14 + 13 = 27
    58 + 27 = 85
    88 + 84 =

So a base that has never seen this task answers with a number nearly always, and the reward is about
which number. Whether a sum is for training, validation or test is decided by a hash of its numbers
in rising order and the seed: no test sum, and none with its terms swapped, is ever trained on.
"""

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.training.task_tables import count_shared, write_tables

# Upper ends of the pools on the unit interval that the hash is spread over.
POOLS = {"train": 0.75, "validation": 0.80, "test": 1.0}
IN_DOMAIN = "sums"
MAX_DRAWS_PER_PROBLEM = 200


@dataclass(frozen=True)
class Family:
    """Problems of one form.

    Attributes:
        title: Name in tables.
        sign: Between the terms.
        ranges: Smallest and largest value of each term.
        examples: Terms of the two worked lines; they are never asked.
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
        terms: In the order in which they are written.
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
        """What stands for the problem: its sign and its terms in rising order."""
        return FAMILIES[self.family].sign + ",".join(map(str, sorted(self.terms)))


@dataclass(frozen=True)
class SumTask:
    """The task of one seed: how many problems of each kind."""

    seed: int
    train_problems: int
    validation_problems: int
    test_problems: int
    ood_problems: int

    def pool_of(self, problem: Sum) -> str:
        """Pool that a problem belongs to."""
        digest = hashlib.sha256(f"{self.seed}:{problem.canonical}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        return next(pool for pool, end in POOLS.items() if place < end)

    def problems(self, family: str, pool: str, count: int) -> list[Sum]:
        """Draw distinct problems of a family from a pool; none has a negative answer.

        Raises:
            ValueError: The family has not that many distinct problems in this pool.
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
        """Problems that reinforcement learning sees."""
        return self.problems(IN_DOMAIN, "train", self.train_problems)

    def validation(self) -> list[Sum]:
        """In-domain problems for choices that must not touch the test set."""
        return self.problems(IN_DOMAIN, "validation", self.validation_problems)

    def benchmarks(self) -> dict[str, list[Sum]]:
        """Test problems by benchmark name; the first is in-domain."""
        return {
            family: self.problems(
                family, "test", self.test_problems if family == IN_DOMAIN else self.ood_problems
            )
            for family in FAMILIES
        }


def shared_problems(sets: dict[str, Iterable[Sum]]) -> dict[str, int]:
    """Count the problems that two sets have in common, by "<one> & <other>", for every pair."""
    return count_shared(
        {name: (each.canonical for each in problems) for name, problems in sets.items()}
    )


def write_sums(task: SumTask, folder: Path) -> dict[str, Any]:
    """Write train.parquet, val.parquet and benchmarks/*.parquet, and check for overlap.

    Returns:
        Facts for the report: problems per table and how many any two sets share (0).

    Raises:
        ValueError: Two sets share a problem, or a pool is too small for what was asked.
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
