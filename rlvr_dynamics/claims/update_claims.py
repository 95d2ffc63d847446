"""Claims about learning and about the update of one step (arXiv 2510.00553)."""

import math

import numpy as np

from rlvr_dynamics.claims.verdicts import HOLDS, Claim, both, verdict_above, verdict_in_most
from rlvr_dynamics.results.formatting import interval, number, percent
from rlvr_dynamics.results.frames import accuracy_source, has, known, mean, median, values
from rlvr_dynamics.results.methods import USES_FUTURE
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import POINTS, paired_accuracy
from rlvr_dynamics.statistics.bootstrap import bootstrap
from rlvr_dynamics.statistics.paired import GAIN, RATIO, Contrast

PAPER = "Predictability of RL dynamics, arXiv 2510.00553"
ONE_RUN = "tensors of one run are not independent runs"
NO_GAIN = "RL did not demonstrably lift the accuracy, so there is no gain to recover"


def protocol_note(results: Results, models: list[str], split: str, contrast: Contrast) -> str:
    """Which protocol a claim was decided on, and what the other one gives."""
    benchmarks = results.benchmarks(split)
    used = paired_accuracy(results, models, benchmarks)
    if used is None:
        return ""
    note = f"{used.protocol} answers"
    if used.protocol == "sampled":
        other = paired_accuracy(results, models, benchmarks, ("greedy",))
        if other is not None:
            value = other.compare(contrast)
            points = contrast is POINTS
            digits = 1 if points else 3
            shown = number(value.value, digits, signed=points)
            span = interval(value.low, value.high, digits, signed=points)
            note += f" (greedy: {shown} {span})"
    return note


def lifted(results: Results) -> Claim:
    """P0: the run learned something; without it no other claim about accuracy says anything."""
    claim = Claim(
        "P0",
        "RL lifted the in-domain accuracy.",
        "precondition of both papers",
        "accuracy of the final checkpoint minus base, paired by question",
        "> 0 points",
    )
    final = results.final_step
    models = [f"step_{final}", "base"]
    paired = paired_accuracy(results, models, results.benchmarks("in_domain"))
    if paired is None:
        return claim.noted("needs samples of the base and of the final checkpoint")
    value = paired.compare(POINTS)
    return claim.measured(
        value, n=paired.questions, n_unit="questions", verdict=verdict_above(value, 0)
    ).noted(
        f"{percent(paired.means[1])} to {percent(paired.means[0])}",
        protocol_note(results, models, "in_domain", POINTS),
    )


def learned(results: Results) -> bool:
    """Whether the precondition P0 holds."""
    if "learned" not in results.memo:
        results.memo["learned"] = lifted(results).verdict == HOLDS
    return results.memo["learned"]


def rank1_ratio(results: Results) -> Claim:
    """A1: the rank-1 update keeps over 99 % of the full model's accuracy."""
    claim = Claim(
        "A1",
        "The rank-1 part of the final update, rescaled, recovers over 99 % of the fully trained "
        "model's accuracy.",
        f"{PAPER}, introduction and section 2.2",
        "ratio accuracy(rank-1) / accuracy(full); control: a random update of the same norm",
        "> 0.99",
    )
    row = _recovery(results, claim, [f"step_{results.final_step}"], RATIO)
    base = paired_accuracy(
        results, ["base", f"step_{results.final_step}"], results.benchmarks("in_domain")
    )
    if base is None or row.n is None:
        return row
    return row.noted(f"the untrained base alone has {number(float(RATIO.value(base.means)), 3)}")


def rank1_gain(results: Results) -> Claim:
    """A1b: the same, of the gain over the base."""
    claim = Claim(
        "A1b",
        "The rank-1 part of the final update, rescaled, recovers over 99 % of what RL gained.",
        f"{PAPER}; normalised by the gain here, because a ratio of accuracies rewards the base",
        "(accuracy(rank-1) − base) / (full − base); control: a random update of the same norm",
        "> 0.99",
    )
    return _recovery(results, claim, [f"step_{results.final_step}", "base"], GAIN)


