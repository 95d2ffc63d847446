"""RELEX's claims about the trajectory of the weights: variance and linearity (arXiv 2605.21468)."""

import math

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.claim import RELEX, SHARE, Claim, Measure, Measured, Threshold
from rlvr_dynamics.claims.measures import over_tensors
from rlvr_dynamics.claims.quoted import quote
from rlvr_dynamics.results.formatting import general, number
from rlvr_dynamics.results.frames import (
    count_above,
    equal,
    has,
    known,
    mean,
    numbers,
    on_clock,
    select,
    values,
)
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.statistics.intervals import bootstrap, wilson

# A random walk has σ_k ∝ 1 / (2k − 1), from the eigenfunctions of Brownian motion.
_WALK_OF_FIVE = 1 / sum(1 / (2 * place - 1) ** 2 for place in range(1, 6))


def _first_component(results: Results, _observe: int | None) -> Measured | None:
    found = results.tables["trajectory_svd"]
    if found is None:
        return None
    first = known(equal(found, index=1), "explained_variance")
    if not len(first):
        return None
    value = bootstrap(values(first, "explained_variance"), np.mean, seed=results.seed)
    compared = known(first, "null_high")
    above = count_above(compared, "explained_variance", "null_high"), len(compared)
    shares = _of_five(results, None)
    in_five = math.nan if shares is None else mean(shares, "share")
    return Measured(value, len(first), "tensors", mean(first, "null_mean"), above).noted(
        f"{above[0]} of {above[1]} tensors lie above their null's 97.5 % quantile",
        f"inside the leading five components: {number(in_five)}",
    )


def _of_five(results: Results, _observe: int | None) -> pd.DataFrame | None:
    found = results.tables["trajectory_svd"]
    if found is None:
        return None
    leading = known(select(found, found["index"] <= 5), "sigma")
    if not len(equal(leading, index=5)):
        return None
    wide = leading.pivot(index="tensor", columns="index", values="sigma") ** 2
    wide["share"] = wide[1] / wide.sum(axis=1)
    shares = wide["share"].reset_index()
    return shares.merge(equal(found, index=1)[["tensor", "null_mean"]], on="tensor")


def _share_of_lines(column: str) -> Measure:
    """Return the share of tensors with R² above 0.98, and that share for their random walks."""
    null, band = f"{column}_null_mean", f"{column}_null_high"

    def measure(results: Results, _observe: int | None) -> Measured | None:
        found = results.tables["linearity"]
        if found is None or not has(found, column):
            return None
        found = known(on_clock(found), column)
        ours, nulls = values(found, column), numbers(found, null)
        value = wilson(int((ours > 0.98).sum()), len(ours))
        compared = known(found, band) if band in found else found.head(0)
        above = (count_above(compared, column, band), len(compared)) if len(compared) else None
        of_null = float((nulls > 0.98).mean()) if len(nulls) else math.nan
        return Measured(value, len(found), "tensors", of_null, above).noted(
            f"{above[0]} of {above[1]} tensors lie above their null's band" if above else "",
            f"median R² {general(np.median(ours), 4)}, null's mean {general(mean(found, null), 3)}",
        )

    return measure


CLAIMS = [
    Claim(
        "B1",
        "relex",
        "One component carries most of a tensor's trajectory, more than in a random walk.",
        f"{RELEX}, rank analysis (81.4 % inside the leading five components)",
        "mean over tensors of component 1's explained variance; null: random walk with the same "
        "step norms",
        Threshold("≥", 0.814, also="above the null's 97.5 % quantile in most tensors"),
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
        "mean over tensors of σ₁² / (σ₁² + ... + σ₅²); null: a random walk's component 1 beside "
        "all components, a lower bound",
        Threshold("≥", 0.814),
        needs="needs the measure stage",
        measure=over_tensors(
            _of_five,
            "share",
            null="null_mean",
            unit="tensors",
            facts=lambda _results, _rows: (
                f"a long random walk of equal steps has {number(_WALK_OF_FIVE)}"
            ),
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
    Claim(
        "B2",
        "relex",
        "The coefficient of component 1 grows linearly with the step: R² > 0.98 for most tensors.",
        f"{RELEX}, linearity analysis",
        "share of tensors with in-sample R² > 0.98; null: the same share among their random "
        "walks' means",
        Threshold(">", 0.5),
        needs="needs the measure stage",
        measure=_share_of_lines("r2"),
        null_counts=True,
        control_counts=True,
        bounds=SHARE,
    ),
    Claim(
        "B2h",
        "ours",
        "A line fitted to the first half of the steps predicts component 1's coefficient in the "
        "second half: R² > 0.98 for most tensors.",
        f"ours; the stricter reading of {RELEX}",
        "share of tensors with held-out R² > 0.98; null: the same share among their random "
        "walks' means",
        Threshold(">", 0.5),
        needs="needs the measure stage",
        measure=_share_of_lines("heldout_r2"),
        null_counts=True,
        control_counts=True,
        bounds=SHARE,
    ),
]
