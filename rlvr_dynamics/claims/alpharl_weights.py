"""AlphaRL's claims about the weights (arXiv 2510.00553): left vectors, norms, other training."""

import math

import numpy as np
import pandas as pd

from rlvr_dynamics.checkpoints.names import ATTENTION_PROJECTIONS, MLP_PROJECTIONS
from rlvr_dynamics.claims.claim import (
    ALPHARL,
    AT_MOST_ONE,
    Claim,
    Measured,
    Threshold,
    by_other_means,
)
from rlvr_dynamics.claims.measures import over_tensors, table, with_quartiles
from rlvr_dynamics.claims.quoted import Quoted, quote
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import (
    accuracy_source,
    equal,
    has,
    known,
    last_step,
    mean,
    median,
    numbers,
    select,
    values,
)
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.statistics.intervals import Interval

LEFT_VECTORS_NEEDED = "needs the left vectors and accuracies of at least four checkpoints"
RL_SHARE = 0.193  # of the norm, in the paper's DAPO run
# The same shares of Gaussian matrices with the shapes of Qwen3-8B's layers (4096 x 4096 twice,
# 1024 x 4096 twice, 12288 x 4096 three times), averaged: rank 1, and the leading 1 %.
PAPER_GAUSSIAN = {"1": 0.0328, "1%": 0.1660}


def _left_vectors(results: Results, _observe: int | None) -> Measured | None:
    found = results.tables["pls"]
    if found is None or not has(found, "r2"):
        return None
    found = known(found, "r2")
    permuted, walk = mean(found, "r2_null_high"), mean(found, "r2_walk_mean")
    bounds = [name for name in ("r2_null_high", "r2_walk_high") if has(found, name)]
    compared = found.dropna(subset=bounds) if len(bounds) == 2 else found.head(0)
    above = int((values(compared, "r2")[:, None] > compared[bounds].to_numpy(float)).all(1).sum())
    value = with_quartiles(values(found, "r2"))
    null, above_null = float(np.fmax(permuted, walk)), (above, len(compared))
    return Measured(value, len(found), "matrices", null, above_null, spread=True).noted(
        f"{above} of {len(compared)} matrices lie above both nulls' 97.5 % quantiles",
        f"permuted accuracies reach {number(permuted)} (97.5 %), random walks {number(walk)} "
        f"(mean); leave-one-out R² {number(median(found, 'loo_r2'))} (median)",
        accuracy_source(found).rstrip("."),
    )


def _mlp_above_attention(results: Results, _observe: int | None) -> Measured | None:
    found = results.tables["pls"]
    if found is None:
        return None
    groups = [
        numbers(select(found, found["module"].isin(names)), "r2")
        for names in (MLP_PROJECTIONS, ATTENTION_PROJECTIONS)
    ]
    if not all(len(group) for group in groups):
        return None
    means = [float(group.mean()) for group in groups]
    gap = Interval(means[0] - means[1], math.nan, math.nan)
    count = sum(len(group) for group in groups)
    shown = " against ".join(map(number, means))
    # Not exact: y(t) is noisy, by an amount that one run cannot tell for a difference.
    return Measured(gap, count, "matrices").noted(shown)


def _over_gaussian(rows: pd.DataFrame) -> pd.DataFrame:
    """Divide norm shares by those of Gaussian matrices: small matrices have large shares anyway."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return rows.assign(times=values(rows, "norm_share") / values(rows, "norm_share_null"))


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
        "Gaussian matrices of the same shape",
        Threshold(">", 1),
        needs="needs the measure stage",
        measure=over_tensors(rows, "times", null=1.0, facts=_shapes),
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
    Claim(
        "A2",
        "alpharl",
        "The leading left vector of the update moves linearly with accuracy over training, more "
        "than chance and a mere trend explain.",
        f"{ALPHARL}, section on linear dynamics (average over modules 0.914)",
        "mean over matrices of the in-sample R² of accuracy on one partial-least-squares component "
        "of u1; null: the higher of permuted accuracies (their 97.5 % quantiles) and random-walk "
        "accuracies (their means)",
        Threshold(">", 0.9, also="above both nulls' 97.5 % quantiles in most matrices"),
        needs=LEFT_VECTORS_NEEDED,
        measure=_left_vectors,
        printed=quote("introduction", paper="alpharl", table="text", metric="pls_r2_mean"),
        null_counts=True,
        control_counts=True,
        bounds=AT_MOST_ONE,
    ),
    Claim(
        "A2h",
        "ours",
        "The leading left vector predicts the accuracy of a checkpoint that the fit has not seen.",
        f"ours; the stricter reading of {ALPHARL}",
        "mean over matrices of the leave-one-out R² of the same regression",
        Threshold(">", 0.9),
        needs=LEFT_VECTORS_NEEDED,
        measure=over_tensors(table("pls"), "loo_r2"),
        control_counts=True,
        bounds=AT_MOST_ONE,
    ),
    Claim(
        "A2m",
        "alpharl",
        "The MLP's matrices follow accuracy more linearly than those of attention.",
        f"{ALPHARL}, figure 15",
        "mean R² (partial least squares) over MLP matrices − mean over attention matrices",
        Threshold(">", 0),
        needs=LEFT_VECTORS_NEEDED,
        measure=_mlp_above_attention,
        control_counts=True,
    ),
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
        Threshold(">", 0),
        needs="needs a run on a published pair of a contrast method",
        measure=over_tensors(
            _first_shares,
            "below",
            facts=_shapes,
        ),
        fits=by_other_means,
    ),
]
