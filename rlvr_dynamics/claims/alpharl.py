"""The claims of AlphaRL (arXiv 2510.00553) and the precondition of both papers."""

from functools import partial

from rlvr_dynamics.claims.alpharl_weights import (
    contrast_norm_share,
    contrast_not_recovered,
    held_out_left_vectors,
    mlp_above_attention,
    norm_share,
)
from rlvr_dynamics.claims.measures import (
    BESIDE_BEST,
    CLOSENESS,
    GOOD_ENOUGH,
    HALF_GAP,
    MARGIN,
    POSITIVE,
    compare,
    compare_predictions,
)
from rlvr_dynamics.claims.over_runs import AT_MOST_ONE, SHARE, LedgerClaim, contrast
from rlvr_dynamics.claims.quoted import NOT_PRINTED, Quoted, improved_at, kept_at, quote
from rlvr_dynamics.claims.update_claims import (
    PAPER,
    early_prediction_keeps,
    left_vectors_follow_accuracy,
    lifted,
    rank1_gain,
    rank1_ratio,
)
from rlvr_dynamics.claims.verdicts import Claim
from rlvr_dynamics.results.frames import equal, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.statistics.paired import RATIO

WINDOWS_OF_R2 = (1, 7)


def one_percent_ratio(results: Results) -> Claim:
    """A1p: the leading 1 % of directions recover the accuracy."""
    words = Claim(
        "A1p",
        "The leading 1 % of the final update's directions, rescaled, recover over 99 % of the "
        "fully trained model's accuracy.",
        f"{PAPER}, figures 1 and 3a, table 8",
        "ratio accuracy(rank 1 %) / accuracy(full); control: a random update of the same norm",
        "> 0.99",
        note="needs samples of the rank-1 % recovery of the final checkpoint",
    )
    final = results.final_step
    return compare(
        results,
        words,
        [f"recovery_1_percent__step_{final}", f"step_{final}"],
        threshold=0.99,
        contrast=RATIO,
        control=f"random_update__step_{final}",
    )


def throughout(results: Results) -> Claim:
    """A1t: rank 1 is as good as the checkpoint it is taken from, all through training."""
    words = Claim(
        "A1t",
        "Not only at the end: at every stage of training the rank-1 update is as accurate as the "
        "checkpoint it is taken from.",
        f"{PAPER}, figures 3b and 10, tables 5 and 6",
        "accuracy(rank-1) − accuracy(checkpoint), mean over the stages before the end",
        GOOD_ENOUGH,
        note="needs samples of rank-1 recoveries of earlier checkpoints",
    )
    scores, final = results.tables["scores"], results.final_step
    if scores is None or final is None:
        return words
    steps = sorted({int(step) for step in values(equal(scores, method="rank1_recovery"), "step")})
    real = {int(step) for step in values(equal(scores, method="real"), "step")}
    steps = [step for step in steps if step < final and step in real]
    if not steps:
        return words
    models = [f"rank1_recovery__step_{step}" for step in steps]
    models += [f"step_{step}" for step in steps]
    row = compare(results, words, models, threshold=MARGIN, contrast=HALF_GAP)
    return row.noted(f"steps {', '.join(map(str, steps))} of {final}")


def first_direction_leads(results: Results) -> Claim:
    """A4: of single directions, the first alone carries the gain."""
    words = Claim(
        "A4",
        "Of single directions of the final update, the first alone carries the gain; the others "
        "do little.",
        f"{PAPER}, figures 4a and 11",
        "accuracy(first direction alone) − best accuracy of any other scored direction alone",
        POSITIVE,
        note="needs samples of the second and further directions alone",
    )
    scores, final = results.tables["scores"], results.final_step
    if scores is None:
        return words
    names = [str(name) for name in dict.fromkeys(scores["method"])]
    others = sorted(name for name in names if name.startswith("subspace_"))
    if not others:
        return words
    models = [f"{name}__step_{final}" for name in ("rank1_recovery", *others)]
    return compare(results, words, models, threshold=0, contrast=BESIDE_BEST)


def scale_plateau(results: Results) -> Claim:
    """A5: seven tenths of the rescaled rank-1 update do as well as all of it."""
    words = Claim(
        "A5",
        "Accuracy has levelled off at λ = 0.7 of the rescaled rank-1 update: all of it brings no "
        "more.",
        f"{PAPER}, figure 4b",
        "accuracy(λ = 0.7) − accuracy(λ = 1)",
        GOOD_ENOUGH,
        note="needs samples of the rank-1 update scaled by 0.7",
    )
    models = [f"{name}__step_{results.final_step}" for name in ("rank1_scaled_0_7",)]
    models.append(f"rank1_recovery__step_{results.final_step}")
    return compare(results, words, models, threshold=MARGIN)


def improves_the_checkpoint(results: Results, *, id: str, share: float) -> Claim:
    """A3i: AlphaRL lifts the checkpoint it starts from."""
    words = Claim(
        id,
        f"AlphaRL, applied at {100 * share:.0f} % of training, is more accurate than the "
        "checkpoint it starts from.",
        f"{PAPER}, tables 1, 3 and 4",
        "accuracy(AlphaRL) − accuracy(checkpoint)",
        POSITIVE,
        note=f"needs samples of an AlphaRL prediction from {100 * share:.0f} %",
    )
    return compare_predictions(results, words, ["alpharl", "hold_last"], [share], threshold=0)


