"""Claims about the trajectory of the weights and its extrapolation (arXiv 2605.21468)."""

import math

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.update_claims import NO_GAIN, ONE_RUN, learned, protocol_note
from rlvr_dynamics.claims.verdicts import Claim, both, verdict_above, verdict_in_most
from rlvr_dynamics.results.formatting import general, number, percent, share_of_training
from rlvr_dynamics.results.frames import (
    count_above,
    equal,
    has,
    known,
    mean,
    median,
    numbers,
    select,
    values,
)
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import POINTS, PairedAccuracy, paired_accuracy
from rlvr_dynamics.statistics.bootstrap import bootstrap, wilson

PAPER = "RELEX, arXiv 2605.21468"
MARGIN_POINTS = -2.0
SPLIT_NAMES = {"in_domain": "in domain", "out_of_domain": "out of domain, mean of benchmarks"}


def one_component(results: Results) -> Claim:
    """B1: component 1 dominates the trajectory, more than a random walk's does."""
    claim = Claim(
        "B1",
        "One component carries most of a tensor's trajectory, more than in a random walk.",
        f"{PAPER}, rank analysis (81.4 % inside the leading five components)",
        "mean over tensors of component 1's explained variance; null: random walk with the same "
        "step norms",
        "≥ 0.814, and above the null's 97.5 % quantile in most tensors",
    )
    table = results.tables["trajectory_svd"]
    if table is None:
        return claim.noted("needs the measure stage")
    first = known(equal(table, index=1), "explained_variance")
    value = bootstrap(values(first, "explained_variance"), np.mean, seed=results.seed)
    compared = known(first, "null_high")
    above = count_above(compared, "explained_variance", "null_high")
    row = claim.measured(
        value,
        n=len(first),
        n_unit="tensors",
        null=mean(first, "null_mean"),
        verdict=both(verdict_above(value, 0.814), verdict_in_most(above, len(compared))),
    )
    return row.noted(
        f"{above} of {len(compared)} tensors lie above their null's 97.5 % quantile",
        f"inside the leading five components: {_share_in_first_five(table)}",
        ONE_RUN,
    )


def _share_in_first_five(table: pd.DataFrame) -> str:
    leading = known(select(table, table["index"] <= 5), "sigma")
    if not len(equal(leading, index=5)):
        return number(math.nan)
    variances = leading.pivot(index="tensor", columns="index", values="sigma").to_numpy(float) ** 2
    whole = np.nansum(variances, axis=1)
    moved = whole > 0
    return number(np.mean(variances[moved, 0] / whole[moved]), 3)


def linear_in_sample(results: Results) -> Claim:
    """B2: the coefficient of component 1 is a straight line of the step number."""
    claim = Claim(
        "B2",
        "The coefficient of component 1 grows linearly with the step: R² > 0.98 for most tensors.",
        f"{PAPER}, linearity analysis",
        "share of tensors with in-sample R² > 0.98; null: the same share among their random "
        "walks' means",
        "> 0.5",
    )
    return _linear(results, claim, "r2", "r2_null")


def linear_held_out(results: Results) -> Claim:
    """B2h: a line through the first half of the steps predicts the second half."""
    claim = Claim(
        "B2h",
        "A line fitted to the first half of the steps predicts component 1's coefficient in the "
        "second half: R² > 0.98 for most tensors.",
        f"ours; the stricter reading of {PAPER}",
        "share of tensors with held-out R² > 0.98; null: the same share among their random "
        "walks' means",
        "> 0.5",
    )
    return _linear(results, claim, "heldout_r2", "heldout_r2_null")


def _linear(results: Results, claim: Claim, column: str, null: str) -> Claim:
    table = results.tables["linearity"]
    if table is None or not len(known(table, column)):
        return claim.noted("needs the measure stage")
    table = known(table, column)
    found, nulls = values(table, column), numbers(table, f"{null}_mean")
    value = wilson(int((found > 0.98).sum()), len(found))
    row = claim.measured(
        value,
        n=len(table),
        n_unit="tensors",
        null=float((nulls > 0.98).mean()) if len(nulls) else math.nan,
        verdict=verdict_above(value, 0.5),
    ).against_null(0.5)
    if len(numbers(table, f"{null}_high")):
        compared = known(table, f"{null}_high")
        above = count_above(compared, column, f"{null}_high")
        if above <= len(compared) / 2:
            row = row.held_back("most tensors lie inside the null's band")
        row = row.noted(f"{above} of {len(compared)} tensors lie above their null's band")
    return row.noted(
        f"median R² {general(np.median(found), 4)}, null's mean "
        f"{general(mean(table, f'{null}_mean'), 3)}",
        ONE_RUN,
    )


