"""RELEX's claims about the trajectory of the weights: variance and linearity (arXiv 2605.21468)."""

import math
from collections.abc import Sequence

import pandas as pd

from rlvr_dynamics.claims.claim import RELEX, SHARE, Claim, Measure, Measured, Threshold
from rlvr_dynamics.claims.measures import over_tensors
from rlvr_dynamics.claims.quoted import quote
from rlvr_dynamics.results.formatting import general, number
from rlvr_dynamics.results.frames import (
    equal,
    has,
    known,
    mean,
    median,
    numbers,
    on_clock,
    select,
    values,
)
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.tables import NULL_WALKS
from rlvr_dynamics.statistics.intervals import Interval, with_quartiles

# A random walk has σ_k ∝ 1 / (2k − 1), from the eigenfunctions of Brownian motion.
_WALK_OF_FIVE = 1 / sum(1 / (2 * place - 1) ** 2 for place in range(1, 6))


def _beside_five(results: Results, _rows: pd.DataFrame) -> str:
    svd = results.tables["trajectory_svd"]
    there = [] if svd is None else _nulls_of(equal(svd, index=1), _VARIANCE)
    return f"a long random walk of equal steps has {number(_WALK_OF_FIVE)}; {_null_words(there)}"


JUDGED_BY = ("walk", "optimizer")  # a drift is what the papers claim, so it is shown and no null
HIGHER = "null: the higher of random walks and the optimizer's noise"
OPTIMIZER_LACKS = "the optimizer's null is not in these tables: random walks alone are the null"


def _null_words(there: Sequence[str]) -> str:
    """Say which nulls a run has."""
    return HIGHER if len(there) == len(JUDGED_BY) else OPTIMIZER_LACKS


def _above_bands(rows: pd.DataFrame, column: str, names: Sequence[str]) -> tuple[int, int]:
    """Count the tensors above the 97.5 % quantiles of all nulls, and those that have them."""
    highs = [f"{name}_high" for name in names if f"{name}_high" in rows]
    if not highs:
        return 0, 0
    compared = rows.dropna(subset=highs)
    above = values(compared, column)[:, None] > compared[highs].to_numpy(float)
    return int(above.all(axis=1).sum()), len(compared)


def _nulls_of(rows: pd.DataFrame, names: dict[str, str]) -> list[str]:
    """Return the nulls, of those that judge, whose means a table has."""
    return [names[walk] for walk in JUDGED_BY if has(rows, f"{names[walk]}_mean")]


_VARIANCE = {walk: null.of_variance for walk, null in NULL_WALKS.items()}


def _first_component(results: Results, _observe: int | None) -> Measured | None:
    found = results.tables["trajectory_svd"]
    if found is None:
        return None
    first = known(equal(found, index=1), "explained_variance")
    if not len(first):
        return None
    value = with_quartiles(values(first, "explained_variance"))
    there = _nulls_of(first, _VARIANCE)
    above = _above_bands(first, "explained_variance", there)
    null = max((mean(first, f"{name}_mean") for name in there), default=math.nan)
    shares = _of_five(results, None)
    in_five = math.nan if shares is None else mean(shares, "share")
    return Measured(value, len(first), "tensors", null, above, spread=True).noted(
        f"{above[0]} of {above[1]} tensors lie above the 97.5 % quantile of every null",
        _null_words(there),
        f"inside the leading five components: {number(in_five)}",
        _drift_words(first, _VARIANCE["drift"]),
    )


def _drift_words(rows: pd.DataFrame, name: str) -> str:
    found = mean(rows, f"{name}_mean")
    return "" if math.isnan(found) else f"noise and a drift give {general(found, 3)}"


def _of_five(results: Results, _observe: int | None) -> pd.DataFrame | None:
    found = results.tables["trajectory_svd"]
    if found is None:
        return None
    leading = known(select(found, found["index"] <= 5), "sigma")
    if not len(equal(leading, index=5)):
        return None
    wide = leading.pivot(index="tensor", columns="index", values="sigma") ** 2
    wide["share"] = wide[1] / wide.sum(axis=1)
    first = equal(found, index=1)
    there = _nulls_of(first, _VARIANCE)
    highest = max(there, key=lambda name: mean(first, f"{name}_mean"), default=None)
    nulls = first.assign(null=first[f"{highest}_mean"] if highest else math.nan)
    nulls = nulls.filter(items=["tensor", "null"])
    return wide["share"].reset_index().merge(nulls, on="tensor")


