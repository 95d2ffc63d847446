"""AlphaRL's claims about accuracy (arXiv 2510.00553)."""

from dataclasses import dataclass

from rlvr_dynamics.claims.claim import (
    ALPHARL,
    AT_MOST_ONE,
    GOOD_ENOUGH,
    POSITIVE,
    Claim,
    Measured,
    Threshold,
    by_other_means,
)
from rlvr_dynamics.claims.measures import (
    BESIDE_BEST,
    CLOSENESS,
    HALF_GAP,
    HOLD_RANK1,
    accuracies,
    compare,
)
from rlvr_dynamics.claims.quoted import NOT_PRINTED, Quoted, improved_at, kept_at, quote
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import equal, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import HOLD_LAST
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.statistics.intervals import Interval
from rlvr_dynamics.statistics.paired import GAIN, RATIO

RANK1_NEEDED = "needs samples of the rank-1 recovery of the final checkpoint"


def _rank1_ratio(results: Results, observe: int | None) -> Measured | None:
    contrast = accuracies("rank1_recovery", "real", contrast=RATIO, control="random_update")
    found = contrast(results, observe)
    base = accuracies("base", "real", contrast=RATIO)(results, observe)
    if found is None or base is None:
        return found
    return found.noted(f"the untrained base alone has {number(base.value.value)}")


def _not_recovered(results: Results, observe: int | None) -> Measured | None:
    found = accuracies("rank1_recovery", "real", contrast=RATIO)(results, observe)
    if found is None:
        return None
    value, low, high = found.value
    return Measured(Interval(1 - value, 1 - high, 1 - low), found.n, found.n_unit)


def _throughout(results: Results, _observe: int | None) -> Measured | None:
    scores, final = results.tables["scores"], results.final_step
    if scores is None or final is None:
        return None
    steps = sorted({int(step) for step in values(equal(scores, method="rank1_recovery"), "step")})
    real = {int(step) for step in values(equal(scores, method="real"), "step")}
    steps = [step for step in steps if step < final and step in real]
    if not steps:
        return None
    models = [ModelId("rank1_recovery", 0, step) for step in steps]
    models += [ModelId.checkpoint(step) for step in steps]
    found = compare(results, models, contrast=HALF_GAP)
    return found and found.noted(f"steps {', '.join(map(str, steps))} of {final}")


def _first_beside_others(results: Results, observe: int | None) -> Measured | None:
    scores = results.tables["scores"]
    names = [] if scores is None else [str(name) for name in dict.fromkeys(scores["method"])]
    others = sorted(name for name in names if name.startswith("subspace_"))
    if not others:
        return None
    return accuracies("rank1_recovery", *others, contrast=BESIDE_BEST)(results, observe)


def _table8(method: str, run: str) -> Quoted:
    wanted = {"table": "table8", "method": method, "algorithm": run}
    return quote("table 8", scale=0.01, paper="alpharl", **wanted)


def _text(metric: str, place: str, scale: float = 1.0) -> Quoted:
    return quote(place, scale=scale, paper="alpharl", table="text", metric=metric)


_ERROR = _text("later_state_error_max_pct", "introduction (error below 5 %)")


@dataclass(frozen=True)
class _Form:
    """A way of applying AlphaRL, with claims of its own.

    Attributes:
        mark: End of the claims' ids, before the window.
        method: Label of its predictions.
        words: Its name in the claims.
        paper: Whose reading it is; printed numbers stand beside those of the paper.
    """

    mark: str
    method: str
    words: str
    paper: str = "alpharl"


TEXT = _Form("", "alpharl", "AlphaRL")
RELEASED = _Form("r", "alpharl_released", "AlphaRL as its released code does it")
CHOSEN = _Form(
    "c", "alpharl_chosen", "AlphaRL to an accuracy chosen on validation problems", "ours"
)
CONTROLS = (HOLD_LAST, HOLD_RANK1)


def _prediction_needed(form: _Form, share: float) -> str:
    return f"needs samples of the prediction {form.method} of the final step from {share:.0%}"


def _improves(form: _Form, share: float) -> Claim:
    return Claim(
        f"A3i{form.mark}-{100 * share:.0f}",
        form.paper,
        f"{form.words}, applied at {100 * share:.0f} % of training, is more accurate than the "
        "checkpoint it starts from.",
        f"{ALPHARL}, tables 1, 3 and 4",
        f"accuracy({form.method}) − accuracy(checkpoint); null: the rank-1 part of the "
        "checkpoint's update, rescaled, instead",
        POSITIVE,
        needs=_prediction_needed(form, share),
        measure=accuracies(form.method, HOLD_LAST, control=HOLD_RANK1),
        windows=(share,),
        printed=improved_at(share) if form.paper == "alpharl" else NOT_PRINTED,
        needs_gain=True,
    )


def _keeps(form: _Form) -> Claim:
    return Claim(
        f"A3{form.mark}",
        form.paper,
        f"{form.words}, applied at 40 % of training, keeps over 96 % of the final accuracy.",
        f"{ALPHARL}, headline result and table 1",
        f"ratio accuracy({form.method}) / accuracy(full), in domain; controls: the checkpoint it "
        "starts from, and the rank-1 part of its update, rescaled; null: the higher of them",
        Threshold(">", 0.96, about="share of the accuracy"),
        needs=_prediction_needed(form, 0.4),
        measure=accuracies(form.method, "real", contrast=RATIO, control=CONTROLS),
        windows=(0.4,),
        printed=kept_at(0.4) if form.paper == "alpharl" else NOT_PRINTED,
        needs_gain=True,
        needs_level=True,
        null_counts=True,
    )


