"""One firing: what it has cost so far, and the gate's answers about a candidate, look by look."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
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

    def first_look(self) -> np.ndarray:
        """Return the present weights' scores, shape (problems, samples), NaN where not asked."""
        scores = np.full((self.trainer.problems(), self.gate.samples), np.nan)
        self._ask(scores, looks(len(scores), self.gate.rule)[0])
        return scores

    def judge(self, before: np.ndarray, *, complete: bool) -> tuple[Decision, np.ndarray]:
        """Ask for the candidate that the workers hold, until it is surely worse.

        Args:
            before: Scores of the weights to compare with.
            complete: Whether it has all of them. Otherwise it has the first look's, of the weights
                before all candidates, and every further look adds its own in place.

        Returns:
            The decision, and the candidate's scores, NaN where not asked.
        """
        after, asked = np.full_like(before, np.nan), np.zeros(len(before), dtype=bool)
        for look in looks(len(before), self.gate.rule):
            part = look & ~asked
            self._ask(after, part)
            if asked.any() and not complete:
                self._complete(before, part)
            asked = look
            found = decide(
                before[asked],
                after[asked],
                level=self.gate.level,
                tried=self.candidates,
                rule=self.gate.rule,
            )
            if found.worse:
                break
        return found, after

    def _complete(self, before: np.ndarray, part: np.ndarray) -> None:
        """Ask for the weights before all candidates, and come back to the candidate."""
        with self.firing.timed("search"):
            self.trainer.workers("exchange")
        self._ask(before, part)
        with self.firing.timed("search"):
            self.trainer.workers("exchange")

    def _ask(self, scores: np.ndarray, part: np.ndarray) -> None:
        """Fill in the scores of the weights that the workers hold, at some problems."""
        with self.firing.timed("sync"):
            self.trainer.sync()
        with self.firing.timed("validate"):
            found = self.trainer.answer(self.step, np.flatnonzero(part).tolist())
        self.firing.costs["rollouts"] += found.scores.size
        self.firing.costs["tokens"] += found.tokens
        scores[part] = found.scores
