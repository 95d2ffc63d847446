"""Columns of directions.parquet, which lies beside the directories of runs from one base.

Legend: W_t the weights of one tensor at step t, W_0 the base, T the last step, h the saved step in
the middle of the training; a and b two runs.
"""

from rlvr_dynamics.schema.tables.column import Column, needed, table
from rlvr_dynamics.schema.tables.parts import DTYPE, TENSOR

WINDOWS = {"update": "W_T − W_0", "drift": "W_T − W_h"}
"""The compared differences. The second is the sum of the increments after the start, in which the
optimizer's steps are longest and its moments are not yet filled."""
SIGNAL_LAG = 10


def _reliability(window: str, run: str) -> Column:
    return Column(
        f"{window}_reliability_{run}",
        "share",
        f"1 − (1 − ρ) Σ_st |d_s| |d_t| C_st / ‖{WINDOWS[window]}‖² of run {run}, at least 0: the "
        "part of the squared length that is not the optimizer's noise; d the increments, C their "
        "correlations on noise, ρ = (a − c) / (1 − c) with a the increments' mean cosine and c "
        f"C's mean at lag {SIGNAL_LAG}; missing without the run's measure stage or a known "
        f"optimizer, with uneven steps, and with {SIGNAL_LAG} or fewer",
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