def _recovery(results: Results, claim: Claim, references: list[str], contrast: Contrast) -> Claim:
    final = results.final_step
    benchmarks = results.benchmarks("in_domain")
    models = [f"rank1_recovery__step_{final}", *references]
    paired = paired_accuracy(results, models, benchmarks)
    if paired is None:
        return claim.noted("needs samples of the rank-1 recovery of the final checkpoint")
    control = paired_accuracy(results, [f"random_update__step_{final}", *references], benchmarks)
    value = paired.compare(contrast)
    null = control.compare(contrast).value if control else math.nan
    row = claim.measured(
        value,
        n=paired.questions,
        n_unit="questions",
        null=null,
        verdict=verdict_above(value, 0.99),
    ).against_null(0.99)
    if not learned(results):
        of_gain = contrast is GAIN
        row = row.without_basis(NO_GAIN) if of_gain else row.held_back(NO_GAIN)
    return row.noted(protocol_note(results, models, "in_domain", contrast))


def left_vectors_follow_accuracy(results: Results) -> Claim:
    """A2: partial least squares of accuracy on the leading left vector, beside both nulls."""
    claim = Claim(
        "A2",
        "The leading left vector of the update moves linearly with accuracy over training, more "
        "than chance and a mere trend explain.",
        f"{PAPER}, section on linear dynamics (average over modules 0.914)",
        "mean over matrices of the in-sample R² of accuracy on one partial-least-squares component "
        "of u1; null: the higher of permuted accuracies (their 97.5 % quantiles) and random-walk "
        "accuracies (their means)",
        "> 0.9, and above both nulls' 97.5 % quantiles in most matrices",
    )
    table = results.tables["pls"]
    if table is None or not has(table, "r2"):
        return claim.noted("needs the left vectors and accuracies of at least four checkpoints")
    table = known(table, "r2")
    permuted, walk = mean(table, "r2_null_high"), mean(table, "r2_walk_mean")
    bounds = [name for name in ("r2_null_high", "r2_walk_high") if has(table, name)]
    compared = table.dropna(subset=bounds) if len(bounds) == 2 else table.head(0)
    above = int((values(compared, "r2")[:, None] > compared[bounds].to_numpy(float)).all(1).sum())
    value = bootstrap(values(table, "r2"), np.mean, seed=results.seed)
    row = claim.measured(
        value,
        n=len(table),
        n_unit="matrices",
        null=float(np.fmax(permuted, walk)),
        verdict=both(verdict_above(value, 0.9), verdict_in_most(above, len(compared))),
    ).against_null(0.9)
    return row.noted(
        f"{above} of {len(compared)} matrices lie above both nulls' 97.5 % quantiles",
        f"permuted accuracies reach {number(permuted)} (97.5 %), random walks {number(walk)} "
        f"(mean); leave-one-out R² {number(median(table, 'loo_r2'))} (median)",
        accuracy_source(table).rstrip("."),
        ONE_RUN,
    )


def early_prediction_keeps(results: Results) -> Claim:
    """A3: AlphaRL at 40 % of training keeps over 96 % of the final accuracy."""
    claim = Claim(
        "A3",
        "AlphaRL, applied at 40 % of training, keeps over 96 % of the final accuracy.",
        f"{PAPER}, headline result and table 1",
        "ratio accuracy(AlphaRL) / accuracy(full), in domain; control: the checkpoint it starts "
        "from",
        "> 0.96",
    )
    final, observe = results.final_step, results.window_near(0.4)
    benchmarks = results.benchmarks("in_domain")
    models = [f"alpharl__observe_{observe}__step_{final}", f"step_{final}"]
    paired = paired_accuracy(results, models, benchmarks) if observe else None
    if paired is None:
        return claim.noted("needs samples of an AlphaRL prediction of the final step from 40 %")
    control = paired_accuracy(results, [f"step_{observe}", f"step_{final}"], benchmarks)
    value = paired.compare(RATIO)
    row = claim.measured(
        value,
        n=paired.questions,
        n_unit="questions",
        null=control.compare(RATIO).value if control else math.nan,
        verdict=verdict_above(value, 0.96),
    ).against_null(0.96)
    if not learned(results):
        row = row.held_back(NO_GAIN)
    ahead = f"it {USES_FUTURE}" if "alpharl" in results.future_methods else ""
    return row.noted(ahead, protocol_note(results, models, "in_domain", RATIO))
