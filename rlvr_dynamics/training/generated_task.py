"""A task generated from a seed: every problem in one pool, so that no two sets share any."""

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rlvr_dynamics.training.task_tables import Problem, count_shared, write_tables


class Distinct(Problem, Protocol):
    """A problem that can be told from others."""

    @property
    def canonical(self) -> str:
        """Text that is the same for problems that count as the same."""
        ...


P = TypeVar("P", bound=Distinct)


@dataclass(frozen=True)
class GeneratedTask(ABC, Generic[P]):
    """The task generated from one seed, and how many problems of each kind it has.

    A hash of the seed and a problem's canonical text decides its pool.
    """

    seed: int
    train_problems: int
    validation_problems: int
    test_problems: int
    ood_problems: int

    IN_DOMAIN: ClassVar[str]
    """The family that is trained on; also verl's data source, which determines the grader."""
    KIND: ClassVar[str]
    """How the benchmarks are graded."""
    TITLES: ClassVar[Mapping[str, str]]
    """Name of each family in reports."""
    POOLS: ClassVar[Mapping[str, float]]
    """Upper bound of each pool; the hash is uniform on the unit interval."""
    DRAWS_PER_PROBLEM: ClassVar[int]
    """Most draws for each problem wanted before the family counts as too small."""

    @abstractmethod
    def draw(self, family: str, rng: random.Random) -> P:
        """Draw one problem of a family."""

    def is_shown(self, problem: P) -> bool:
        """Whether a problem is part of the prompts and thus never asked."""
        return False

    def pool_of(self, problem: P) -> str:
        """Return the pool that a problem belongs to."""
        digest = hashlib.sha256(f"{self.seed}:{problem.canonical}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        return next(pool for pool, end in self.POOLS.items() if place < end)

    def problems(self, family: str, pool: str, count: int) -> list[P]:
        """Draw distinct problems of a family from a pool.

        Raises:
            ValueError: The family has too few distinct problems in this pool.
        """
        rng = random.Random(f"{self.seed}:{family}:{pool}")  # noqa: S311
        found: dict[str, P] = {}
        for _ in range(count * self.DRAWS_PER_PROBLEM):
            if len(found) == count:
                break
            problem = self.draw(family, rng)
            if not self.is_shown(problem) and self.pool_of(problem) == pool:
                found.setdefault(problem.canonical, problem)
        if len(found) < count:
            raise ValueError(
                f"{family} has only about {len(found)} problems in its {pool} pool, "
                f"{count} were asked for"
            )
        return list(found.values())

    def train(self) -> list[P]:
        """Return the problems for reinforcement learning."""
        return self.problems(self.IN_DOMAIN, "train", self.train_problems)

    def validation(self) -> list[P]:
        """Return in-domain problems for decisions that must not use the test set."""
        return self.problems(self.IN_DOMAIN, "validation", self.validation_problems)

    def benchmarks(self) -> dict[str, list[P]]:
        """Return the test problems by benchmark name; the first benchmark is in-domain."""
        sizes = dict.fromkeys(self.TITLES, self.ood_problems) | {self.IN_DOMAIN: self.test_problems}
        return {family: self.problems(family, "test", size) for family, size in sizes.items()}

    def write(self, folder: Path, **others: Iterable[P]) -> dict[str, Any]:
        """Write train.parquet, val.parquet and benchmarks/*.parquet, and check for overlap.

        Args:
            folder: Where the tables go.
            **others: Further sets that must share no problem with the tables, such as what the
                base model was pretrained on.

        Returns:
            Facts for the report: problems per table and how many any two sets share (0).

        Raises:
            ValueError: Two sets share a problem, or a pool has too few problems.
        """
        train, validation, benchmarks = self.train(), self.validation(), self.benchmarks()
        sets = {**others, "train": train, "validation": validation, **benchmarks}
        return write_tables(
            folder,
            self.IN_DOMAIN,
            self.KIND,
            train=train,
            validation=validation,
            benchmarks=benchmarks,
            titles=self.TITLES,
            in_domain=self.IN_DOMAIN,
            shared=shared_problems(sets),
        )


def shared_problems(sets: Mapping[str, Iterable[Distinct]]) -> dict[str, int]:
    """Count the problems shared by each pair of sets, by "<one> & <other>"."""
    return count_shared(
        {name: (each.canonical for each in problems) for name, problems in sets.items()}
    )
