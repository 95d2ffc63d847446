"""What the driver of jumps asks of the training around it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Answers:
    """What the rollout engine answered to the gate's problems.

    Attributes:
        scores: Right answers as 1.0, wrong ones as 0.0, shape (problems, samples).
        tokens: Tokens generated.
    """

    scores: np.ndarray
    tokens: int


@dataclass
class Trainer:
    """What the driver asks of the training around it.

    Attributes:
        workers: Calls a method of `JumpWorker` in every process and returns the first's result.
        sync: Sends the weights to the rollout engine.
        problems: Returns how many problems the gate has.
        answer: Asks some of them, given the step, which seeds the answers, and their places.
        accuracy: Returns the accuracy of the weights of each step so far, from their rollouts.
        base: Folder of the base.
    """

    workers: Callable[..., Any]
    sync: Callable[[], None]
    problems: Callable[[], int]
    answer: Callable[[int, Sequence[int]], Answers]
    accuracy: Callable[[], Mapping[int, float]]
    base: str
