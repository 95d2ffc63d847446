"""Which tensors a method forecasts, and how well."""

import math
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import equal, has, known, select
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import HOLD_LAST

COUNTED = (
    "Tensors that a method keeps as last observed or as in the base are not forecasts and are not "
    "counted."
)


def own_forecasts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the forecast table's rows for tensors that the method actually forecasts.

    The two-point line leaves norms as last observed, and AlphaRL leaves embeddings and norms as in
    the base; including these, a median over tensors would only reflect how many there are. Holding
    the last checkpoint keeps all its rows: its skill is 0 by definition.
    """
    if not has(rows, "sse", "sse_hold", "magnitude_ratio"):
        return rows
    kept = (rows["sse"] == rows["sse_hold"]) | (rows["magnitude_ratio"] == 0)
    return select(rows, ~kept | (rows["method"] == HOLD_LAST))


@once_per_run
def path_ratios(results: Results) -> pd.DataFrame | None:
    """Return how well the path was continued: one row per window, target, continuation, tensor.

    The walked lengths are those of `norms`; the path is continued as the methods do it. Targets
    without every step up to them are left out, as their true length is not known.

    Returns:
        Columns observe, step, continuation, tensor and path_ratio, the predicted over the true
        length of the path from the base to the target; None if no forecast is on the path.
    """
    table, norms = results.tables["forecast"], results.tables["norms"]
    if table is None or norms is None or not {"continuation", "clock"} <= set(table.columns):
        return None
    kinds = known(table, "continuation")[["observe", "step", "continuation"]].drop_duplicates()
    if not len(kinds) or not has(norms, "step_norm"):
        return None
    from rlvr_dynamics.dynamics import continued_path, even_spacing  # imports torch

    lengths = norms.pivot_table(index="step", columns="tensor", values="step_norm").sort_index()
    steps = np.asarray(lengths.index)
    rows = []
    for observe, step, continuation in kinds.itertuples(index=False, name=None):
        seen, until = steps <= observe, steps <= step
        if step not in steps or even_spacing(steps[until]) is None:
            continue
        for tensor in lengths.columns:
            walked = np.asarray(lengths[tensor], dtype=np.float64)
            try:
                ahead = continued_path(steps[seen], walked[seen], np.array([step]), continuation)
            except ValueError:
                continue
            true = walked[until].sum()
            ratio = float(ahead[0]) / true if true > 0.0 else math.nan
            rows.append((observe, step, continuation, str(tensor), ratio))
    return pd.DataFrame(rows, columns=["observe", "step", "continuation", "tensor", "path_ratio"])


def skill(results: Results, method: str, observe: int, step: int | None = None) -> float:
    """Return a method's median skill over the tensors it forecasts; NaN if there are none.

    Args:
        results: The run.
        method: Label of the method; a method with a grid stands for its chosen candidate.
        observe: Last observed step.
        step: Target step; defaults to the final one.
    """
    target = results.final_step if step is None else step
    label, table = method, results.tables["selection"]
    if table is not None:
        chosen = equal(table, candidate_of=method, observe=observe, step=target, chosen=True)
        label = str(chosen["method"].iloc[0]) if len(chosen) else method
    return float(_skills(results).get((label, observe, target), math.nan))


@once_per_run
def _skills(results: Results) -> dict[Any, Any]:
    table = results.tables["forecast"]
    if table is None:
        return {}
    rows = known(own_forecasts(table), "skill")
    return dict(rows.groupby(["method", "observe", "step"])["skill"].median().items())
