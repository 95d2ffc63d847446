"""AlphaRL's claims about the weights (arXiv 2510.00553): left vectors, norms, other training."""

import numpy as np

from rlvr_dynamics.checkpoints.names import ATTENTION_PROJECTIONS, MLP_PROJECTIONS
from rlvr_dynamics.claims.measures import over_tensors
from rlvr_dynamics.claims.update_claims import PAPER, rank1_ratio
from rlvr_dynamics.claims.verdicts import Claim, verdict_above
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import equal, known, last_step, mean, numbers, select, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.statistics.bootstrap import Interval, bootstrap


def held_out_left_vectors(results: Results) -> Claim:
    """A2h: the same regression, each checkpoint predicted by the others."""
    words = Claim(
        "A2h",
        "The leading left vector predicts the accuracy of a checkpoint that the fit has not seen.",
        f"ours; the stricter reading of {PAPER}",
        "mean over matrices of the leave-one-out R² of the same regression",
        "> 0.9",
        note="needs the left vectors and accuracies of at least four checkpoints",
    )
    table = results.tables["pls"]
    return words if table is None else over_tensors(results, words, table, "loo_r2", threshold=0.9)


def mlp_above_attention(results: Results) -> Claim:
    """A2m: matrices of the MLP follow accuracy more linearly than those of attention."""
    words = Claim(
        "A2m",
        "The MLP's matrices follow accuracy more linearly than those of attention.",
        f"{PAPER}, figure 15",
        "mean R² (partial least squares) over MLP matrices − mean over attention matrices",
        "> 0",
        note="needs the left vectors and accuracies of at least four checkpoints",
    )
    table = results.tables["pls"]
    if table is None:
        return words
    groups = [
        numbers(select(table, table["module"].isin(names)), "r2")
        for names in (MLP_PROJECTIONS, ATTENTION_PROJECTIONS)
    ]
    if not all(len(group) for group in groups):
        return words
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
    shown = " beside ".join(number(group.mean()) for group in groups)
    row = Claim(words.id, words.claim, words.source, words.statistic, words.threshold)
    return row.measured(
        value, n=len(places), n_unit="matrices", verdict=verdict_above(value, 0)
    ).noted(shown)


def norm_share(results: Results, *, id: str, rank: str, bar: float) -> Claim:
    """A6: the leading directions carry a larger share of the norm than chance gives."""
    kept = "rank-1 part" if rank == "1" else f"leading {rank.replace('%', ' %')} of directions"
    words = Claim(
        id,
        f"Under RL the {kept} carries over {100 * bar:.1f} % of the update's norm, as in the "
        "paper's DAPO run.",
        f"{PAPER}, table 7 and figure 5a",
        "mean over matrices of ‖ΔW_k‖ / ‖ΔW‖, not rescaled, at the final step; null: Gaussian "
        "matrices of the same shape",
        f"> {bar:g}",
        note="needs the measure stage",
    )
    table = results.tables["rank_shares"]
    if table is None:
        return words
    rows = equal(table, step=last_step(table), rank=rank)
    row = over_tensors(results, words, rows, "norm_share", threshold=bar, null="norm_share_null")
    kept_counts = numbers(rows, "k")
    return row.noted(f"k up to {kept_counts.max():.0f}") if len(kept_counts) else row


def contrast_not_recovered(results: Results) -> Claim:
    """A8: the rank-1 update of fine-tuning or distillation does not recover the model."""
    words = Claim(
        "A8",
        "After fine-tuning, distillation or preference training, unlike RL, the rank-1 update "
        "does not recover 99 % of the accuracy.",
        f"{PAPER}, table 8 and figure 3a",
        "1 − accuracy(rank-1) / accuracy(full), runs of the contrast methods only",
        "> 0.01",
        note="needs a run on a published pair of a contrast method",
    )
    row = rank1_ratio(results)
    if row.n is None:
        return words
    lost = (1 - row.ours, 1 - row.ci_high, 1 - row.ci_low)
    interval = Interval(*lost)
    return Claim(words.id, words.claim, words.source, words.statistic, words.threshold).measured(
        interval, n=row.n, n_unit=row.n_unit, verdict=verdict_above(interval, 0.01)
    )


def contrast_norm_share(results: Results) -> Claim:
    """A9: their rank-1 share of the norm stays below RL's."""
    words = Claim(
        "A9",
        "After fine-tuning, distillation or preference training the rank-1 part carries less of "
        "the update's norm than after RL (19.3 % in the paper).",
        f"{PAPER}, table 7",
        "0.193 − mean over matrices of σ₁/‖ΔW‖, runs of the contrast methods only",
        "> 0",
        note="needs a run on a published pair of a contrast method",
    )
    table = results.tables["update_svd"]
    if table is None:
        return words
    first = known(equal(table, step=last_step(table), index=1), "norm_share")
    below = first.assign(below=0.193 - values(first, "norm_share"))
    row = over_tensors(results, words, below, "below", threshold=0)
    return row.noted(f"Gaussian matrices: {number(mean(first, 'norm_share_null'))}")
