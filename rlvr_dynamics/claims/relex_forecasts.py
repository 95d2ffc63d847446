"""RELEX's claims about forecasts of the weights: skill and geometry (arXiv 2605.21468)."""

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.claim import AT_MOST_ONE, RELEX, Claim, Threshold
from rlvr_dynamics.claims.measures import Rows, forecast, over_tensors, table
from rlvr_dynamics.claims.quoted import Quoted, quote
from rlvr_dynamics.claims.relex import EARLY, LONGER, PAPER_WINDOWS
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import has, known, median, values
from rlvr_dynamics.results.run import Results

NAMES = {"relex": "RELEX", "relex_path": "RELEX on the path clock (ours)"}
FORECAST_NEEDED = "needs a RELEX forecast of the final step from 15 or 20 %"


def _positive(_results: Results, rows: pd.DataFrame) -> str:
    skill = values(rows, "skill")
    return f"positive in {int((skill > 0).sum())} of {len(skill)} tensors"


def _nearer(method: str) -> Rows:
    """Return rows with the cosines of forecast and held update with the true one, and their gap."""
    return lambda results, observe: _gaps(results, observe, method)


def _gaps(results: Results, observe: int | None, method: str) -> pd.DataFrame | None:
    rows, norms = forecast(method)(results, observe), results.tables["norms"]
    final = results.final_step
    if rows is None or norms is None or not has(rows, "cosine", "sse_hold"):
        return None
    rows = known(rows, "cosine")
    lengths = norms.pivot_table(index="tensor", columns="step", values="update_norm")
    if not {observe, final} <= set(lengths.columns):
        return None
    lengths = lengths.loc[rows["tensor"]]
    held, true = (np.asarray(lengths[step], dtype=np.float64) for step in (observe, final))
    # Law of cosines, from the distance between the two checkpoints.
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (held**2 + true**2 - values(rows, "sse_hold")) / (2 * held * true)
    return rows.assign(held=cosine, nearer=values(rows, "cosine") - cosine)


def _cosines(_results: Results, rows: pd.DataFrame) -> str:
    return f"median cosine {number(median(rows, 'cosine'))}, held {number(median(rows, 'held'))}"


def _geometry(method: str, metric: str) -> Quoted:
    return quote(
        "appendix B, last step", paper="relex", table="geometry", method=method, metric=metric
    )


def _forecasts(id: str, window: str, windows: tuple[float, ...], method: str = "relex") -> Claim:
    return Claim(
        id,
        "ours",
        f"In the weights themselves, {NAMES[method]} from {window} is closer to the final model "
        "than the last observed checkpoint.",
        f"ours, of {RELEX}",
        "median over tensors of skill = 1 − SSE(forecast) / SSE(hold the last checkpoint)",
        Threshold(">", 0, about="skill"),
        needs=f"needs a forecast of the final step by {NAMES[method]}, whose real checkpoint "
        "exists",
        measure=over_tensors(
            forecast(method),
            "skill",
            null=0.0,
            statistic=np.median,
            unit="tensors",
            facts=_positive,
        ),
        windows=windows,
        bounds=AT_MOST_ONE,
    )


def _points_nearer(
    id: str, window: str, windows: tuple[float, ...], method: str = "relex"
) -> Claim:
    return Claim(
        id,
        "ours",
        f"The predicted update of {NAMES[method]} from {window} points closer to the true one than "
        "the last observed update does.",
        f"ours, of {RELEX}, appendix B (cosine 0.72 early, falling to 0.35)",
        "median over tensors of cosine(predicted, true) − cosine(last observed, true), updates "
        "from the base, at the final step",
        Threshold(">", 0, about="difference of cosines"),
        needs=f"needs the measure stage, and a forecast of the final step by {NAMES[method]}",
        measure=over_tensors(
            _nearer(method), "nearer", null=0.0, statistic=np.median, unit="tensors", facts=_cosines
        ),
        windows=windows,
    )


CLAIMS = [
    _forecasts("B6", EARLY, PAPER_WINDOWS),
    _forecasts("B6-30", LONGER, (0.3,)),
    _forecasts("B6p", EARLY, PAPER_WINDOWS, "relex_path"),
    _points_nearer("B7", EARLY, PAPER_WINDOWS),
    _points_nearer("B7-30", LONGER, (0.3,)),
    _points_nearer("B7p", EARLY, PAPER_WINDOWS, "relex_path"),
    Claim(
        "B11",
        "relex",
        f"RELEX's predicted final update ({EARLY}) keeps a cosine above 0.35 with the true one.",
        f"{RELEX}, appendix B (0.72 early, falling to 0.35)",
        "median over tensors of cos(predicted update, true update) at the final step",
        Threshold(">", 0.35, about="cosine"),
        needs=FORECAST_NEEDED,
        measure=over_tensors(forecast("relex"), "cosine", statistic=np.median, unit="tensors"),
        windows=PAPER_WINDOWS,
        printed=_geometry("relex", "direction_cosine_last"),
        bounds=AT_MOST_ONE,
    ),
    Claim(
        "B12",
        "relex",
        f"RELEX overshoots: its predicted final update ({EARLY}) is longer than the true one.",
        f"{RELEX}, appendix B (ratio 1.26 early, rising to 2.70)",
        "median over tensors of ‖predicted update‖ / ‖true update‖ at the final step",
        Threshold(">", 1, about="ratio of norms"),
        needs=FORECAST_NEEDED,
        measure=over_tensors(
            forecast("relex"), "magnitude_ratio", statistic=np.median, unit="tensors"
        ),
        windows=PAPER_WINDOWS,
        printed=_geometry("relex", "magnitude_ratio_last"),
    ),
    Claim(
        "B13",
        "relex",
        "The real final update has a cosine above 0.9 with its projection on component 1 of the "
        "whole trajectory.",
        f"{RELEX}, appendix B (0.50 early, rising to 0.91)",
        "median over tensors of cos(true update, projection) at the final step; in sample",
        Threshold(">", 0.9, about="cosine"),
        needs="needs the measure stage",
        measure=over_tensors(
            table("oracle", last=True, rank=1), "cosine", statistic=np.median, unit="tensors"
        ),
        printed=_geometry("oracle_rank1_reconstruction", "direction_cosine_last"),
        bounds=AT_MOST_ONE,
    ),
]
