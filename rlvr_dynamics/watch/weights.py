"""The weights of a run so far: lengths of its steps, and how straight their path is.

Every new checkpoint is read once and becomes a sketch of 32 KB. Its inner products with the steps
before it are added to the Gram matrix, so a step costs one pass over its weights and one product
of the sketches.

Legend: T steps since the last jump of the weights.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from rlvr_dynamics.dynamics import even_spacing, linearity, step_lengths, svd_of_gram
from rlvr_dynamics.errors import one_line
from rlvr_dynamics.watch.sketches import Mark


class Source(Protocol):
    """Where sketches come from (`watch.sketches`)."""

    def marks(self) -> dict[int, Mark]:
        """Return the steps that are there, ascending, the base as 0, and marks of them."""
        ...

    def read(self, steps: list[int]) -> Iterator[tuple[int, np.ndarray | str]]:
        """Yield steps with their sketches, shape (size,), float64, or with what is wrong."""
        ...


@dataclass(frozen=True)
class Straightness:
    """How well the leading coefficient of the trajectory follows a clock.

    Attributes:
        r2: In sample.
        heldout_r2: Of the line through the first half of the steps, on the second half.
    """

    r2: float
    heldout_r2: float


@dataclass(frozen=True)
class Weights:
    """What is known of the weights.

    Attributes:
        origin: The step from which changes are counted: 0, or the first one after the last jump.
        steps: The steps after it, shape (T,), ascending.
        lengths: ‖W_t - W_{t-1}‖ of each, over all weights, shape (T,), float64.
        explained_variance: Of the trajectory rank-1 approximation of the changes; NaN if T = 0.
        clocks: By clock, `step` and `path`; without `path` where the steps are uneven.
        relative_error: Standard error of a length, as a share of it, which the sketch makes.
        remarks: Steps that could not be read, and why.
    """

    origin: int
    steps: np.ndarray
    lengths: np.ndarray
    explained_variance: float
    clocks: Mapping[str, Straightness]
    relative_error: float
    remarks: tuple[str, ...] = ()


@dataclass
class WeightsSoFar:
    """Sketches of the steps and their inner products, kept up to date.

    Attributes:
        source: Where new sketches come from.
    """

    source: Source
    _known: dict[int, Mark] = field(default_factory=dict)
    _sketches: dict[int, np.ndarray] = field(default_factory=dict)
    _failed: dict[int, tuple[Mark, str]] = field(default_factory=dict)
    _steps: list[int] = field(default_factory=list)
    _gram: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    _origin: int = 0

    def update(self, jumped: int | None, seen: Callable[[int], None] = lambda step: None) -> bool:
        """Read the steps that are new, and forget those that are gone or were trained again.

        Args:
            jumped: The last step after which the weights jumped; None without a jump.
            seen: Called with every step that was read.

        Returns:
            Whether anything changed.
        """
        marks = self.source.marks()
        stale = [step for step, mark in self._known.items() if marks.get(step) != mark]
        if stale:
            self._forget(0 if 0 in stale else min(stale))
        origin = 0 if jumped is None else jumped + 1
        if origin != self._origin:
            self._origin, self._steps, self._gram = origin, [], np.zeros((0, 0))
        failed = {step for step, (mark, _) in self._failed.items() if marks.get(step) == mark}
        self._failed = {step: self._failed[step] for step in failed}
        known = self._known.keys() | failed
        new = [step for step in marks if step >= origin and step not in known]
        for step, found in self.source.read(new) if new else ():
            if isinstance(found, str):
                self._failed[step] = (marks[step], f"step {step}: {one_line(found)}")
                continue
            self._known[step], self._sketches[step] = marks[step], found
            seen(step)
        self._extend()
        return bool(stale or new)

    def _forget(self, first: int) -> None:
        for held in (self._known, self._sketches, self._failed):
            for step in [step for step in held if step >= first]:
                del held[step]
        keep = sum(step < first for step in self._steps) if first > self._origin else 0
        self._steps, self._gram = self._steps[:keep], self._gram[:keep, :keep]

    def _extend(self) -> None:
        """Add the inner products of the steps that the Gram matrix does not have."""
        start = self._sketches.get(self._origin)
        later = sorted(step for step in self._sketches if step > self._origin)
        if start is None or later == self._steps:
            return
        same = later[: len(self._steps)] == self._steps
        count = len(self._steps) if same else 0
        changes = np.stack([self._sketches[step] - start for step in later])
        gram = np.zeros((len(later), len(later)))
        gram[:count, :count] = self._gram[:count, :count]
        gram[count:] = changes[count:] @ changes.T
        gram[:count, count:] = gram[count:, :count].T
        self._steps, self._gram = later, gram

    def weights(self) -> Weights:
        """Return what the steps so far say."""
        size = next((len(each) for each in self._sketches.values()), 1)
        steps = np.array(self._steps, dtype=np.int64)
        remarks = tuple(what for _, what in self._failed.values())
        # A squared length has the error sqrt(2 / size), its root half of it.
        error = float(np.sqrt(2.0 / size) / 2.0)
        lengths = step_lengths(self._gram) if len(steps) else np.zeros(0)
        if not len(steps) or not np.any(lengths):
            return Weights(self._origin, steps, lengths, float("nan"), {}, error, remarks)
        passed = steps - self._origin
        svd = svd_of_gram(torch.from_numpy(self._gram), 1, passed)
        clocks = {"step": passed.astype(np.float64)}
        if even_spacing(passed) is not None:
            clocks["path"] = np.cumsum(lengths)
        lines = {name: linearity(time, svd.coefficients[:, 0]) for name, time in clocks.items()}
        return Weights(
            self._origin,
            steps,
            lengths,
            float(svd.explained_variance[0]),
            {
                name: Straightness(float(line.r2), float(line.heldout_r2))
                for name, line in lines.items()
            },
            error,
            remarks,
        )
