"""A run's settings beside those of the paper that it follows."""

import pandas as pd

from rlvr_dynamics.fidelity import DIFFERS, OPEN, SAME, rows_of
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.schema import RunConfig

ORDER = (DIFFERS, OPEN, SAME)


def fidelity_table(config: RunConfig) -> Table:
    """Every declared setting of a run that follows a paper, differences first."""
    rows = sorted(rows_of(config), key=lambda row: ORDER.index(row.state))
    frame = pd.DataFrame(
        {
            "setting": [row.setting for row in rows],
            "paper": [row.paper for row in rows],
            "here": [row.ours for row in rows],
            "state": [row.state for row in rows],
            "source": [row.source for row in rows],
            "reason": [row.reason for row in rows],
            "key": [row.key for row in rows],
        }
    )
    count = sum(row.state == DIFFERS for row in rows)
    return Table(
        "fidelity",
        "Differences from the paper",
        f"This run follows {config.protocol}: {count} of {len(rows)} settings differ, from what is "
        "printed or, where nothing is, from what the grid chose. Printed: by the paper, its "
        "released code or, in brackets, by proxies of it.",
        frame,
        folded=True,
    )
