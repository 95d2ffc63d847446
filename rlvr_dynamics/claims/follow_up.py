"""Claims of other papers about the same updates, as far as these runs can test them."""

import math

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.behaviour import LACKING
from rlvr_dynamics.claims.claim import (
    AT_MOST_ONE,
    GOOD_ENOUGH,
    POSITIVE,
    SHARE,
    Claim,
    Measured,
    Threshold,
)
from rlvr_dynamics.claims.measures import (
    accuracies,
    compare,
    forecast,
    over_tensors,
    table,
    with_quartiles,
)
from rlvr_dynamics.claims.quoted import logits_gap, quote
from rlvr_dynamics.claims.relex import PAPER_WINDOWS
from rlvr_dynamics.results.formatting import interval, number, percent
from rlvr_dynamics.results.frames import equal, has, known, median, on_clock, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import models
from rlvr_dynamics.schema.model_id import LOGITS, ModelId
from rlvr_dynamics.statistics.intervals import Interval

WINDOW_NEEDED = "needs samples of its prediction of the final step from 15 or 20 %"
BFLOAT16 = "bfloat16_changed_share"
SIDES = ("base_cosine_left", "base_cosine_right")


def _kept_weights(results: Results, observe: int | None) -> Measured | None:
    """Measure the share of all weights that stay, by the paper's rule where that was measured."""
    rows = table("norms", last=True)(results, observe)
    by_rule = rows is not None and has(rows, BFLOAT16)
    column = BFLOAT16 if by_rule else "changed_share"
    if rows is None or not has(rows, column):
        return None
    if not by_rule and results.dtype != "bfloat16":
        return None  # float32 says nothing about what bfloat16 hides
    rows = known(rows, column)
    sizes = _sizes(results, rows)

    def kept(name: str) -> Interval:
        return with_quartiles(1 - values(rows, name), weights=sizes)

    read = f"in {results.dtype or 'an unknown dtype'}"
    facts = [f"{read}, as stored and without the tolerance, which was not measured"]
    if by_rule:
        facts = [
            f"{percent(kept('changed_share').value)} equal the base's {read}",
            f"{percent(kept('bfloat16_differing_share').value)} equal it in bfloat16, without the "
            "tolerance",
        ]
    if sizes is None:
        facts.append("mean over tensors, whose sizes are not on record")
    return Measured(kept(column), len(rows), "tensors", spread=True).noted(*facts)


def _sizes(results: Results, rows: pd.DataFrame) -> np.ndarray | None:
    """Return the elements of each row's tensor; None where one is unknown."""
    there = results.tables["trajectory_svd"]
    if there is None or "d" not in there:
        return None
    found = dict(zip(there["tensor"], values(there, "d"), strict=True))
    sizes = np.array([found.get(name, math.nan) for name in rows["tensor"]])
    return None if np.isnan(sizes).any() else sizes


def _used_rank(results: Results, observe: int | None) -> pd.DataFrame | None:
    rows = table("update_rank", last=True)(results, observe)
    if rows is None or not has(rows, "numerical_rank", "full_rank"):
        return None
    return rows.assign(used=values(rows, "numerical_rank") / values(rows, "full_rank"))


def _away_from_principal(results: Results, observe: int | None) -> pd.DataFrame | None:
    rows = table("update_rank", last=True)(results, observe)
    if rows is None or not has(rows, *SIDES, *(f"{side}_null" for side in SIDES)):
        return None
    random = np.mean([values(rows, f"{side}_null") for side in SIDES], axis=0)
    return rows.assign(away=random - np.mean([values(rows, side) for side in SIDES], axis=0))


