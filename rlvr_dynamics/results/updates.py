"""How many updates each step made, estimated from what its files show, and what its clips did."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.results.frames import has, numbers, select, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.clips import Clip, clips, value_range
from rlvr_dynamics.schema.optimizers import optimizer_keys

MOST_STEPS = 500  # further ones are left out: simulating them takes as long again
FLOAT32_BITS = 23

Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moved:
    """What the weights did from each saved step to the next, and what Adam would have done.

    Attributes:
        steps: Saved steps, shape (T,).
        observed: Share of stored values that changed, mean over the weights of all matrices inside
            the blocks; of float32 files, where nearly all change, the root mean square distance in
            learning rates. Shape (T,).
        by_share: Which of the two it is.
        noise: Expected for each number of updates if gradients are noise, shape (K, T).
        coherent: Expected if gradients keep their direction, shape (K, T).
        updates: The numbers of updates, shape (K,).
        low: At least so many updates a step; NaN if the files cannot tell.
        high: At most so many.
        weights: Weights observed.
        bits: Stored bits of the significand.
        learning_rate: The learning rate assumed.
        warmup_steps: Steps of its linear rise, the first of which is 0.
        declared: Updates a step of the configuration, if the run trained.
    """

    steps: NDArray[np.int64]
    observed: Rows
    by_share: bool
    noise: Rows
    coherent: Rows
    updates: tuple[int, ...]
    low: float
    high: float
    weights: int
    bits: int
    learning_rate: float
    warmup_steps: int
    declared: int | None


def clips_of_run(results: Results) -> tuple[Clip, ...]:
    """Return the clips of the run's loss; empty if the run did not train, or does not say."""
    algorithm, trainer = results.config.algorithm, results.config.trainer
    updates, critic_updates = trainer.updates_per_rollout, trainer.critic_updates_per_rollout
    if results.config.source.is_given or algorithm.loss_mode is None or updates is None:
        return ()
    return clips(
        loss_mode=algorithm.loss_mode,
        low=algorithm.clip_ratio_low,
        high=algorithm.clip_ratio_high,
        dual=algorithm.clip_ratio_c,
        updates=updates,
        critic_updates=critic_updates if algorithm.critic is not None else None,
        value_range=value_range(trainer.verl_overrides),
    )


def is_usual_adam(results: Results) -> bool:
    """Whether AdamW with its usual betas moved the weights, as the estimate of updates assumes.

    Somebody's checkpoints are taken to be such.
    """
    config = results.config
    found = optimizer_keys(config.algorithm, config.trainer.verl_overrides)
    return config.source.is_given or (found is not None and not found.unusual)


def moved(results: Results) -> Moved | None:
    """Estimate the number of updates a step.

    None without tables or a learning rate, or if another optimizer than `is_usual_adam`'s moved
    the weights.
    """
    norms, exponents = results.tables["norms"], results.tables["exponents"]
    config, given = results.config, results.config.source.is_given
    rate = config.source.learning_rate if given else config.algorithm.learning_rate
    if not is_usual_adam(results) or rate is None:
        return None
    if norms is None or exponents is None or not has(norms, "step_norm"):
        return None
    rows = select(norms, norms["tensor"].isin(list(exponents["tensor"].unique())))
    rows = select(rows, rows["step"] <= MOST_STEPS)
    if not len(rows):
        return None
    bits = int(numbers(exponents, "bits").max())
    by_share = bits < FLOAT32_BITS
    steps, observed = _observed(rows, exponents, by_share)
    if not by_share:
        observed /= rate
    warmup = 0 if given else config.algorithm.warmup_steps
    held = _sums(exponents, "exponent") if by_share else {}
    noise, coherent = _expected(tuple(steps.tolist()), warmup, rate, bits, tuple(held.items()))
    from rlvr_dynamics.dynamics import UPDATES, updates_range  # imports torch

    found = updates_range(observed.sum(), noise.sum(axis=1), coherent.sum(axis=1))
    return Moved(
        steps=steps,
        observed=observed,
        by_share=by_share,
        noise=noise,
        coherent=coherent,
        updates=UPDATES,
        low=found.low,
        high=found.high,
        weights=int(numbers(exponents, "count").sum()),
        bits=bits,
        learning_rate=rate,
        warmup_steps=warmup,
        declared=None if given else config.trainer.updates_per_rollout,
    )


def _observed(
    rows: pd.DataFrame, exponents: pd.DataFrame, by_share: bool
) -> tuple[NDArray[np.int64], Rows]:
    """Return steps, and share of changed values or root mean square distance, over all weights."""
    sizes = _sums(exponents, "tensor")
    weights = np.array([sizes[name] for name in rows["tensor"]])
    square = values(rows, "step_norm") ** 2
    summed = values(rows, "step_changed_share") * weights if by_share else square
    steps, place = np.unique(values(rows, "step"), return_inverse=True)
    mean = np.bincount(place, summed) / sum(sizes.values())
    return steps.astype(np.int64), mean if by_share else np.sqrt(mean)


def _sums(exponents: pd.DataFrame, column: str) -> dict[Any, float]:
    """Return the number of weights by tensor or by exponent."""
    found: dict[Any, float] = {}
    for key, count in zip(exponents[column], values(exponents, "count"), strict=True):
        found[key] = found.get(key, 0.0) + float(count)
    return found


@lru_cache(maxsize=4)
def _expected(
    steps: tuple[int, ...],
    warmup: int,
    rate: float,
    bits: int,
    counts: tuple[tuple[Any, float], ...],
) -> tuple[Rows, Rows]:
    """Return what pure noise and a constant gradient do, each of shape (K, T).

    Shares of changed values, or distances in learning rates if no counts of exponents are given.
    """
    from rlvr_dynamics.dynamics import UPDATES, adam_moves, changed_shares, step_sizes

    numbered = np.arange(steps[-1])
    rates = np.minimum(1.0, numbered / warmup) if warmup else np.ones(steps[-1])
    ulps = np.array([2.0 ** (int(exponent) - bits) for exponent, _ in counts]) / rate
    shares = np.array([count for _, count in counts])
    found = []
    for coherent in (False, True):
        rows = []
        for updates in UPDATES:
            moves = adam_moves(rates, np.array(steps), updates, coherent=coherent)
            if counts:
                rows.append(changed_shares(moves, ulps) @ (shares / shares.sum()))
            else:
                rows.append(step_sizes(moves))
        found.append(np.array(rows))
    return found[0], found[1]
