"""Columns of directions.parquet, which lies beside the directories of runs from one base.

Legend: W_t the weights of one tensor at step t, W_0 the base, T the last step, h the saved step in
the middle of the training; a and b two runs.
"""

from rlvr_dynamics.schema.tables.column import Column, needed, table
from rlvr_dynamics.schema.tables.parts import DTYPE, TENSOR

WINDOWS = {"update": "W_T − W_0", "drift": "W_T − W_h"}
"""The compared differences. The second is the sum of the increments after the start, in which the
optimizer's steps are longest and its moments are not yet filled."""


def _reliability(window: str, run: str) -> Column:
    return Column(
        f"{window}_reliability_{run}",
        "share",
        f"ρ (Σ‖W_t − W_t'‖)² / ‖{WINDOWS[window]}‖² of run {run}, ρ its `optimizer_drift_share`: "
        "the part of the squared length that is one constant drift; missing without the run's "
        "measure stage, or in fewer than 31 steps",
        "ours; split-half reliability, with halves that share no noise of the optimizer",
    )


DIRECTIONS = table(
    "directions.parquet",
    "experiments.directions",
    needed("run_a", "name", "run directory of a"),
    needed("run_b", "name", "run directory of b"),
    Column("identity_a", "hash", "hash of a's last checkpoint"),
    Column("identity_b", "hash", "hash of b's last checkpoint"),
    *TENSOR,
    needed("d", "count", "elements of the tensor"),
    *(
        needed(f"{window}_cosine", "cosine", f"cosine of a's and b's {formula}")
        for window, formula in WINDOWS.items()
    ),
    needed(
        "noise_sd",
        "cosine",
        "1 / √d: standard deviation of the cosine of two independent directions, whose mean is 0",
    ),
    *(_reliability(window, run) for window in WINDOWS for run in "ab"),
    DTYPE,
)
