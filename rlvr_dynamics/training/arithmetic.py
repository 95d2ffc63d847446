"""A verifiable step-by-step arithmetic task, generated from a seed.

Every problem belongs to exactly one pool (pretraining, train, validation, test), decided by a hash
of its text and the seed, so the pools cannot overlap; `write_task` still checks that they do not.

The generator is simple: an answer follows from integer arithmetic on the prompt's own numbers.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.training.task_tables import count_shared, write_tables

# Upper bound of each pool; the hash is uniform on the unit interval.
POOLS = {"pretraining": 0.60, "train": 0.84, "validation": 0.86, "test": 1.0}
TITLES = {
    "arithmetic": "Arithmetic, 3-4 one-digit terms",
    "longer": "Longer chains",
    "larger": "Larger numbers",
    "operations": "Other operations",
}
IN_DOMAIN = "arithmetic"
# Pretraining includes some of the other families: a base that scores 0 there shows no change.
PRETRAINING_MIX = {"arithmetic": 0.64, "longer": 0.10, "larger": 0.14, "operations": 0.12}
# There are only 4,000 chains of three terms. At this share neither the training nor the test pool
# runs out of them, so both have nearly the same mixture.
SHORT_CHAINS = 0.2
MAX_DRAWS_PER_PROBLEM = 400


@dataclass(frozen=True)
class Problem:
    """One problem: its prompt, its answer and its worked steps as (left side, value)."""

    family: str
    prompt: str
    answer: int
    steps: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Noise:
    """How often solutions in the pretraining data contain mistakes.

    Attributes:
        careful: Share of solutions without a mistake.
        sloppy: Share with independent mistakes in the steps; all others skip the steps and guess.
        step_error: Probability of a mistake in each step, and in a guessed answer.
    """

    careful: float
    sloppy: float
    step_error: float


CLEAN = Noise(careful=1.0, sloppy=0.0, step_error=0.0)


def _chain(family: str, rng: random.Random, terms: int, largest: int) -> Problem:
    numbers = [rng.randint(0 if largest < 10 else 10, largest) for _ in range(terms)]
    signs = [rng.choice("+-") for _ in numbers[1:]]
    prompt = str(numbers[0]) + "".join(f"{s}{n}" for s, n in zip(signs, numbers[1:], strict=True))
    return Problem(family, prompt + "=", *_work_chain(numbers, signs, lambda value: value))


def _work_chain(
    numbers: list[int], signs: list[str], mistake: Callable[[int], int]
) -> tuple[int, tuple[tuple[str, int], ...]]:
    total, steps = numbers[0], []
    for sign, number in zip(signs, numbers[1:], strict=True):
        value = mistake(total + number if sign == "+" else total - number)
        steps.append((f"{total}{sign}{number}", value))
        total = value
    return total, tuple(steps)


def _product(rng: random.Random) -> Problem:
    first, second, third = rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 99)
    sign = rng.choice("+-")
    worked = _work_product([first, second, third], sign, lambda value: value)
    return Problem("operations", f"{first}*{second}{sign}{third}=", *worked)


def _work_product(
    numbers: list[int], sign: str, mistake: Callable[[int], int]
) -> tuple[int, tuple[tuple[str, int], ...]]:
    first, second, third = numbers
    product = mistake(first * second)
    answer, steps = _work_chain([product, third], [sign], mistake)
    return answer, ((f"{first}*{second}", product), *steps)


def draw(family: str, rng: random.Random) -> Problem:
    """Draw one problem of a family.

    Raises:
        ValueError: The family does not exist.
    """
    if family == "arithmetic":
        return _chain(family, rng, 3 if rng.random() < SHORT_CHAINS else 4, 9)
    if family == "longer":
        return _chain(family, rng, rng.choice((5, 6)), 9)
    if family == "larger":
        return _chain(family, rng, rng.choice((2, 3)), 99)
    if family == "operations":
        return _product(rng)
    raise ValueError(f"unknown family {family!r}")


def solution(problem: Problem, rng: random.Random, noise: Noise) -> str:
    """Write a solution: one worked step per line, then the boxed answer.

    A mistake in one step carries over to the next, as for a careless solver.

    Args:
        problem: The problem.
        rng: Draws the style and the mistakes.
        noise: How often each mistake is made; `CLEAN` gives the reference solution.
    """
    style = rng.random()
    if style >= noise.careful + noise.sloppy:
        return f"\\boxed{{{_mistaken(problem.answer, rng, noise.step_error)}}}"
    error = 0.0 if style < noise.careful else noise.step_error
    answer, steps = _work(problem, lambda value: _mistaken(value, rng, error))
    lines = [f"{left}={value}" for left, value in steps]
    return "\n".join([*lines, f"\\boxed{{{answer}}}"])


def _work(
    problem: Problem, mistake: Callable[[int], int]
) -> tuple[int, tuple[tuple[str, int], ...]]:
    numbers = [int(text) for text in re.findall(r"\d+", problem.prompt)]
    signs = re.findall(r"[+-]", problem.prompt)
    if problem.family == "operations":
        return _work_product(numbers, signs[0], mistake)
    return _work_chain(numbers, signs, mistake)


def canonical(prompt: str) -> str:
    """Canonical text of a problem: `7*3+5=` and `3*7+5=` are the same problem."""
    return re.sub(
        r"(\d+)\*(\d+)", lambda pair: "*".join(sorted(pair.groups(), key=int)), prompt, count=1
    )


def _mistaken(value: int, rng: random.Random, probability: float) -> int:
    if rng.random() >= probability:
        return value
    return value + rng.choice((-1, 1, -1, 1, -10, 10, -2, 2))


@dataclass(frozen=True)
class ArithmeticTask:
    """The task generated from one seed, and how many problems of each kind it has."""

    seed: int
    train_problems: int
    validation_problems: int
    test_problems: int
    ood_problems: int

    def pool_of(self, prompt: str) -> str:
        """Return the pool that a prompt belongs to."""
        digest = hashlib.sha256(f"{self.seed}:{canonical(prompt)}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        return next(pool for pool, end in POOLS.items() if place < end)

    def problems(self, family: str, pool: str, count: int) -> list[Problem]:
        """Draw distinct problems of a family from a pool.

        Raises:
            ValueError: The family has too few distinct problems in this pool.
        """
        rng = random.Random(f"{self.seed}:{family}:{pool}")  # noqa: S311
        found: dict[str, Problem] = {}
        for _ in range(count * MAX_DRAWS_PER_PROBLEM):
            if len(found) == count:
                break
            problem = draw(family, rng)
            if self.pool_of(problem.prompt) == pool:
                found.setdefault(canonical(problem.prompt), problem)
        if len(found) < count:
            raise ValueError(
                f"{family} has only about {len(found)} problems in its {pool} pool, "
                f"{count} were asked for"
            )
        return list(found.values())

    def pretraining(self, count: int) -> list[Problem]:
        """Draw pretraining problems from all families in `PRETRAINING_MIX`, with repeats."""
        rng = random.Random(f"{self.seed}:pretraining")  # noqa: S311
        families, weights = list(PRETRAINING_MIX), list(PRETRAINING_MIX.values())
        found: list[Problem] = []
        while len(found) < count:
            problem = draw(rng.choices(families, weights)[0], rng)
            if self.pool_of(problem.prompt) == "pretraining":
                found.append(problem)
        return found

    def train(self) -> list[Problem]:
        """Return the problems for reinforcement learning."""
        return self.problems(IN_DOMAIN, "train", self.train_problems)

    def validation(self) -> list[Problem]:
        """Return in-domain problems for decisions that must not use the test set."""
        return self.problems(IN_DOMAIN, "validation", self.validation_problems)

    def benchmarks(self) -> dict[str, list[Problem]]:
        """Return the test problems by benchmark name; the first benchmark is in-domain."""
        return {
            family: self.problems(
                family,
                "test",
                self.test_problems if family == IN_DOMAIN else self.ood_problems,
            )
            for family in TITLES
        }


def shared_problems(sets: dict[str, Iterable[Problem]]) -> dict[str, int]:
    """Count the problems shared by each pair of sets.

    Returns:
        Counts by "<one> & <other>".
    """
    return count_shared(
        {name: (canonical(each.prompt) for each in problems) for name, problems in sets.items()}
    )


def write_task(
    task: ArithmeticTask, folder: Path, pretraining: Iterable[Problem]
) -> dict[str, Any]:
    """Write train.parquet, val.parquet and benchmarks/*.parquet, and check for overlap.

    Args:
        task: The task.
        folder: Where the tables go.
        pretraining: What the base model was trained on, for the overlap check.

    Returns:
        Facts for the report: problems per table and how many any two sets share (0).

    Raises:
        ValueError: Two sets share a problem, or a pool has too few problems.
    """
    train, validation, benchmarks = task.train(), task.validation(), task.benchmarks()
    return write_tables(
        folder,
        "arithmetic",
        "integer",
        train=train,
        validation=validation,
        benchmarks=benchmarks,
        titles=TITLES,
        in_domain=IN_DOMAIN,
        shared=shared_problems(
            {"pretraining": pretraining, "train": train, "validation": validation, **benchmarks}
        ),
    )