def early_window_suffices(results: Results, *, id: str, share: float, split: str) -> Claim:
    """B3: RELEX from the first steps reaches the real final accuracy."""
    ours = "" if math.isclose(share, 0.15) else "ours, a longer window; after "
    claim = Claim(
        id,
        f"The first {_percent(share)} of the steps suffice: RELEX predicts a final model as "
        f"accurate as the real one ({SPLIT_NAMES[split]}).",
        f"{ours}{PAPER}, main result",
        "accuracy(RELEX) − accuracy(real final), paired by question; control: the last observed "
        "checkpoint, held",
        f"> {number(MARGIN_POINTS, 0)} points (non-inferiority margin)",
    )
    final, observe = results.final_step, results.window_near(share)
    models = [f"relex__observe_{observe}__step_{final}", f"step_{final}"]
    paired = _pair(results, models, split) if observe else None
    if paired is None or observe is None or final is None:
        return claim.noted(f"needs samples of a RELEX prediction from the first {_percent(share)}")
    control = _pair(results, [f"step_{observe}", f"step_{final}"], split)
    value = paired.compare(POINTS)
    row = claim.measured(
        value,
        n=paired.questions,
        n_unit=_question_unit(paired),
        null=control.compare(POINTS).value if control else math.nan,
        verdict=verdict_above(value, MARGIN_POINTS),
    ).against_null(MARGIN_POINTS)
    if split == "in_domain" and not learned(results):
        row = row.held_back(NO_GAIN)
    return row.noted(
        f"step {observe} of {final} ({share_of_training(observe, final)}): "
        f"{percent(paired.means[0])} beside {percent(paired.means[1])}",
        protocol_note(results, models, split, POINTS),
    )


def beyond_the_end(results: Results, *, id: str, share: float) -> Claim:
    """B4: accuracy keeps growing when the line is followed past the end of training."""
    claim = Claim(
        id,
        f"Following the line past the end of training keeps improving (first {_percent(share)} "
        "observed, in domain).",
        f"{PAPER}, far extrapolation",
        "accuracy at the farthest target − accuracy at the final step, both predicted, paired by "
        "question",
        "> 0 points",
    )
    final, observe = results.final_step, results.window_near(share)
    scores = results.tables["scores"]
    if scores is None or final is None or observe is None:
        return claim.noted("needs scored RELEX predictions beyond the final step")
    targets = [
        step
        for step in values(equal(scores, method="relex", observe=observe), "step")
        if step > final
    ]
    if not targets:
        return claim.noted("needs scored RELEX predictions beyond the final step")
    far = int(max(targets))
    models = [f"relex__observe_{observe}__step_{step}" for step in (far, final)]
    paired = _pair(results, [*models, f"step_{final}"], "in_domain")
    if paired is None:
        return claim.noted("needs samples of the predictions")
    value = paired.compare(POINTS)
    row = claim.measured(
        value, n=paired.questions, n_unit="questions", verdict=verdict_above(value, 0)
    )
    if not learned(results):
        row = row.held_back(NO_GAIN)
    return row.noted(
        f"target step {far} of a training of {final}: {percent(paired.means[0])}; predicted for "
        f"step {final}: {percent(paired.means[1])}; real step {final}: {percent(paired.means[2])}",
        protocol_note(results, models, "in_domain", POINTS),
    )


