"""RELEX's claims about the weights (arXiv 2605.21468): variance, forecasts, geometry."""

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.measures import over_tensors
from rlvr_dynamics.claims.over_runs import first_measured, reworded
from rlvr_dynamics.claims.trajectory_claims import (
    PAPER,
    beats_holding,
    points_better_than_holding,
)
from rlvr_dynamics.claims.verdicts import Claim
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import equal, known, last_step, select
from rlvr_dynamics.results.run import Results

# Of the training: the 1.5B and 4B models, and the 8B model.
PAPER_WINDOWS = (0.15, 0.2)
EARLY = "the first 15 to 20 % of the steps"

# Of a random walk σ_k ∝ 1 / (2k − 1), the eigenfunctions of Brownian motion.
_WALK_OF_FIVE = 1 / sum(1 / (2 * place - 1) ** 2 for place in range(1, 6))


def one_of_five(results: Results) -> Claim:
    """B1f: component 1's share of the variance inside the leading five."""
    words = Claim(
        "B1f",
        "Component 1 carries 81 % of the variance inside the leading five.",
        f"{PAPER}, rank analysis",
        "mean over tensors of σ₁² / (σ₁² + ... + σ₅²); null: a random walk's component 1 beside "
        "all components, a lower bound",
        "≥ 0.814",
        note="needs the measure stage",
    )
    table = results.tables["trajectory_svd"]
    if table is None:
        return words
    leading = known(select(table, table["index"] <= 5), "sigma")
    if not len(equal(leading, index=5)):
        return words
    wide = leading.pivot(index="tensor", columns="index", values="sigma") ** 2
    wide["share"] = wide[1] / wide.sum(axis=1)
    shares = wide["share"].reset_index()
    rows = shares.merge(equal(table, index=1)[["tensor", "null_mean"]], on="tensor")
    row = over_tensors(
        results, words, rows, "share", threshold=0.814, null="null_mean", n_unit="tensors"
    )
    return row.noted(f"a long random walk of equal steps has {number(_WALK_OF_FIVE)}")


def forecasts(results: Results) -> Claim:
    """B6: closer to the final weights than the held checkpoint."""
    words = Claim(
        "B6",
        f"In the weights themselves, RELEX from {EARLY} is closer to the final model than the "
        "last observed checkpoint.",
        f"ours, of {PAPER}",
        "",
        "",
    )

    def measure(run: Results, share: float) -> Claim:
        return beats_holding(run, id="B6", share=share)

    return reworded(first_measured(measure, PAPER_WINDOWS, results), words)


def points_better(results: Results) -> Claim:
    """B7: the predicted direction is nearer to the true one than the held one."""
    words = Claim(
        "B7",
        f"RELEX's predicted update from {EARLY} points closer to the true one than the last "
        "observed update does.",
        f"ours, of {PAPER}, appendix B",
        "",
        "",
    )

    def measure(run: Results, share: float) -> Claim:
        return points_better_than_holding(run, id="B7", share=share)

    return reworded(first_measured(measure, PAPER_WINDOWS, results), words)


def direction(results: Results) -> Claim:
    """B11: the direction of the predicted update."""
    words = Claim(
        "B11",
        f"RELEX's predicted final update ({EARLY}) keeps a cosine above 0.35 with the true one.",
        f"{PAPER}, appendix B (0.72 early, falling to 0.35)",
        "median over tensors of cos(predicted update, true update) at the final step",
        "> 0.35",
        note="needs a RELEX forecast of the final step from 15 or 20 %",
    )
    return over_tensors(
        results,
        words,
        forecast_rows(results),
        "cosine",
        threshold=0.35,
        statistic=np.median,
        n_unit="tensors",
    )


def overshoots(results: Results) -> Claim:
    """B12: the predicted update is too long."""
    words = Claim(
        "B12",
        f"RELEX overshoots: its predicted final update ({EARLY}) is longer than the true one.",
        f"{PAPER}, appendix B (ratio 1.26 early, rising to 2.70)",
        "median over tensors of ‖predicted update‖ / ‖true update‖ at the final step",
        "> 1",
        note="needs a RELEX forecast of the final step from 15 or 20 %",
    )
    return over_tensors(
        results,
        words,
        forecast_rows(results),
        "magnitude_ratio",
        threshold=1,
        statistic=np.median,
        n_unit="tensors",
    )


def forecast_rows(results: Results, method: str = "relex") -> pd.DataFrame:
    """A method's forecasts of the final step from the first of the paper's windows that it has."""
    table, final = results.tables["forecast"], results.final_step
    for share in PAPER_WINDOWS:
        observe = results.window_near(share)
        if table is not None and observe is not None:
            rows = equal(table, method=method, observe=observe, step=final)
            if len(rows):
                return rows
    return pd.DataFrame()


def oracle_direction(results: Results) -> Claim:
    """B13: how much of the final update lies on component 1."""
    words = Claim(
        "B13",
        "The real final update has a cosine above 0.9 with its projection on component 1 of the "
        "whole trajectory.",
        f"{PAPER}, appendix B (0.50 early, rising to 0.91)",
        "median over tensors of cos(true update, projection) at the final step; in sample",
        "> 0.9",
        note="needs the measure stage",
    )
    table = results.tables["oracle"]
    if table is None:
        return words
    rows = equal(table, rank=1, step=last_step(table))
    return over_tensors(
        results,
        words,
        rows,
        "cosine",
        threshold=0.9,
        statistic=np.median,
        n_unit="tensors",
    )
