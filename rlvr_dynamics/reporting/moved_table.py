"""How many of the model's parameters each method moves."""

import pandas as pd

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import integer, percent
from rlvr_dynamics.results.frames import equal, has, values
from rlvr_dynamics.results.methods import method_rank
from rlvr_dynamics.results.run import Results


def moved_table(results: Results) -> Table:
    """Build one row per method: number of parameters it predicts, out of all."""
    title = "How much of the model each method moves"
    index = results.tables["index"]
    if index is None or not has(index, "moved", "parameters"):
        return absent("moved_parameters", title, "index")
    rows = []
    for method in sorted(map(str, index["method"].unique()), key=method_rank):
        mine = equal(index, method=method)
        moved, total = int(values(mine, "moved").max()), int(values(mine, "parameters").max())
        rows.append((results.method_name(method), moved, total, moved / total))
    frame = pd.DataFrame(rows, columns=pd.Index(["method", "moved", "parameters", "share"]))
    least, most = percent(frame["share"].min()), percent(frame["share"].max())
    return Table(
        "moved_parameters",
        title,
        f"Share of the model's parameters that each method predicts ({least} to {most}). The "
        "others stay at the base or at the last observed checkpoint: the two-point line holds the "
        "norms, and AlphaRL and the reconstructions from updates move only the two-dimensional "
        "weights inside the repeated layers, where each expert counts as its own matrix.",
        frame,
        {"moved": integer, "parameters": integer, "share": percent},
    )
