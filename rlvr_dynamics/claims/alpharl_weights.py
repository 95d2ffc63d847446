"""AlphaRL's claims about the weights (arXiv 2510.00553): shares of the norm, other training."""

import math

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.claim import (
    ALPHARL,
    Claim,
    Threshold,
    by_other_means,
    by_rl_of_every_weight,
)
from rlvr_dynamics.claims.measures import over_tensors, table
from rlvr_dynamics.claims.quoted import Quoted, quote
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import (
    equal,
    has,
    known,
    last_step,
    mean,
    numbers,
    values,
)
from rlvr_dynamics.results.run import Results

HIGH = "norm_share_null_high"
CLEARLY_ABOVE = 1.1  # times the share of Gaussian matrices; ours
RL_SHARE = 0.193  # of the norm, in the paper's DAPO run
# The same shares of Gaussian matrices with the shapes of Qwen3-8B's layers (4096 x 4096 twice,
# 1024 x 4096 twice, 12288 x 4096 three times), averaged: rank 1, and the leading 1 %.
PAPER_GAUSSIAN = {"1": 0.0328, "1%": 0.1660}


def _over_gaussian(rows: pd.DataFrame) -> pd.DataFrame:
    """Divide norm shares by those of Gaussian matrices: small matrices have large shares anyway."""
    with np.errstate(divide="ignore", invalid="ignore"):
        null = values(rows, "norm_share_null")
        if HIGH in rows:
            rows = rows.assign(times_null_high=values(rows, HIGH) / null)
        return rows.assign(times=values(rows, "norm_share") / null)


def _shapes(_results: Results, rows: pd.DataFrame) -> str:
    """Say what the ratio is made of: it is bounded by matrices whose whole norm is kept."""
    null = mean(rows, "norm_share_null")
    most = float(np.mean(1 / numbers(rows, "norm_share_null")))
    return (
        f"share {number(mean(rows, 'norm_share'))}, Gaussian matrices {number(null)}; at most "
        f"{number(most, 1)} times in these shapes"
    )


def _norm_share(id: str, rank: str, metric: str) -> Claim:
    kept = "rank-1 part" if rank == "1" else f"leading {rank.replace('%', ' %')} of directions"

    def rows(results: Results, observe: int | None) -> pd.DataFrame | None:
        found = table("rank_shares", last=True, rank=rank)(results, observe)
        return None if found is None or not has(found, "norm_share") else _over_gaussian(found)

    share = quote(
        "table 7, DAPO",
        scale=0.01,
        paper="alpharl",
        table="table7",
        algorithm="dapo",
        metric=metric,
    )
    return Claim(
        id,
        "alpharl",
        f"Under RL the {kept} carries more of the update's norm than chance gives it "
        f"({100 * share.value:.1f} % in the paper's DAPO run).",
        f"{ALPHARL}, table 7 and figure 5a",
        "mean over matrices of ‖ΔW_k‖ / ‖ΔW‖, not rescaled, at the final step, over the same of "
        "Gaussian matrices of the same shape; most matrices must lie above the 97.5 % quantile of "
        "theirs",
        Threshold(">", CLEARLY_ABOVE, about="times chance"),
        needs="needs the measure stage, and a training of every weight",
        fits=by_rl_of_every_weight,
        measure=over_tensors(rows, "times", null=1.0, high="times_null_high", facts=_shapes),
        printed=Quoted(
            share.value / PAPER_GAUSSIAN[rank],
            f"{share.origin}; over {PAPER_GAUSSIAN[rank]}, the share of Gaussian matrices in the "
            "shapes of Qwen3-8B",
        ),
        control_counts=True,
        bounds=(0.0, math.inf),
    )


def _first_shares(results: Results, _observe: int | None) -> pd.DataFrame | None:
    found = results.tables["update_svd"]
    if found is None or not has(found, "norm_share_null"):
        return None
    first = _over_gaussian(known(equal(found, step=last_step(found), index=1), "norm_share"))
    return first.assign(below=RL_SHARE / PAPER_GAUSSIAN["1"] - values(first, "times"))


CLAIMS = [
    _norm_share("A6", "1", "rank1_norm_fraction_pct"),
    _norm_share("A6p", "1%", "rank1pct_norm_fraction_pct"),
    Claim(
        "A9",
        "alpharl",
        "After fine-tuning, distillation or preference training the rank-1 part carries less of "
        "the update's norm than after RL (19.3 % in the paper).",
        f"{ALPHARL}, table 7",
        "5.9 − mean over matrices of σ₁/‖ΔW‖ over that of Gaussian matrices of the same shape "
        "(5.9: the paper's DAPO run), runs of the contrast methods only",
        Threshold(">", 0, about="difference of such ratios"),
        needs="needs a run on a published pair of a contrast method",
        measure=over_tensors(
            _first_shares,
            "below",
            facts=_shapes,
        ),
        fits=by_other_means,
    ),
]
