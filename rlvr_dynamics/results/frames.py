"""Typed selections from a table; pandas annotates each of these as 'Series or DataFrame'."""

from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.statistics.intervals import Interval, with_quartiles


def select(table: pd.DataFrame, mask: Any) -> pd.DataFrame:
    """Return the rows where `mask` is true."""
    return cast(pd.DataFrame, table[mask])


def equal(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Return the rows whose columns have the wanted values."""
    for column, value in wanted.items():
        table = select(table, table[column] == value)
    return table


def on_clock(table: pd.DataFrame, clock: str = "step") -> pd.DataFrame:
    """Return the rows of a table about linearity on one clock; tables without one have the step."""
    if "clock" in table:
        return equal(table, clock=clock)
    return table if clock == "step" else table.head(0)


def known(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows where a column is not missing."""
    return select(table, table[column].notna())


def values(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return a column as float64; missing values are NaN."""
    return np.asarray(table[column], dtype=np.float64)


def numbers(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return the known values of a column as float64; empty if there is no such column."""
    return values(known(table, column), column) if column in table else np.empty(0)


def mean(table: pd.DataFrame, column: str) -> float:
    """Return the mean of a column's known values; NaN if there are none."""
    found = numbers(table, column)
    return float(found.mean()) if len(found) else float("nan")


def median(table: pd.DataFrame, column: str) -> float:
    """Return the median of a column's known values; NaN if there are none."""
    found = numbers(table, column)
    return float(np.median(found)) if len(found) else float("nan")


def median_and_quartiles(table: pd.DataFrame, column: str) -> Interval:
    """Return the median with lower and upper quartile over rows; NaN if there are none."""
    return with_quartiles(numbers(table, column), np.median)


def has(table: pd.DataFrame | None, *columns: str) -> bool:
    """Whether a table exists and each of the columns has a known value."""
    return table is not None and all(len(numbers(table, column)) > 0 for column in columns)


def count_above(table: pd.DataFrame, column: str, bound: str) -> int:
    """Count the rows with `column` above `bound`."""
    return int((values(table, column) > values(table, bound)).sum())


def highest(table: pd.DataFrame, column: str) -> int:
    """Return the largest value of a column of whole numbers."""
    return int(numbers(table, column).max())


def span(table: pd.DataFrame, column: str) -> str:
    """Return a column of whole numbers as text: the one value, or the smallest and the largest."""
    found = numbers(table, column)
    return "–".join(dict.fromkeys(str(int(end)) for end in (found.min(), found.max())))


def last_step(table: pd.DataFrame) -> int:
    """Return the last step of a table."""
    return highest(table, "step")


def accuracy_source(table: pd.DataFrame) -> str:
    """Return where y(t) came from, as recorded in the table; empty if it is not recorded."""
    if "accuracy" not in table:
        return ""
    found = sorted({str(source) for source in known(table, "accuracy")["accuracy"]})
    return f"y(t): {', '.join(found)}." if found else ""