def rank1_denoises(results: Results, *, id: str, share: float) -> Claim:
    """B5: projecting on component 1 first beats extrapolating every weight by its own line."""
    claim = Claim(
        id,
        f"Keeping only component 1 removes noise: RELEX beats a line per weight (first "
        f"{_percent(share)} observed, in domain).",
        f"{PAPER}, ablation",
        "accuracy(RELEX) − accuracy(per-weight line) at the final step, paired by question",
        "> 0 points",
    )
    final, observe = results.final_step, results.window_near(share)
    models = [f"{method}__observe_{observe}__step_{final}" for method in ("relex", "relex_raw")]
    paired = _pair(results, models, "in_domain") if observe else None
    if paired is None:
        return claim.noted("needs samples of the RELEX and the per-weight prediction")
    value = paired.compare(POINTS)
    return claim.measured(
        value, n=paired.questions, n_unit="questions", verdict=verdict_above(value, 0)
    ).noted(
        f"{percent(paired.means[0])} beside {percent(paired.means[1])}",
        protocol_note(results, models, "in_domain", POINTS),
    )


def beats_holding(results: Results, *, id: str, share: float) -> Claim:
    """B6: in weights, the forecast of the final step beats the last observed checkpoint."""
    claim = Claim(
        id,
        f"In the weights themselves, RELEX's forecast of the final step is closer than the last "
        f"observed checkpoint (first {_percent(share)} observed).",
        f"ours, of {PAPER}",
        "median over tensors of skill = 1 − SSE(forecast) / SSE(hold the last checkpoint)",
        "> 0",
    )
    table, final = results.tables["forecast"], results.final_step
    observe = results.window_near(share)
    if table is None:
        return claim.noted("needs forecasts of a step whose real checkpoint exists")
    chosen = known(equal(table, method="relex", observe=observe, step=final), "skill")
    if not len(chosen):
        return claim.noted(f"needs a RELEX forecast of the final step from {_percent(share)}")
    skill = values(chosen, "skill")
    value = bootstrap(skill, np.median, seed=results.seed)
    return claim.measured(
        value, n=len(skill), n_unit="tensors", null=0.0, verdict=verdict_above(value, 0)
    ).noted(f"positive in {int((skill > 0).sum())} of {len(skill)} tensors", ONE_RUN)


def points_better_than_holding(results: Results, *, id: str, share: float) -> Claim:
    """B7: the forecast's direction is nearer to the true one than the held checkpoint's."""
    claim = Claim(
        id,
        f"RELEX's predicted update points closer to the true one than the last observed update "
        f"does (first {_percent(share)} observed).",
        f"ours, of {PAPER}, appendix B (cosine 0.72 early, falling to 0.35)",
        "median over tensors of cosine(RELEX, true) − cosine(last observed, true), updates from "
        "the base, at the final step",
        "> 0",
    )
    forecast, norms = results.tables["forecast"], results.tables["norms"]
    observe, final = results.window_near(share), results.final_step
    if forecast is None or norms is None or not has(forecast, "cosine", "sse_hold"):
        return claim.noted("needs the measure stage, and forecasts of a step that exists")
    rows = known(equal(forecast, method="relex", observe=observe, step=final), "cosine")
    lengths = norms.pivot_table(index="tensor", columns="step", values="update_norm")
    if not len(rows) or not {observe, final} <= set(lengths.columns):
        return claim.noted(f"needs a RELEX forecast of the final step from {_percent(share)}")
    lengths = lengths.loc[rows["tensor"]]
    held, true = (np.asarray(lengths[step], dtype=np.float64) for step in (observe, final))
    # The law of cosines, from the distance between the two checkpoints.
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (held**2 + true**2 - values(rows, "sse_hold")) / (2 * held * true)
    rows = known(rows.assign(held=cosine), "held")
    gain = values(rows, "cosine") - values(rows, "held")
    value = bootstrap(gain, np.median, seed=results.seed)
    return claim.measured(
        value, n=len(gain), n_unit="tensors", null=0.0, verdict=verdict_above(value, 0)
    ).noted(
        f"median cosine {number(median(rows, 'cosine'))}, held {number(median(rows, 'held'))}",
        ONE_RUN,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _pair(results: Results, models: list[str], split: str) -> PairedAccuracy | None:
    return paired_accuracy(results, models, results.benchmarks(split))


def _question_unit(paired: PairedAccuracy) -> str:
    several = len(paired.benchmarks) > 1
    return f"questions in {len(paired.benchmarks)} benchmarks" if several else "questions"