def _share_of_lines(score: str, clock: str) -> Measure:
    """Return the share of tensors with R² above 0.98, and the share for the nulls' means.

    Args:
        score: Column of `linearity`.
        clock: What the line is fitted against.
    """
    names = {walk: null.of_score(score) for walk, null in NULL_WALKS.items()}

    def straight(rows: pd.DataFrame, column: str) -> float:
        found = numbers(rows, column)
        return float((found > 0.98).mean()) if len(found) else math.nan

    def measure(results: Results, _observe: int | None) -> Measured | None:
        found = results.tables["linearity"]
        found = None if found is None else on_clock(found, clock)
        if found is None or not has(found, score):
            return None
        found = known(found, score)
        there = _nulls_of(found, names)
        above = _above_bands(found, score, there)
        null = max((straight(found, f"{name}_mean") for name in there), default=math.nan)
        value = Interval(straight(found, score), math.nan, math.nan)
        bands = above if above[1] else None
        return Measured(value, len(found), "tensors", null, bands, spread=True).noted(
            f"{above[0]} of {above[1]} tensors lie above the band of every null" if bands else "",
            _null_words(there),
            f"median R² {general(median(found, score), 4)}, mean of the nulls "
            + " and ".join(general(mean(found, f"{name}_mean"), 3) for name in there),
            _drift_words(found, names["drift"]),
        )

    return measure


def _line(id: str, words: str, source: str, score: str, clock: str, paper: str = "ours") -> Claim:
    held = "held-out" if score == "heldout_r2" else "in-sample"
    against = "" if clock == "step" else " against the length of the path"
    return Claim(
        id,
        paper,
        words,
        source,
        f"share of tensors with {held} R² > 0.98{against}; null: the higher of the same shares of "
        "the means of random walks and of the optimizer's noise, with the same step norms",
        Threshold(">", 0.5, about="share of the tensors"),
        needs="needs the measure stage"
        if clock == "step"
        else "needs the measure stage on even steps from the base on, without repeats",
        measure=_share_of_lines(score, clock),
        null_counts=True,
        control_counts=True,
        bounds=SHARE,
    )


CLAIMS = [
    Claim(
        "B1",
        "relex",
        "One component carries most of a tensor's trajectory, more than in a random walk or in the "
        "optimizer's noise.",
        f"{RELEX}, rank analysis (81.4 % inside the leading five components)",
        "mean over tensors of component 1's explained variance; null: the higher of random walks "
        "and of the optimizer's noise, with the same step norms",
        Threshold(
            "≥",
            0.814,
            about="share of the variance",
            also="above every null's 97.5 % quantile in most tensors",
        ),
        needs="needs the measure stage",
        measure=_first_component,
        control_counts=True,
        bounds=SHARE,
    ),
    Claim(
        "B1f",
        "relex",
        "Component 1 carries 81 % of the variance inside the leading five.",
        f"{RELEX}, rank analysis",
        "mean over tensors of σ₁² / (σ₁² + ... + σ₅²); null: the higher of random walks and of the "
        "optimizer's noise, component 1 beside all components, a lower bound",
        Threshold("≥", 0.814, about="share of the variance"),
        needs="needs the measure stage",
        measure=over_tensors(
            _of_five,
            "share",
            null="null",
            unit="tensors",
            facts=_beside_five,
        ),
        printed=quote(
            "rank analysis",
            scale=0.01,
            paper="relex",
            table="text",
            metric="component1_share_of_rank5_variance_pct",
        ),
        null_counts=True,
        control_counts=True,
        bounds=SHARE,
    ),
    _line(
        "B2",
        "The coefficient of component 1 grows linearly with the step: R² > 0.98 for most tensors.",
        f"{RELEX}, linearity analysis",
        "r2",
        "step",
        "relex",
    ),
    _line(
        "B2p",
        "The coefficient of component 1 grows linearly with the length of the path: R² > 0.98 for "
        "most tensors.",
        f"ours; {RELEX} on a clock that does not slow down with the steps",
        "r2",
        "path",
    ),
    _line(
        "B2h",
        "A line fitted to the first half of the steps predicts component 1's coefficient in the "
        "second half: R² > 0.98 for most tensors.",
        f"ours; the stricter reading of {RELEX}",
        "heldout_r2",
        "step",
    ),
    _line(
        "B2hp",
        "A line fitted to the first half of the path predicts component 1's coefficient on the "
        "rest of it: R² > 0.98 for most tensors.",
        f"ours; the stricter reading of {RELEX} on the path",
        "heldout_r2",
        "path",
    ),
]
