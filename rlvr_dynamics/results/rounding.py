"""Whether the stored dtype is fine enough for the updates of a run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rlvr_dynamics.results.formatting import percent
from rlvr_dynamics.results.frames import equal, has, known, last_step, median, numbers
from rlvr_dynamics.results.run import Results

LARGEST = 0.1
"""Rounding's part of an update's squared norm above which tables misread it. At 0.1 a rank-1 share
of 0.44 is read as 0.42 and the explained variance loses a tenth (docs/fidelity.md)."""

EARLY = 0.15  # RELEX's window


@dataclass(frozen=True)
class Rounding:
    """How far the updates of a run are rounding to the stored dtype.

    Attributes:
        coarse: Tensors whose last update has a `rounding_share` above `LARGEST`.
        tensors: Tensors whose last update has one.
        still: Tensors that at the last step equal the base as stored.
        coarse_steps: Steps at which the median tensor is above `LARGEST`.
        steps: Steps with a known share.
        share: Median over tensors at the last step.
    """

    coarse: int
    tensors: int
    still: int
    coarse_steps: int
    steps: int
    share: float


def rounding_of(results: Results) -> Rounding | None:
    """Return how far a run's updates are rounding; None if that was not measured."""
    table = results.tables["norms"]
    if table is None or not has(table, "rounding_share"):
        return None
    final = equal(table, step=last_step(table))
    last = numbers(final, "rounding_share")
    steps = known(table, "rounding_share").groupby("step")
    medians = [median(rows, "rounding_share") for _, rows in steps]
    return Rounding(
        coarse=int((last > LARGEST).sum()),
        tensors=len(last),
        still=int((numbers(final, "update_norm") == 0.0).sum()),
        coarse_steps=sum(value > LARGEST for value in medians),
        steps=len(medians),
        share=median(final, "rounding_share"),
    )


def rounding_in_words(results: Results) -> str:
    """Warn if the stored unit in the last place is not small beside the update; else empty."""
    found = rounding_of(results)
    if found is None or not (found.coarse or found.coarse_steps):
        return ""
    dtype = results.dtype or "a dtype that is not recorded"
    if dtype == "float32":
        dtype += ", perhaps cast up from a narrower dtype"
    still = f" ({found.still} more did not move at all)" if found.still else ""
    return (
        f"In {dtype}, the weights are too coarse for the update in {found.coarse} of "
        f"{found.tensors} tensors at the last step{still}, and in the median tensor at "
        f"{found.coarse_steps} of {found.steps} steps: rounding accounts for more than "
        f"{LARGEST:.0%} of the squared norm. There rank-1 shares and explained variance are read "
        "too low, changes below half a unit in the last place are missing, and a bend of the "
        "coefficients at early steps may be theirs; checkpoints in float32 would show what was "
        "trained."
    )


def error_of_half_precision(results: Results) -> float:
    """Return how far off RELEX's window is if both checkpoints are cast to float16 first.

    The released code does that before it subtracts them.

    Returns:
        √ of the median `float16_rounding_share` over tensors at the last observed step; NaN where
        it was not measured, or the checkpoints are narrower than float32.
    """
    norms = results.tables["norms"]
    if norms is None or results.dtype != "float32":
        return math.nan
    step = results.window_near(EARLY) or (results.windows or [last_step(norms)])[0]
    return math.sqrt(median(equal(norms, step=step), "float16_rounding_share"))


def released_relex_in_words(runs: Iterable[Results]) -> str:
    """Warn where RELEX as released would subtract rounded checkpoints; empty where none is."""
    off = [value for run in runs if not math.isnan(value := error_of_half_precision(run))]
    if not off:
        return ""
    ends = dict.fromkeys(percent(min(value, 1.0), 0) for value in (min(off), max(off)))
    least = " or more" if max(off) > 1 else ""
    return (
        "RELEX as released must not be used on float32 checkpoints: it casts both to fp16 before "
        f"it subtracts them, which alone puts the update of its window off by {' to '.join(ends)}"
        f"{least} of its norm here (median over tensors). Ours subtracts "
        "what is stored."
    )
