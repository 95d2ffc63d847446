"""One firing: what it has cost so far, and the gate's answers about a candidate, look by look."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlvr_dynamics.acceleration.gate import Decision, decide, looks
from rlvr_dynamics.schema.acceleration import Gate
from rlvr_dynamics.training.jump_trainer import Trainer


@dataclass
class Firing:
    """What one firing has found out so far.

    Attributes:
        record: Its record, as it will be written.
        costs: Seconds of `search`, `validate` and `sync`; numbers of `rollouts` and `tokens`.
    """

    record: dict[str, Any]
    costs: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the seconds of a block to a cost."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.costs[what] += time.monotonic() - begin


@dataclass
class Scores:
    """Scores of some weights.

    Attributes:
        values: Shape (problems, samples), NaN where not asked.
        asked: Which problems were, shape (problems,).
    """

    values: np.ndarray
    asked: np.ndarray

    @property
    def problems(self) -> int:
        """Number of problems that were asked."""
        return int(self.asked.sum())

    @property
    def mean(self) -> float:
        """Over what was asked."""
        return float(self.values[self.asked].mean())


@dataclass(frozen=True)
class Asking:
    """The gate's answers at one firing.

    Attributes:
        trainer: The training around it.
        gate: Rule, level and answers to each problem.
        firing: Where the costs go.
        step: Seeds the answers.
        candidates: Of the firing, among which the level is divided.
    """

    trainer: Trainer
    gate: Gate
    firing: Firing
    step: int
    candidates: int

    def first_look(self) -> Scores:
        """Ask the weights that the workers hold as many problems as a first look takes."""
        scores = self._none()
        self._ask(scores, looks(len(scores.asked), self.gate.rule)[0].asked)
        return scores

    def judge(
        self,
        before: Scores,
        compared: Callable[[], AbstractContextManager[None]],
        *,
        selected: bool,
    ) -> tuple[Decision, Scores]:
        """Ask for the candidate that the workers hold, look by look until it is settled.

        Args:
            before: Of the weights to compare with; what a look needs of them is added.
            compared: Returns a context in which the workers hold those weights.
            selected: Whether they were accepted by these answers. A part of the problems that was
                enough for that flatters them, so there a candidate ends only if it is surely worse.

        Returns:
            The decision, and the candidate's scores.
        """
        after = self._none()
        flattering = before.asked & (selected and not before.asked.all())
        for asked, share in looks(len(before.asked), self.gate.rule):
            self._ask(after, asked)
            if (asked & ~before.asked).any():
                with compared():
                    self._ask(before, asked)
            found = decide(
                before.values[asked],
                after.values[asked],
                level=self.gate.level,
                tried=self.candidates,
                share=share,
                rule=self.gate.rule,
            )
            fair = (asked & ~flattering).any()
            if found.accepted or found.worse or (fair and not found.ahead):
                break
        return found, after

    def _none(self) -> Scores:
        count = self.trainer.problems()
        values = np.full((count, self.gate.samples), np.nan)
        return Scores(values, np.zeros(count, dtype=bool))

    def _ask(self, scores: Scores, wanted: np.ndarray) -> None:
        """Fill in the scores of the weights that the workers hold, where they are missing."""
        part = wanted & ~scores.asked
        with self.firing.timed("sync"):
            self.trainer.sync()
        with self.firing.timed("validate"):
            found = self.trainer.answer(self.step, np.flatnonzero(part).tolist())
        self.firing.costs["rollouts"] += found.scores.size
        self.firing.costs["tokens"] += found.tokens
        scores.values[part], scores.asked = found.scores, scores.asked | part
