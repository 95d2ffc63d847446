"""A verifiable step-by-step arithmetic task, generated from a seed.

Every problem belongs to exactly one pool (pretraining, train, validation, test), decided by a hash
of its text and the seed, so the pools cannot overlap; `write` still checks that they do not.

The generator is simple: an answer follows from integer arithmetic on the prompt's own numbers.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from rlvr_dynamics.training.generated_task import GeneratedTask

# Pretraining includes some of the other families: a base that scores 0 there shows no change.
PRETRAINING_MIX = {"arithmetic": 0.64, "longer": 0.10, "larger": 0.14, "operations": 0.12}
# There are only 4,000 chains of three terms. At this share neither the training nor the test pool
# runs out of them, so both have nearly the same mixture.
SHORT_CHAINS = 0.2


@dataclass(frozen=True)
class Problem:
    """One problem: its prompt, its answer and its worked steps as (left side, value)."""

    family: str
    prompt: str
    answer: int
    steps: tuple[tuple[str, int], ...]

    @property
    def canonical(self) -> str:
        """The prompt as `canonical` writes it."""
        return canonical(self.prompt)


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


class ArithmeticTask(GeneratedTask[Problem]):
    """The arithmetic generated from one seed."""

    IN_DOMAIN = "arithmetic"
    KIND = "integer"
    TITLES = {
        "arithmetic": "Arithmetic, 3-4 one-digit terms",
        "longer": "Longer chains",
        "larger": "Larger numbers",
        "operations": "Other operations",
    }
    POOLS = {"pretraining": 0.60, "train": 0.84, "validation": 0.86, "test": 1.0}
    DRAWS_PER_PROBLEM = 400

    def draw(self, family: str, rng: random.Random) -> Problem:
        """Draw one problem of a family."""
        return draw(family, rng)

    def pretraining(self, count: int) -> list[Problem]:
        """Draw pretraining problems from all families in `PRETRAINING_MIX`, with repeats."""
        rng = random.Random(f"{self.seed}:pretraining")  # noqa: S311
        families, weights = list(PRETRAINING_MIX), list(PRETRAINING_MIX.values())
        found: list[Problem] = []
        while len(found) < count:
            problem = draw(rng.choices(families, weights)[0], rng)
            if self.pool_of(problem) == "pretraining":
                found.append(problem)
        return found