CLAIMS = [
    Claim(
        "A1",
        "alpharl",
        "The rank-1 part of the final update, rescaled, recovers over 99 % of the fully trained "
        "model's accuracy.",
        f"{ALPHARL}, introduction and section 2.2",
        "ratio accuracy(rank-1) / accuracy(full); control: a random update of the same norm",
        Threshold(">", 0.99, about="share of the accuracy"),
        needs=RANK1_NEEDED,
        measure=_rank1_ratio,
        printed=_text("rank1_recovery_mean_pct", "introduction", 0.01),
        needs_gain=True,
        null_counts=True,
    ),
    Claim(
        "A1b",
        "alpharl",
        "The rank-1 part of the final update, rescaled, recovers over 99 % of the performance "
        "gains of RL.",
        f"{ALPHARL}, abstract (over 99 % of performance gains)",
        "(accuracy(rank-1) − base) / (full − base); control: a random update of the same norm",
        Threshold(">", 0.99, about="share of the gain"),
        needs=RANK1_NEEDED,
        measure=accuracies(
            "rank1_recovery", "real", "base", contrast=GAIN, control="random_update"
        ),
        needs_gain=True,
        null_counts=True,
    ),
    Claim(
        "A1p",
        "alpharl",
        "The leading 1 % of the final update's directions, rescaled, recover over 99 % of the "
        "fully trained model's accuracy.",
        f"{ALPHARL}, figures 1 and 3a, table 8",
        "ratio accuracy(rank 1 %) / accuracy(full); control: a random update of the same norm",
        Threshold(">", 0.99, about="share of the accuracy"),
        needs="needs samples of the rank-1 % recovery of the final checkpoint",
        measure=accuracies("recovery_1_percent", "real", contrast=RATIO, control="random_update"),
        printed=_table8("rank1pct", "dapo"),
        needs_gain=True,
        null_counts=True,
    ),
    Claim(
        "A1t",
        "alpharl",
        "Not only at the end: at every stage of training the rank-1 update is as accurate as the "
        "checkpoint it is taken from.",
        f"{ALPHARL}, figures 3b and 10, tables 5 and 6",
        "accuracy(rank-1) − accuracy(checkpoint), mean over the stages before the end",
        GOOD_ENOUGH,
        needs="needs samples of rank-1 recoveries of earlier checkpoints",
        measure=_throughout,
        needs_gain=True,
    ),
    *(_keeps(form) for form in (TEXT, RELEASED, CHOSEN)),
    _improves(TEXT, 0.1),
    *(_improves(form, 0.4) for form in (TEXT, RELEASED, CHOSEN)),
    Claim(
        "A3e",
        "alpharl",
        "Later states are predicted with an error below 5 %.",
        f"{ALPHARL}, introduction; the paper does not define the error",
        "1 − |accuracy(AlphaRL at 40 %) / accuracy(full) − 1|; controls: the checkpoint it starts "
        "from, and the rank-1 part of its update, rescaled; null: the higher of them",
        Threshold(">", 0.95, about="1 − error"),
        needs=_prediction_needed(TEXT, 0.4),
        measure=accuracies("alpharl", "real", contrast=CLOSENESS, control=CONTROLS),
        windows=(0.4,),
        printed=Quoted(1 - _ERROR.value / 100, _ERROR.origin),
        needs_gain=True,
        needs_level=True,
        null_counts=True,
        bounds=AT_MOST_ONE,
    ),
    Claim(
        "A4",
        "alpharl",
        "Of single directions of the final update, the first alone carries the gain; the others "
        "do little.",
        f"{ALPHARL}, figures 4a and 11",
        "accuracy(first direction alone) − best accuracy of any other scored direction alone",
        POSITIVE,
        needs="needs samples of the second and further directions alone",
        measure=_first_beside_others,
        needs_gain=True,
    ),
    Claim(
        "A5",
        "alpharl",
        "Accuracy has levelled off at λ = 0.7 of the rescaled rank-1 update: all of it brings no "
        "more.",
        f"{ALPHARL}, figure 4b",
        "accuracy(λ = 0.7) − accuracy(λ = 1)",
        GOOD_ENOUGH,
        needs="needs samples of the rank-1 update scaled by 0.7",
        measure=accuracies("rank1_scaled_0_7", "rank1_recovery"),
        needs_gain=True,
    ),
    Claim(
        "A7",
        "alpharl",
        "Rank-1 updates of the matrices with the highest R² carry more accuracy than those with "
        "the lowest.",
        f"{ALPHARL}, figure 6c",
        "accuracy(window 1 of 7, highest R²) − accuracy(window 7)",
        POSITIVE,
        needs="needs samples of the rank-1 update of the matrices in windows 1 and 7 of R²",
        measure=accuracies("rank1_r2_window_1", "rank1_r2_window_7"),
        needs_gain=True,
    ),
    Claim(
        "A8",
        "alpharl",
        "After fine-tuning, distillation or preference training, unlike RL, the rank-1 update "
        "does not recover 99 % of the accuracy.",
        f"{ALPHARL}, table 8 and figure 3a",
        "1 − accuracy(rank-1) / accuracy(full), runs of the contrast methods only",
        Threshold(">", 0.01, about="share of the accuracy lost"),
        needs="needs a run on a published pair of a contrast method",
        measure=_not_recovered,
        printed=Quoted(1 - _table8("rank1", "dpo").value, "table 8, DPO, the highest of four"),
        fits=by_other_means,
    ),
]