def later_state_error(results: Results) -> Claim:
    """A3e: the predicted model's accuracy is within 5 % of the real one's."""
    words = Claim(
        "A3e",
        "Later states are predicted with an error below 5 %.",
        f"{PAPER}, introduction; the paper does not define the error",
        "1 − |accuracy(AlphaRL at 40 %) / accuracy(full) − 1|; control: the checkpoint it starts "
        "from",
        "> 0.95",
        note="needs samples of an AlphaRL prediction of the final step from 40 %",
    )
    final, observe = results.final_step, results.window_near(0.4)
    if observe is None:
        return words
    return compare(
        results,
        words,
        [f"alpharl__observe_{observe}__step_{final}", f"step_{final}"],
        threshold=0.95,
        contrast=CLOSENESS,
        control=f"step_{observe}",
    )


def window_of_r2(results: Results) -> Claim:
    """A7: the matrices with the highest R² carry more accuracy than those with the lowest."""
    words = Claim(
        "A7",
        "Rank-1 updates of the matrices with the highest R² carry more accuracy than those with "
        "the lowest.",
        f"{PAPER}, figure 6c",
        "accuracy(window 1 of 7, highest R²) − accuracy(window 7)",
        POSITIVE,
        note="needs samples of the rank-1 update of the matrices in windows 1 and 7 of R²",
    )
    final = results.final_step
    models = [f"rank1_r2_window_{place}__step_{final}" for place in WINDOWS_OF_R2]
    return compare(results, words, models, threshold=0)


def _table8(method: str, run: str) -> Quoted:
    return quote(
        "table 8", scale=0.01, paper="alpharl", table="table8", method=method, algorithm=run
    )


def _share(metric: str) -> Quoted:
    return quote(
        "table 7, DAPO",
        scale=0.01,
        paper="alpharl",
        table="table7",
        algorithm="dapo",
        metric=metric,
    )


def _text(metric: str, place: str, scale: float = 1.0) -> Quoted:
    return quote(place, scale=scale, paper="alpharl", table="text", metric=metric)


_RECOVERED = _text("rank1_recovery_mean_pct", "introduction", 0.01)
_ERROR = _text("later_state_error_max_pct", "introduction (error below 5 %)")

CLAIMS: list[LedgerClaim] = [
    LedgerClaim(lifted, "both", 0, control_counts=True),
    LedgerClaim(rank1_ratio, "alpharl", 0.99, _RECOVERED, needs_gain=True),
    LedgerClaim(rank1_gain, "alpharl", 0.99, needs_gain=True),
    LedgerClaim(one_percent_ratio, "alpharl", 0.99, _table8("rank1pct", "dapo"), needs_gain=True),
    LedgerClaim(throughout, "alpharl", MARGIN, needs_gain=True),
    LedgerClaim(
        left_vectors_follow_accuracy,
        "alpharl",
        0.9,
        _text("pls_r2_mean", "introduction"),
        control_counts=True,
        bounds=AT_MOST_ONE,
    ),
    LedgerClaim(held_out_left_vectors, "ours", 0.9, control_counts=True, bounds=AT_MOST_ONE),
    LedgerClaim(mlp_above_attention, "alpharl", 0, control_counts=True),
    LedgerClaim(early_prediction_keeps, "alpharl", 0.96, kept_at(0.4), needs_gain=True),
    LedgerClaim(
        partial(improves_the_checkpoint, id="A3i-10", share=0.1),
        "alpharl",
        0,
        improved_at(0.1),
        needs_gain=True,
    ),
    LedgerClaim(
        partial(improves_the_checkpoint, id="A3i-40", share=0.4),
        "alpharl",
        0,
        improved_at(0.4),
        needs_gain=True,
    ),
    LedgerClaim(
        later_state_error,
        "alpharl",
        0.95,
        Quoted(1 - _ERROR.value / 100, _ERROR.origin),
        needs_gain=True,
        bounds=AT_MOST_ONE,
    ),
    LedgerClaim(first_direction_leads, "alpharl", 0, needs_gain=True),
    LedgerClaim(scale_plateau, "alpharl", MARGIN, needs_gain=True),
    LedgerClaim(
        partial(norm_share, id="A6", rank="1", bar=0.193),
        "alpharl",
        0.193,
        _share("rank1_norm_fraction_pct"),
        control_counts=True,
        bounds=SHARE,
    ),
    LedgerClaim(
        partial(norm_share, id="A6p", rank="1%", bar=0.365),
        "alpharl",
        0.365,
        _share("rank1pct_norm_fraction_pct"),
        control_counts=True,
        bounds=SHARE,
    ),
    LedgerClaim(window_of_r2, "alpharl", 0, NOT_PRINTED, needs_gain=True),
    LedgerClaim(
        contrast_not_recovered,
        "alpharl",
        0.01,
        Quoted(1 - _table8("rank1", "dpo").value, "table 8, DPO, the highest of four"),
        fits=contrast,
    ),
    LedgerClaim(contrast_norm_share, "alpharl", 0, fits=contrast),
]
