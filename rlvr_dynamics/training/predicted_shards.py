"""A method of `extrapolation` on the shards of a running training: no weights are gathered.

A rule with row weights reads this process's own elements of the saved steps; Gram matrices of the
parts add up to that of the whole. A rule that needs whole matrices computes one matrix at a time,
every process its share of the tensors, and all get the low-rank changes, of which each applies its
own rows.

Legend: T observed steps, m x n a weight matrix, k rank.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from rlvr_dynamics.checkpoints.differences import Differences, finite_elements
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.dynamics import UpdateBlocks, combine_stored, prediction_dtype
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation.one_tensor import gram_of, held_step
from rlvr_dynamics.extrapolation.rule import Change, Rule, Window
from rlvr_dynamics.training.shards import Shard, Shards

BUDGET_BYTES = 256 << 20  # of saved steps held in memory
_PIECE = 1 << 18


@dataclass
class Prediction:
    """The weights that a method predicts, as candidates for shards.

    Args:
        rule: The method.
        window: The trajectory of the steps that it may use.
        target: The predicted step.
        settings: All of the method's parameters.
        accuracy: Accuracy by step, for methods that need it.

    Attributes:
        remarks: What the method remarked, in this process.
    """

    rule: Rule
    window: Trajectory
    target: int
    settings: Mapping[str, Any]
    accuracy: Mapping[int, float]
    remarks: list[str] = field(default_factory=list)
    _weights: dict[str, np.ndarray] = field(default_factory=dict)
    _changes: dict[str, Change] = field(default_factory=dict)

    def prepare(self, shards: Shards) -> None:
        """Compute what every shard needs; all processes call this together.

        Raises:
            UserError: A parameter is not in the checkpoints, the window is too short, or a weight
                is not finite.
        """
        names = [shard.name for shard in shards]
        for name in names:
            if name not in self.window.names or self.window.numel(name) != shards.sizes[name]:
                raise UserError(
                    f"the trained parameter {name} is not one of the checkpoints'",
                    where=str(self.window.folder(0)),
                    way_out="acceleration.method=anchor, which needs no checkpoints",
                )
        if self.rule.tensor_changes is None:
            for shard in shards:
                self._weights[shard.name] = self._row_weights(shard, shards)
            return
        mine: dict[str, Change] = {}
        failure: UserError | None = None
        try:
            for name in names[shards.place :: shards.members]:
                mine[name] = self._tensor_change(name)
        except UserError as error:  # the others wait for this process
            failure = error
        for changes, failed in shards.gathered((mine, failure and str(failure))):
            if failed:
                raise failure or UserError(failed)
            self._changes |= changes

    def candidate(self, shard: Shard) -> Iterator[tuple[int, Tensor]]:
        """Yield (first element within the shard, predicted values) of a shard."""
        if self._changes:
            yield from self._changed(shard, self._changes[shard.name])
            return
        weights, start = self._weights[shard.name], shard.start
        step = held_step(weights, self.window.steps)
        if step is not None:
            yield from self._stored(shard, step)
            return
        used = np.flatnonzero(weights)
        part = self.window.only([self.window.steps[at] for at in used])
        differences = Differences(part, shard.name, BUDGET_BYTES, span=shard.span)
        dtype = prediction_dtype(differences.dtype, differences.d)
        blocks = UpdateBlocks(differences.T, dtype)
        for first, rows in differences.rows():
            predicted = combine_stored(weights[None, used], rows, blocks)
            differences.refuse_non_finite(first, rows, predicted)
            yield first - start, predicted[0]

    def _row_weights(self, shard: Shard, shards: Shards) -> np.ndarray:
        if self.rule.row_weights is None:
            raise ValueError(f"{self.rule.name} has neither row weights nor tensor changes")
        gram = None
        if self.rule.needs_gram(self.settings):
            count = len(self.window.steps)
            own = np.zeros((count, count))
            if shard.values.numel():
                own = gram_of(Differences(self.window, shard.name, BUDGET_BYTES, span=shard.span))
            gram = shards.total(own)
        window = Window(np.array(self.window.steps), gram, tensor=shard.name, remarks=self.remarks)
        return self.rule.row_weights(window, np.array([self.target]), self.settings, False)[0]

    def _tensor_change(self, name: str) -> Change:
        if self.rule.tensor_changes is None:
            raise ValueError(f"{self.rule.name} changes no tensors")
        return self.rule.tensor_changes(
            self.window,
            name,
            np.array([self.target]),
            self.settings,
            self.accuracy,
            self.remarks,
            None,
        )[0]

    def _stored(self, shard: Shard, step: int) -> Iterator[tuple[int, Tensor]]:
        start, stop = shard.span
        for low in range(start, stop, _PIECE):
            high = min(stop, low + _PIECE)
            yield low - start, finite_elements(self.window, step, shard.name, low, high)

    def _changed(self, shard: Shard, change: Change) -> Iterator[tuple[int, Tensor]]:
        for first, stored in self._stored(shard, change.origin):
            low, high = shard.start + first, shard.start + first + len(stored)
            values = stored.double()
            for part in change.parts:
                begin, end = max(low, part.start), min(high, part.stop)
                if begin < end:
                    n = len(part.right)
                    row, last = (begin - part.start) // n, -(-(end - part.start) // n)
                    added = (part.left[row:last] @ part.right.mT).reshape(-1)
                    skipped = begin - part.start - row * n
                    values[begin - low : end - low] += added[skipped : skipped + end - begin]
            yield first, values