def _token_lines(results: Results, _observe: int | None) -> Measured | None:
    """R² of the tokens that the paper's selection keeps, beside noise that is selected alike."""
    lines = results.behaviour("token_lines")
    if lines is None:
        return None
    by_selection = {
        bool(row["selected"]): row
        for row in equal(lines, writer="base", clock="step").to_dict("records")
    }
    kept, every = by_selection[True], by_selection[False]
    if math.isnan(kept["r2"]):
        return None
    known_null = not math.isnan(kept["optimizer_null_r2"])
    null = "optimizer_null" if known_null else "null"
    noise = "the optimizer's noise" if known_null else "a random walk"
    span = interval(kept[f"{null}_r2_low"], kept[f"{null}_r2_high"])
    value = Interval(kept["r2"], kept["r2_low"], kept["r2_high"])
    return Measured(value, int(kept["tokens"]), "tokens", kept[f"{null}_r2"]).noted(
        f"the selection keeps {percent(kept['kept_share'])} of the tokens",
        f"null: {noise} {span}; a random walk {number(kept['null_r2'])}",
        f"all tokens: {number(every['r2'])}, nulls {number(every['optimizer_null_r2'])} and "
        f"{number(every['null_r2'])}",
        f"held out: {number(kept['heldout_r2'])}",
    )


def _logits_beyond(results: Results, _observe: int | None) -> Measured | None:
    """Logits of base and last checkpoint, followed past the end, against that checkpoint."""
    final = results.final_step
    if final is None:
        return None
    beyond = [
        model for model in models(results) if (model.method, model.observe) == (LOGITS, final)
    ]
    if not beyond:
        return None
    farthest = max(beyond, key=lambda model: model.step)
    found = compare(results, [farthest, ModelId.checkpoint(final)])
    return found and found.noted(f"to step {farthest.step}, α = {farthest.step / final:g}")


def _worse_than_the_mean(results: Results, _observe: int | None) -> pd.DataFrame | None:
    lines = results.tables["linearity"]
    if lines is None or not has(lines, "heldout_r2"):
        return None
    rows = known(on_clock(lines), "heldout_r2")
    return rows.assign(below=(values(rows, "heldout_r2") < 0).astype(float))


def _with_walks(_results: Results, rows: pd.DataFrame) -> str:
    return (
        f"median held-out R² {number(median(rows, 'heldout_r2'))}, of random walks "
        f"{number(median(rows, 'heldout_r2_null_mean'))}"
    )


