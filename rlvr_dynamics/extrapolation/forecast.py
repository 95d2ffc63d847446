"""How far a predicted checkpoint is from the real one, tensor by tensor."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.checkpoints.differences import finite_elements
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation.forecast_sums import ForecastSums
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.system.progress import bar
from rlvr_dynamics.system.threads import one_thread_each

OF_METHOD = ("uses_future", "clock", "continuation", "tensors_on_step")
_PIECE = 1 << 18


def forecast_errors(
    trajectory: Trajectory,
    predictions: Sequence[tuple[str, int, int, Path]],
    progress: bool = False,
    threads: int = 1,
    known: Mapping[tuple[str, int, int], Sequence[Mapping[str, Any]]] | None = None,
) -> pd.DataFrame:
    """Compare predicted checkpoints with the real ones, tensor by tensor.

    Args:
        trajectory: Base and real checkpoints.
        predictions: (method, observe, step, folder); those whose step was never saved are skipped.
            With observe 0, holding the last checkpoint means holding the base.
        progress: Whether to show a progress bar.
        threads: Tensors compared at a time.
        known: Rows that were found while the predictions were written, one for each tensor, by
            (method, observe, step); these predictions are not read.

    Returns:
        One row per prediction and tensor, with the columns of the table `forecast` except
        `OF_METHOD`, which the caller adds. A ratio with a zero denominator is NaN.

    Raises:
        UserError: A prediction is not of the same model as the base, a shard differs from its
            manifest, a weight is NaN or infinite, or `observe` was not saved.
    """
    known = {} if known is None else known
    saved = [entry for entry in predictions if entry[2] in trajectory.steps]
    found = dict(known)
    unread = [entry for entry in saved if entry[:3] not in known]
    if unread:
        trajectory.prove_on_reading()
    with one_thread_each(), ThreadPoolExecutor(max_workers=threads) as pool:
        for method, observe, step, folder in (
            bar(unread, desc="forecast", unit="checkpoint") if progress and unread else unread
        ):
            if observe not in (0, *trajectory.steps):
                raise UserError(
                    f"the last observed step {observe} of {method} has no checkpoint",
                    where=str(folder),
                    way_out="open the trajectory with all the steps that were observed",
                )
            predicted = trajectory.beside(step, Path(folder))
            predicted.prove_on_reading()
            compare = partial(_tensor_errors, trajectory, predicted, observe=observe, step=step)
            found[method, observe, step] = list(pool.map(compare, trajectory.names))
    trajectory.settle()
    rows = [
        {"method": method, "observe": observe, "step": step, **errors}
        for method, observe, step, _ in saved
        for errors in found[method, observe, step]
    ]
    columns = [name for name in TABLES["forecast"].names if name not in OF_METHOD]
    return pd.DataFrame(rows, columns=columns)


def _tensor_errors(
    trajectory: Trajectory, predicted: Trajectory, name: str, observe: int, step: int
) -> dict[str, Any]:
    sums, d = ForecastSums(), trajectory.numel(name)
    for start in range(0, d, _PIECE):
        span = (name, start, min(d, start + _PIECE))
        base, held, true = (
            finite_elements(trajectory, each, *span).double() for each in (0, observe, step)
        )
        sums.add(base, held, true, finite_elements(predicted, step, *span).double())
    return sums.row(trajectory, name)
