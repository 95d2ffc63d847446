"""Which tensors a method forecasts at all, and how well."""

import math
from typing import Any

import pandas as pd

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import equal, has, known, select
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import HOLD_LAST

COUNTED = (
    "Tensors that a method keeps as last observed or as in the base are none of its forecasts and "
    "not counted."
)


def own_forecasts(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the forecast table in which a method says something of its own.

    The two-point line keeps norms as last observed, AlphaRL keeps embeddings and norms as in the
    base; with them a median over tensors would tell how many there are. Holding the last
    checkpoint keeps its rows: its skill is 0 by definition.
    """
    if not has(rows, "sse", "sse_hold", "magnitude_ratio"):
        return rows
    kept = (rows["sse"] == rows["sse_hold"]) | (rows["magnitude_ratio"] == 0)
    return select(rows, ~kept | (rows["method"] == HOLD_LAST))


def skill(results: Results, method: str, observe: int, step: int | None = None) -> float:
    """Median over the tensors that a method forecasts of its skill; NaN where there is none.

    Args:
        results: The run.
        method: Label of the method; one with a grid stands for its chosen candidate.
        observe: Last observed step.
        step: Target step, the final one when not given.
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
