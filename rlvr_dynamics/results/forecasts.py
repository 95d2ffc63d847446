"""Which tensors a method forecasts at all."""

import pandas as pd

from rlvr_dynamics.results.frames import has, select

HOLD_LAST = "hold_last"
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
