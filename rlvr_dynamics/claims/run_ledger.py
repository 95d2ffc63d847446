"""The claims ledger: every claim of the two papers, with what this run says about it."""

import textwrap
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from typing import Any

import pandas as pd

from rlvr_dynamics.claims.trajectory_claims import (
    beats_holding,
    beyond_the_end,
    early_window_suffices,
    linear_held_out,
    linear_in_sample,
    one_component,
    points_better_than_holding,
    rank1_denoises,
)
from rlvr_dynamics.claims.update_claims import (
    early_prediction_keeps,
    left_vectors_follow_accuracy,
    lifted,
    rank1_gain,
    rank1_ratio,
)
from rlvr_dynamics.claims.verdicts import NOT_MEASURED, Claim
from rlvr_dynamics.results.formatting import integer, interval, number, text
from rlvr_dynamics.results.run import Results

LEDGER: list[Callable[[Results], Claim]] = [
    lifted,
    rank1_ratio,
    rank1_gain,
    left_vectors_follow_accuracy,
    early_prediction_keeps,
    one_component,
    linear_in_sample,
    linear_held_out,
    partial(early_window_suffices, id="B3", share=0.15, split="in_domain"),
    partial(early_window_suffices, id="B3o", share=0.15, split="out_of_domain"),
    partial(early_window_suffices, id="B3-30", share=0.30, split="in_domain"),
    partial(early_window_suffices, id="B3o-30", share=0.30, split="out_of_domain"),
    partial(beyond_the_end, id="B4", share=0.15),
    partial(beyond_the_end, id="B4-30", share=0.30),
    partial(rank1_denoises, id="B5", share=0.15),
    partial(rank1_denoises, id="B5-30", share=0.30),
    partial(beats_holding, id="B6", share=0.15),
    partial(beats_holding, id="B6-30", share=0.30),
    partial(points_better_than_holding, id="B7", share=0.15),
    partial(points_better_than_holding, id="B7-30", share=0.30),
]


def build_claims(results: Results) -> pd.DataFrame:
    """The ledger as a table.

    Returns:
        One row per claim with the columns of `Claim`; a claim that could not be measured is there
        with missing values and the verdict `not measured`.
    """
    table = pd.DataFrame(
        [asdict(claim(results)) for claim in LEDGER],
        columns=[field.name for field in fields(Claim)],
    )
    return table.astype({"n": "Int64"})


def format_value(value: float, threshold: str) -> str:
    """A value of a claim: points with one decimal and a sign, everything else with three."""
    points = "points" in threshold
    return number(value, 1 if points else 3, signed=points)


def format_interval(low: float, high: float, threshold: str) -> str:
    """The interval of a claim, in the unit of its threshold."""
    points = "points" in threshold
    return interval(low, high, 1 if points else 3, signed=points)


def ledger_as_text(claims: pd.DataFrame, width: int = 98) -> str:
    """The ledger for the terminal, two to four lines a claim.

    Args:
        claims: What `build_claims` returned (or claims.csv, read back).
        width: Columns of the terminal.
    """
    lines: list[str] = []
    indent = " " * 22
    for row in claims.to_dict("records"):
        head = f"{row['id']:<8}{str(row['verdict']).upper():<14}"
        lines += textwrap.wrap(
            head + str(row["claim"]), width, subsequent_indent=indent, break_long_words=False
        )
        lines += textwrap.wrap(
            _numbers(row), width, initial_indent=indent, subsequent_indent=indent
        )
    return "\n".join(lines) + "\n"


def _numbers(row: dict[Any, Any]) -> str:
    threshold = str(row["threshold"])
    if row["verdict"] == NOT_MEASURED:
        return f"threshold {threshold} · {text(row['note'])}"
    unit = text(row["n_unit"])
    return (
        f"ours {format_value(row['ours'], threshold)} "
        f"{format_interval(row['ci_low'], row['ci_high'], threshold)} · threshold {threshold} · "
        f"null {format_value(row['null'], threshold)} · n {integer(row['n'])} {unit}"
    )
