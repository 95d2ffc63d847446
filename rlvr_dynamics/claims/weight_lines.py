"""arXiv 2601.04537's claim about single weights: each follows a line in the training step."""

import math
from functools import partial

from rlvr_dynamics.claims.claim import SHARE, Claim, Measured, Threshold
from rlvr_dynamics.claims.quoted import NOT_PRINTED, Quoted, quote
from rlvr_dynamics.results.formatting import general, interval, number, percent
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.tables import LINEAR_R2, NULL_WALKS, PAPERS_MOVE, WEIGHT_NULLS
from rlvr_dynamics.statistics.intervals import Interval

NOISE = {"walk": "independent steps", "optimizer": "the optimizer's noise"}
MOVED_BY = f"{PAPERS_MOVE:.0e}".replace("e-0", "e-")
PAPERS_POINTS = 14


def _row(results: Results, selection: str) -> dict | None:
    table = results.tables["weight_lines"]
    rows = (
        [] if table is None else equal(table, clock="step", selection=selection).to_dict("records")
    )
    return {str(name): value for name, value in rows[0].items()} if rows else None


def _measured(
    results: Results, _observe: int | None, selection: str, score: str
) -> Measured | None:
    """R² of the weights that a selection keeps, beside noise that is selected in the same way."""
    row = _row(results, selection)
    if row is None or not row["weights"]:
        return None
    ends = (row["r2_low"], row["r2_high"]) if score == "r2" else (math.nan, math.nan)
    nulls = {walk: _null(row, walk, score) for walk in WEIGHT_NULLS}
    there = {walk: found for walk, found in nulls.items() if not math.isnan(found.value)}
    highest = max((found.value for found in there.values()), default=math.nan)
    value = Interval(row[score], *ends)
    return Measured(value, int(row["weights"]), "weights", highest, spread=True).noted(
        f"the selection keeps {percent(row['kept_share'])} of {row['sampled']:,} sampled weights",
        "null, over walks: "
        + ", ".join(
            f"{NOISE[walk]} {number(found.value)} {interval(found.low, found.high)}"
            for walk, found in there.items()
        ),
        f"median R² {number(row['r2'])}"
        if score != "r2"
        else f"R² > {LINEAR_R2} in {percent(row['above_share'])}",
        f"held out: median {number(row['heldout_r2'])}, noise "
        + " and ".join(number(_null(row, walk, "heldout_r2").value) for walk in there),
        f"{row['points']:.0f} points read as {row['dtype']}; the paper has {PAPERS_POINTS} as "
        "bfloat16",
    )


def _null(row: dict, walk: str, score: str) -> Interval:
    prefix = NULL_WALKS[walk].of_score(score)
    return Interval(*(row.get(f"{prefix}_{end}", math.nan) for end in ("mean", "low", "high")))


def _nothing_moved(results: Results) -> str:
    row = _row(results, "paper")
    if row is None:
        return ""
    return (
        f"no sampled weight moved more than {MOVED_BY} and took 4 values: of "
        f"{row['sampled']:,} the farthest moved {general(row['largest'], 2)}"
    )


def _claim(
    id: str, words: str, statistic: str, score: str, selection: str, printed: Quoted = NOT_PRINTED
) -> Claim:
    papers = selection == "paper"
    return Claim(
        id,
        "follow_up" if papers else "ours",
        words,
        "arXiv 2601.04537" if papers else "ours, of arXiv 2601.04537",
        f"{statistic}; null: the higher of the same of independent steps and of the optimizer's "
        "noise, with the weights' own step lengths and selected in the same way",
        Threshold(">", LINEAR_R2, about="R²" if score == "r2" else "share of the weights"),
        needs="needs measure/weight_lines.parquet, which the measure stage writes",
        measure=partial(_measured, selection=selection, score=score),
        lacks=_nothing_moved if papers else lambda _results: "",
        printed=printed,
        null_counts=True,
        control_counts=True,
        bounds=SHARE,
    )


MOVED = f"of weights that moved by more than {MOVED_BY} and took at least 4 values"

CLAIMS = [
    _claim(
        "F11",
        "More than 70 % of the weights are linear in the training step.",
        f"share with R² > {LINEAR_R2} against the step, {MOVED}",
        "above_share",
        "paper",
        quote(
            'its README, "more than 70 %"',
            paper="rlvr_linearity",
            table="readme",
            metric="weight_r2_share_above_0_7",
        ),
    ),
    _claim(
        "F11m",
        "The median R² of a weight against the training step is above the bar of linearity.",
        f"median R² against the step, {MOVED}",
        "r2",
        "paper",
        quote(
            "figure 2, 1.5B",
            paper="rlvr_linearity",
            table="figure2",
            benchmark="RL",
            metric="weight_r2_median",
        ),
    ),
    _claim(
        "F11q",
        "Of the half of the weights that moved most, however little, more than 70 % are linear in "
        "the training step.",
        f"share with R² > {LINEAR_R2} against the step, of the weights whose range exceeds the "
        "median range",
        "above_share",
        "half",
    ),
]
