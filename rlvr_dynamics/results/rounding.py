"""Whether the stored dtype is fine enough for the updates of a run."""

from dataclasses import dataclass

import pandas as pd

from rlvr_dynamics.results.frames import equal, has, known, last_step, median, numbers
from rlvr_dynamics.results.run import Results

LARGEST = 0.1
"""Rounding's part of an update's squared norm above which tables misread it. At 0.1 a rank-1 share
of 0.44 is read as 0.42 and the explained variance loses a tenth (docs/fidelity.md)."""


@dataclass(frozen=True)
class Rounding:
    """How far the updates of a run are rounding to the stored dtype.

    Attributes:
        coarse: Tensors whose last update has a `rounding_share` above `LARGEST`.
        tensors: Tensors whose last update has one.
        coarse_steps: Steps at which the median tensor is above `LARGEST`.
        steps: Steps with a known share.
        share: Median over tensors at the last step.
    """

    coarse: int
    tensors: int
    coarse_steps: int
    steps: int
    share: float


def rounding_of(results: Results) -> Rounding | None:
    """Return how far a run's updates are rounding; None if that was not measured."""
    table = results.tables["norms"]
    if table is None or not has(table, "rounding_share"):
        return None
    last = numbers(equal(table, step=last_step(table)), "rounding_share")
    medians = known(table, "rounding_share").groupby("step")["rounding_share"].median()
    return Rounding(
        coarse=int((last > LARGEST).sum()),
        tensors=len(last),
        coarse_steps=int((medians > LARGEST).sum()),
        steps=len(medians),
        share=median(pd.DataFrame({"share": last}), "share"),
    )


def rounding_in_words(results: Results) -> str:
    """Warn if the stored unit in the last place is not small beside the update; else empty."""
    found = rounding_of(results)
    if found is None or not (found.coarse or found.coarse_steps):
        return ""
    return (
        f"Stored as {results.dtype or 'a dtype that is not recorded'}, the weights are too coarse "
        f"for the update in {found.coarse} of {found.tensors} tensors at the last step, and in the "
        f"median tensor at {found.coarse_steps} of {found.steps} steps: rounding accounts for more "
        f"than {LARGEST:.0%} of the squared norm. There rank-1 shares and explained variance are "
        "read too low, changes below half a unit in the last place are missing, and a bend of the "
        "coefficients at early steps may be theirs; checkpoints in float32 would show what was "
        "trained."
    )
