"""The numbers that papers print, each with its provenance."""

from functools import cache
from pathlib import Path

import pandas as pd

from rlvr_dynamics.results.frames import select

FILE = Path(__file__).with_name("printed.csv")
KEYS = (
    "paper",
    "table",
    "base_model",
    "algorithm",
    "method",
    "train_fraction",
    "step",
    "benchmark",
    "metric",
)
COLUMNS = (*KEYS, "value", "provenance")
# How directly a number was read from the paper's own page.
PROVENANCE = {
    "paper": "read in the paper",
    "paper_figure": "read off the paper's plot",
    "code": "read in the released code",
    "readme": "read in the README of the released code",
    "model_card": "read on the authors' model cards",
    "secondary": "read in others' copies of the authors' tables",
}
AVERAGE = "average_as_printed"


@cache
def _everything() -> pd.DataFrame:
    texts = {name: "str" for name in (*KEYS, "provenance")}
    return pd.read_csv(FILE, dtype={**texts, "train_fraction": float, "step": float})


def printed(**wanted: str) -> pd.DataFrame:
    """Return printed numbers, one per row, in the order of the papers.

    Args:
        wanted: Wanted value by text column, such as `paper="alpharl"`, `table="table1"`.

    Returns:
        The columns `COLUMNS`. `train_fraction` is a share of the training, `step` a training step
        (both float64, NaN where the paper gives none); `value` is float64 in the unit that
        `metric` names (`accuracy_pct` in per cent); `provenance` is a key of `PROVENANCE`. A
        missing text is NaN. The frame is a copy that the caller may change.
    """
    found = _everything()
    for column, value in wanted.items():
        found = select(found, found[column] == value)
    return found.reset_index(drop=True).copy()
