"""How far a predicted checkpoint is from the real one, tensor by tensor."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.checkpoints.differences import finite_elements
from rlvr_dynamics.checkpoints.names import module_of
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.errors import UserError
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
) -> pd.DataFrame:
    """Compare predicted checkpoints with the real ones, tensor by tensor.

    Args:
        trajectory: Base and real checkpoints.
        predictions: (method, observe, step, folder); those whose step was never saved are skipped.
            With observe 0, holding the last checkpoint means holding the base.
        progress: Whether to show a progress bar.
        threads: Tensors compared at a time.

    Returns:
        One row per prediction and tensor, with the columns of the table `forecast` except
        `OF_METHOD`, which the caller adds. A ratio with a zero denominator is NaN.

    Raises:
        UserError: A prediction is not of the same model as the base, a shard differs from its
            manifest, a weight is NaN or infinite, or `observe` was not saved.
    """
    trajectory.prove_on_reading()
    known = [entry for entry in predictions if entry[2] in trajectory.steps]
    rows = []
    with one_thread_each(), ThreadPoolExecutor(max_workers=threads) as pool:
        for method, observe, step, folder in (
            bar(known, desc="forecast", unit="checkpoint") if progress else known
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
            rows += [
                {"method": method, "observe": observe, "step": step, **errors}
                for errors in pool.map(compare, trajectory.names)
            ]
    trajectory.settle()
    columns = [name for name in TABLES["forecast"].names if name not in OF_METHOD]
    return pd.DataFrame(rows, columns=columns)


def _tensor_errors(
    trajectory: Trajectory, predicted: Trajectory, name: str, observe: int, step: int
) -> dict[str, Any]:
    sse = hold = product = size = true_size = 0.0
    d = trajectory.numel(name)
    for start in range(0, d, _PIECE):
        span = (name, start, min(d, start + _PIECE))
        base = finite_elements(trajectory, 0, *span).double()
        held = finite_elements(trajectory, observe, *span).double()
        true = finite_elements(trajectory, step, *span).double()
        guess = finite_elements(predicted, step, *span).double()
        sse += float((guess - true).square().sum())
        hold += float((held - true).square().sum())
        guess, true = guess - base, true - base
        product += float(guess @ true)
        size += float(guess @ guess)
        true_size += float(true @ true)
    both = math.sqrt(size) * math.sqrt(true_size)
    return {
        "tensor": name,
        "module": module_of(name),
        "layer": trajectory.structure.layer(name),
        "sse": sse,
        "sse_hold": hold,
        "skill": 1.0 - sse / hold if hold > 0.0 else math.nan,
        "cosine": product / both if both > 0.0 else math.nan,
        "magnitude_ratio": math.sqrt(size / true_size) if true_size > 0.0 else math.nan,
        "dtype": trajectory.dtype_of(name),
    }
