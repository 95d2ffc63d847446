"""AlphaRL's claims about the weights (arXiv 2510.00553): left vectors, norms, other training."""

import numpy as np
import pandas as pd

from rlvr_dynamics.checkpoints.names import ATTENTION_PROJECTIONS, MLP_PROJECTIONS
from rlvr_dynamics.claims.claim import (
    ALPHARL,
    AT_MOST_ONE,
    SHARE,
    Claim,
    Measured,
    Threshold,
    by_other_means,
)
from rlvr_dynamics.claims.measures import over_tensors, table
from rlvr_dynamics.claims.quoted import quote
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
from rlvr_dynamics.statistics.intervals import bootstrap

LEFT_VECTORS_NEEDED = "needs the left vectors and accuracies of at least four checkpoints"
RL_SHARE = 0.193  # of the norm, in the paper's DAPO run


def _left_vectors(results: Results, _observe: int | None) -> Measured | None:
    found = results.tables["pls"]
    if found is None or not has(found, "r2"):
        return None
    found = known(found, "r2")
    permuted, walk = mean(found, "r2_null_high"), mean(found, "r2_walk_mean")
    bounds = [name for name in ("r2_null_high", "r2_walk_high") if has(found, name)]
    compared = found.dropna(subset=bounds) if len(bounds) == 2 else found.head(0)
    above = int((values(compared, "r2")[:, None] > compared[bounds].to_numpy(float)).all(1).sum())
    value = bootstrap(values(found, "r2"), np.mean, seed=results.seed)
    null = float(np.fmax(permuted, walk))
    return Measured(value, len(found), "matrices", null, (above, len(compared))).noted(
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
    count = len(groups[0])

    def gap(drawn: np.ndarray, axis: int) -> np.ndarray:
        inside = drawn < count
        pooled = np.concatenate(groups)[drawn.astype(int)]
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = [
                (pooled * mask).sum(axis=axis) / mask.sum(axis=axis) for mask in (inside, ~inside)
            ]
        return parts[0] - parts[1]

    places = np.arange(sum(len(group) for group in groups), dtype=np.float64)
    value = bootstrap(places, gap, seed=results.seed)
    shown = " against ".join(number(group.mean()) for group in groups)
    return Measured(value, len(places), "matrices").noted(shown)


def _norm_share(id: str, rank: str, bar: float, metric: str) -> Claim:
    kept = "rank-1 part" if rank == "1" else f"leading {rank.replace('%', ' %')} of directions"
    return Claim(
        id,
        "alpharl",
        f"Under RL the {kept} carries over {100 * bar:.1f} % of the update's norm, as in the "
        "paper's DAPO run.",
        f"{ALPHARL}, table 7 and figure 5a",
        "mean over matrices of ‖ΔW_k‖ / ‖ΔW‖, not rescaled, at the final step; null: Gaussian "
        "matrices of the same shape",
        Threshold(">", bar),
        needs="needs the measure stage",
        measure=over_tensors(
            table("rank_shares", last=True, rank=rank),
            "norm_share",
            null="norm_share_null",
            facts=lambda _results, rows: f"k up to {numbers(rows, 'k').max():.0f}",
        ),
        printed=quote(
            "table 7, DAPO",
            scale=0.01,
            paper="alpharl",
            table="table7",
            algorithm="dapo",
            metric=metric,
        ),
        null_counts=True,
        control_counts=True,
        bounds=SHARE,
    )


def _first_shares(results: Results, _observe: int | None) -> pd.DataFrame | None:
    found = results.tables["update_svd"]
    if found is None:
        return None
    first = known(equal(found, step=last_step(found), index=1), "norm_share")
    return first.assign(below=RL_SHARE - values(first, "norm_share"))


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
    _norm_share("A6", "1", RL_SHARE, "rank1_norm_fraction_pct"),
    _norm_share("A6p", "1%", 0.365, "rank1pct_norm_fraction_pct"),
    Claim(
        "A9",
        "alpharl",
        "After fine-tuning, distillation or preference training the rank-1 part carries less of "
        "the update's norm than after RL (19.3 % in the paper).",
        f"{ALPHARL}, table 7",
        "0.193 − mean over matrices of σ₁/‖ΔW‖, runs of the contrast methods only",
        Threshold(">", 0),
        needs="needs a run on a published pair of a contrast method",
        measure=over_tensors(
            _first_shares,
            "below",
            facts=lambda _results, rows: (
                f"Gaussian matrices: {number(mean(rows, 'norm_share_null'))}"
            ),
        ),
        fits=by_other_means,
    ),
]