CLAIMS = [
    Claim(
        "F1",
        "follow_up",
        "RL changes at most 30 % of the weights (5 to 30 % in bf16).",
        "arXiv 2505.11711",
        "share of all weights that differ from the base's by at most 1e-5 in bfloat16; between "
        "the quartiles over tensors lies half of the weights",
        Threshold(">", 0.7, about="share of the weights left alone"),
        needs="needs the measure stage",
        measure=_kept_weights,
        bounds=SHARE,
    ),
    Claim(
        "F2",
        "follow_up",
        "The update has nearly full rank.",
        "arXiv 2505.11711; the bar is ours",
        "mean over matrices of the numerical rank of ΔW / min(m, n) at the final step",
        Threshold(">", 0.9, about="share of the full rank"),
        needs="needs the measure stage",
        measure=over_tensors(_used_rank, "used"),
        bounds=SHARE,
    ),
    Claim(
        "F3",
        "follow_up",
        "The update's leading directions lie no closer to the base's principal ones than random "
        "ones do.",
        "arXiv 2511.08567",
        "mean over matrices of (cosine between random subspaces − largest principal cosine of "
        "update and base), left and right averaged",
        Threshold(">", 0, about="difference of cosines"),
        needs="needs the measure stage",
        measure=over_tensors(_away_from_principal, "away"),
    ),
    Claim(
        "F4",
        "follow_up",
        "A line through the base and one early checkpoint predicts a model as accurate as the "
        "real one.",
        "arXiv 2601.04537",
        "accuracy(two-point line) − accuracy(real final), in domain",
        GOOD_ENOUGH,
        needs=WINDOW_NEEDED,
        measure=accuracies("weight_extrapolation", "real"),
        windows=PAPER_WINDOWS,
        needs_gain=True,
        needs_level=True,
    ),
    Claim(
        "F4p",
        "ours",
        "The same line, drawn against the length of the path, predicts a model as accurate as the "
        "real one.",
        "ours, of arXiv 2601.04537",
        "accuracy(two-point line on the path clock) − accuracy(real final), in domain",
        GOOD_ENOUGH,
        needs=WINDOW_NEEDED,
        measure=accuracies("weight_extrapolation_path", "real"),
        windows=PAPER_WINDOWS,
        needs_gain=True,
        needs_level=True,
    ),
    Claim(
        "F5",
        "follow_up",
        "ExPO is more accurate than the checkpoint it extrapolates from.",
        "arXiv 2404.16792",
        "accuracy(ExPO, its factor chosen on validation problems) − accuracy(last observed)",
        POSITIVE,
        needs=WINDOW_NEEDED,
        measure=accuracies("expo", "hold_last"),
        windows=PAPER_WINDOWS,
        needs_gain=True,
    ),
    Claim(
        "F6",
        "follow_up",
        "The first update alone, scaled, is as accurate as the real final model.",
        "an independent replication of RELEX (Baseten), which chose the factor on the test set",
        "accuracy(first update, scaled) − accuracy(real final), in domain",
        GOOD_ENOUGH,
        needs=WINDOW_NEEDED,
        measure=accuracies("first_update", "real"),
        windows=PAPER_WINDOWS,
        needs_gain=True,
        needs_level=True,
    ),
    Claim(
        "F7",
        "follow_up",
        "The line of the last two observed steps forecasts the final weights better than the "
        "last observed checkpoint.",
        "an independent study of short horizons on Qwen2.5-1.5B (comm-eff)",
        "median over tensors of skill = 1 − SSE(forecast) / SSE(hold the last checkpoint)",
        Threshold(">", 0, about="skill"),
        needs="needs a forecast by momentum of the final step from 15 or 20 %",
        measure=over_tensors(forecast("momentum"), "skill", statistic=np.median, unit="tensors"),
        windows=PAPER_WINDOWS,
        bounds=AT_MOST_ONE,
    ),
    Claim(
        "F8",
        "follow_up",
        "The log-probability of a token is linear in the training step.",
        "arXiv 2601.04537, figure 2 (median R² of tokens that changed by over 0.2 nats); the bar "
        "is the R² above which it calls a weight linear",
        "median R² of log p against the step, over tokens of the base's greedy answers with "
        "|change| > 0.2; null: noise, selected in the same way",
        Threshold(">", 0.7, about="R²"),
        needs=LACKING,
        measure=_token_lines,
        printed=quote(
            "figure 2, answers sampled at T = 0.6",
            paper="rlvr_linearity",
            table="figure2",
            benchmark="RL",
            metric="token_logprob_r2_median",
        ),
        null_counts=True,
        control_counts=True,
        bounds=SHARE,
    ),
    Claim(
        "F9",
        "follow_up",
        "A line does not forecast the updates: its R² beyond what it was fitted to is below 0 for "
        "more than half of them.",
        "arXiv 2604.11446 (LoRA; fitted to 10 of 15 checkpoints, judged on the last 5)",
        "share of tensors with a held-out R² below 0: c₁ against the step, fitted to the first "
        "half of all checkpoints, judged on the second",
        Threshold(">", 0.5, about="share of the tensors"),
        needs="needs the measure stage",
        measure=over_tensors(_worse_than_the_mean, "below", unit="tensors", facts=_with_walks),
        bounds=SHARE,
    ),
    Claim(
        "F10",
        "follow_up",
        "Logits extrapolated past the end of training are more accurate than the trained model.",
        "arXiv 2601.04537, table 1 (from steps 200 and 1400 to 2000, so α = 1.5)",
        "accuracy(logits of the base and the last checkpoint, extrapolated) − accuracy(last "
        "checkpoint), paired by question",
        POSITIVE,
        needs="needs scoring.extrapolated_logits=[{window: 1.0, target: 1.5}] (small models)",
        measure=_logits_beyond,
        printed=logits_gap(),
        needs_level=True,
        needs_gain=True,
    ),
]
