"""What is measured, and with which resources."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from rlvr_dynamics.dynamics import Optimizer, even_spacing, noise_correlation
from rlvr_dynamics.errors import UserError

DEFAULT_BUDGET_BYTES = 2 << 30


@dataclass(frozen=True)
class OptimizerRecord:
    """What is known of the optimizer that made a trajectory.

    Attributes:
        beta1: Decay of the first moment, or SGD's momentum; None if the optimizer is not one that
            the null knows.
        beta2: Decay of the second moment; None for SGD.
        weight_decay: Its weight decay: AdamW's, apart from the gradient, or SGD's, within it.
        updates: Optimizer updates of one training step.
        learning_rates: Learning rate by training step; empty if unknown.
        gradient_sizes: Norm of the gradient after clipping, by training step; empty if unknown.
    """

    beta1: float | None = 0.9
    beta2: float | None = 0.999
    weight_decay: float = 0.0
    updates: int = 1
    learning_rates: Mapping[int, float] = field(default_factory=dict)
    gradient_sizes: Mapping[int, float] = field(default_factory=dict)

    def rates_between(self, steps: np.ndarray) -> np.ndarray:
        """Return the sum of the learning rates of all updates since the checkpoint before.

        Args:
            steps: Saved steps, shape (T,), ascending.

        Returns:
            Shape (T,), float64; NaN where a rate is unknown or 0, and for an optimizer whose steps
            have no length in learning rates: only Adam divides by the size of the gradient.
        """
        if self.beta1 is None or self.beta2 is None:
            return np.full(len(steps), np.nan)
        return self._sums(steps, lambda step, rate: self.updates * rate)

    @property
    def times(self) -> dict[int, float]:
        """Optimizer time: the sum of the learning rates of all updates from the base to each step.

        Up to the first step whose rate is unknown; the base is step 0.
        """
        found = {0: 0.0}
        while (rate := self.learning_rates.get(len(found), math.nan)) >= 0.0:
            found[len(found)] = found[len(found) - 1] + self.updates * rate
        return found

    def shrinkage(self, steps: np.ndarray) -> np.ndarray:
        """Return by which share weight decay alone shrinks the weights since the checkpoint before.

        AdamW multiplies a float32 weight by 1 - rate x decay in each update, a factor that is
        itself rounded to float32. In SGD the decay passes through the momentum μ: update u moves by
        rate x decay x (1 - μ^u) / (1 - μ).

        Args:
            steps: Saved steps, shape (T,), ascending.

        Returns:
            Shape (T,), float64; 0 where a rate is unknown.
        """

        def of(step: int, rate: float) -> float:
            if self.beta2 is not None:
                return self.updates * (1.0 - float(np.float32(1.0 - rate * self.weight_decay)))
            momentum = self.beta1 or 0.0
            done = np.arange((step - 1) * self.updates + 1, step * self.updates + 1)
            return rate * self.weight_decay * float(np.sum((1 - momentum**done) / (1 - momentum)))

        return np.nan_to_num(self._sums(steps, of))

    def _sums(self, steps: np.ndarray, of: Callable[[int, float], float]) -> np.ndarray:
        """Sum a function of step and rate over the steps of each gap; NaN if unknown or 0."""
        sums = np.full(len(steps), np.nan)
        for place, (before, after) in enumerate(pairwise([0, *map(int, steps)])):
            gap = range(before + 1, after + 1)
            sums[place] = (
                sum(of(step, self.learning_rates.get(step, math.nan)) for step in gap) or math.nan
            )
        return sums

    def noise_of(self, steps: np.ndarray) -> np.ndarray | None:
        """Return the correlations between this optimizer's steps on noise, shape (T, T).

        None for an optimizer that is not known, and for checkpoints at uneven steps.
        """
        if self.beta1 is None or even_spacing(steps) is None:
            return None
        optimizer = Optimizer(self.beta1, self.beta2, self.updates * int(steps[0]))
        return noise_correlation(len(steps), optimizer, self.sizes_of(steps))

    def sizes_of(self, steps: np.ndarray) -> np.ndarray | None:
        """Return the size of the gradient at each checkpoint, or None where one is unknown."""
        known = [self.gradient_sizes.get(int(step), math.nan) for step in steps]
        return np.array(known) if all(size > 0.0 for size in known) else None


@dataclass(frozen=True)
class MeasureSettings:
    """How a trajectory is measured.

    Attributes:
        top_k: Singular values kept per tensor, and the dimension of the subspaces compared with
            the base weight's.
        update_steps: Number of steps, evenly spaced and including the last, for which to compute
            the leading singular triples of the updates; or "all", or the step numbers.
        spectrum_steps: Number of steps, evenly spaced and including the last, for which to compute
            the full spectrum of the updates.
        draws: Draws per tensor for every null.
        seed: Seed of the nulls; each tensor derives its own.
        threads: Tensors measured at a time on one machine.
        budget_bytes: Memory for the stored weights of all threads together.
        device: "auto" uses a GPU if there is one.
        engine: "local" threads, or "ray": the same tasks on a Ray cluster.
        ray_address: Address of a running cluster; None starts one on this machine.
        directions: Write v1 of every tensor, float32, which takes as much disk as the model.
        optimizer: What made the trajectory; Adam's usual constants if nothing is known.
    """

    top_k: int = 8
    update_steps: int | tuple[int, ...] | Literal["all"] = "all"
    spectrum_steps: int = 1
    draws: int = 200
    seed: int = 0
    threads: int = 2
    budget_bytes: int = DEFAULT_BUDGET_BYTES
    device: str = "auto"
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    directions: bool = True
    optimizer: OptimizerRecord = field(default_factory=OptimizerRecord)


@dataclass(frozen=True)
class AccuracySeries:
    """Accuracy of checkpoints, for measurements that relate weights to it.

    Attributes:
        values: Step number to accuracy in [0, 1].
        source: Where the numbers come from, in words.
        errors: Step number to standard error, of the steps that have one.
        freedom: Degrees of freedom behind the errors, all steps together.
    """

    values: Mapping[int, float]
    source: str
    errors: Mapping[int, float] = field(default_factory=dict)
    freedom: int = 0

    def within(self, first: int, last: int) -> "AccuracySeries":
        """Return the series of the steps from one to another, counted from the first."""

        def kept(values: Mapping[int, float]) -> dict[int, float]:
            return {step - first: each for step, each in values.items() if first <= step <= last}

        return replace(self, values=kept(self.values), errors=kept(self.errors))


def evenly_spread(steps: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return `count` evenly spaced steps, including the last."""
    count = min(count, len(steps))
    return tuple(steps[len(steps) * (index + 1) // count - 1] for index in range(count))


def update_steps_of(settings: MeasureSettings, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Return the steps for which to compute leading singular triples, in ascending order.

    Raises:
        UserError: A requested step was not saved.
    """
    wanted = settings.update_steps
    if wanted == "all":
        return steps
    if isinstance(wanted, int):
        return evenly_spread(steps, wanted)
    for step in wanted:
        if step not in steps:
            raise UserError(
                f"no checkpoint of step {step}, whose update should be decomposed",
                way_out='choose among the saved steps, or "all"',
            )
    return tuple(sorted(set(map(int, wanted))))
