"""RELEX's claims about accuracy (arXiv 2605.21468)."""

from collections.abc import Sequence
from dataclasses import replace

from rlvr_dynamics.claims.claim import GOOD_ENOUGH, POSITIVE, RELEX, Among, Claim, Measured
from rlvr_dynamics.claims.measures import accuracies, compare
from rlvr_dynamics.claims.quoted import (
    NOT_PRINTED,
    OUT_OF_DOMAIN,
    Quoted,
    ablation_gap,
    baseline_gap,
    oracle_gap,
    relex_gap,
)
from rlvr_dynamics.results.formatting import percent, scientific
from rlvr_dynamics.results.frames import equal, values
from rlvr_dynamics.results.rivals import at_equal_cost
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import POINTS, paired_across
from rlvr_dynamics.schema.model_id import LOGITS, ModelId
from rlvr_dynamics.system.installation import as_typed_here

# Shares of the training that RELEX observes: the 1.5B and 4B models, and the 8B model.
PAPER_WINDOWS = (0.15, 0.2)
EARLY = "the first 15 to 20 % of the steps"
LONGER = "the first 30 % of the steps"
FAR_WINDOWS = (*PAPER_WINDOWS, 0.1)
BOTH_NEEDED = "needs samples of both predictions of the final step from 15 or 20 %"


def _beside_equal_cost(split: str) -> Among:
    """Compare RELEX with the real final model, and as many steps at a higher rate with it."""
    alone = accuracies("relex", "real", control="hold_last", split=split)

    def among(results: Results, observe: int | None, others: Sequence[Results]) -> Measured | None:
        found, final = alone(results, observe), results.final_step
        rival = at_equal_cost(results, observe or 0, others)
        if found is None or rival is None or final is None:
            return found
        models = [(rival, ModelId.checkpoint(observe or 0)), (results, ModelId.checkpoint(final))]
        paired = paired_across(models, results.benchmarks(split))
        return replace(found, rival=paired.compare(POINTS).value) if paired else found

    return among


def _against_equal_cost(
    results: Results, observe: int | None, others: Sequence[Results]
) -> Measured | None:
    """Compare RELEX with the best of the checkpoints that cost as many rollouts."""
    rival = at_equal_cost(results, observe or 0, others)
    if rival is None or observe is None or results.final_step is None:
        return None
    relex = ModelId("relex", observe, results.final_step)
    models = [(results, relex), (rival, ModelId.checkpoint(observe))]
    paired = paired_across(models, results.benchmarks("in_domain"))
    if paired is None:
        return None
    return Measured(paired.compare(POINTS), paired.questions, "questions").noted(
        " against ".join(percent(mean) for mean in paired.means),
        f"chosen rate {scientific(rival.config.algorithm.learning_rate or 0)}",
        f"{paired.protocol} answers",
    )


def _beyond_the_end(results: Results, observe: int | None) -> Measured | None:
    scores, final = results.tables["scores"], results.final_step
    if scores is None or final is None or observe is None:
        return None
    predicted = values(equal(scores, method="relex", observe=observe), "step")
    targets = [int(step) for step in predicted if step > final]
    if not targets:
        return None
    far = max(targets)
    models = [ModelId("relex", observe, step) for step in (far, final)]
    found = compare(results, [*models, ModelId.checkpoint(final)])
    return found and found.noted(f"RELEX at steps {far} and {final}, and the real step {final}")


def _early(
    id: str,
    statement: str,
    place: str,
    windows: tuple[float, ...],
    printed: Quoted = NOT_PRINTED,
    split: str = "in_domain",
) -> Claim:
    shares = " or ".join(f"{100 * share:.0f}" for share in windows)
    return Claim(
        id,
        "relex",
        statement,
        place,
        "accuracy(RELEX) − accuracy(real final), paired by question; control: the last observed "
        "checkpoint, held",
        GOOD_ENOUGH,
        needs=f"needs samples of a RELEX prediction of the final step from {shares} %",
        among=_beside_equal_cost(split),
        windows=windows,
        printed=printed,
        needs_gain=True,
        needs_level=True,
        null_counts=True,
    )


def _as_good(id: str, window: str, where: str, *settings, split: str = "in_domain") -> Claim:
    longer = "" if window == EARLY else "ours, a longer window; after "
    statement = f"RELEX from {window} is as accurate as the fully trained model, {where}."
    return _early(id, statement, f"{longer}{RELEX}, main result", *settings, split=split)


def _times(id: str, share: float) -> Claim:
    statement = (
        f"Extrapolating to {round(1 / share)} times the observed steps still matches the real "
        "model."
    )
    return _early(id, statement, f"{RELEX}, far extrapolation (10 to 20 times)", (share,))


def _farther(id: str, window: str, windows: tuple[float, ...]) -> Claim:
    return Claim(
        id,
        "relex",
        f"Following the line past the end of training keeps improving, in domain{window}.",
        f"{RELEX}, far extrapolation",
        "accuracy at the farthest target − accuracy at the final step, both predicted, paired by "
        "question",
        POSITIVE,
        needs="needs scored RELEX predictions beyond the final step",
        measure=_beyond_the_end,
        windows=windows,
        needs_gain=True,
        needs_level=True,
    )


def _denoises(
    id: str, window: str, windows: tuple[float, ...], printed: Quoted = NOT_PRINTED
) -> Claim:
    return Claim(
        id,
        "relex",
        f"Keeping only component 1 removes noise: RELEX beats a line per weight ({window}).",
        f"{RELEX}, ablation",
        "accuracy(RELEX) − accuracy(per-weight line) at the final step, paired by question",
        POSITIVE,
        needs="needs samples of the RELEX and the per-weight prediction",
        measure=accuracies("relex", "relex_raw"),
        windows=windows,
        printed=printed,
        needs_gain=True,
    )


def _ablation(id: str, other: str, what: str, printed: Quoted = NOT_PRINTED) -> Claim:
    return Claim(
        id,
        "relex",
        f"{what} brings no gain over rank 1 with a straight line.",
        f"{RELEX}, ablation",
        f"accuracy(RELEX) − accuracy({what[0].lower()}{what[1:]}), final step, same window",
        GOOD_ENOUGH,
        needs=BOTH_NEEDED,
        measure=accuracies("relex", other),
        windows=PAPER_WINDOWS,
        printed=printed,
        needs_gain=True,
    )


def _baseline(id: str, other: str, name: str, printed: Quoted | None = None) -> Claim:
    return Claim(
        id,
        "relex",
        f"RELEX is more accurate than {name} from the same window.",
        f"{RELEX}, baselines",
        f"accuracy(RELEX) − accuracy({name}) at the final step",
        POSITIVE,
        needs=BOTH_NEEDED,
        measure=accuracies("relex", other),
        windows=PAPER_WINDOWS,
        printed=printed or baseline_gap(other),
        needs_gain=True,
    )


_MATH = relex_gap(["math"], "main table, MATH")
_OUT = relex_gap(OUT_OF_DOMAIN, "main table, mean of five benchmarks")

CLAIMS = [
    _as_good("B3", EARLY, "in domain", PAPER_WINDOWS, _MATH),
    _as_good("B3o", EARLY, "out of domain", PAPER_WINDOWS, _OUT, split="out_of_domain"),
    _as_good("B3-30", LONGER, "in domain", (0.3,)),
    _as_good("B3o-30", LONGER, "out of domain", (0.3,), split="out_of_domain"),
    Claim(
        "B3r",
        "ours",
        f"RELEX from {EARLY} is more accurate than as many real steps at a higher learning rate, "
        "chosen on validation problems.",
        f"ours, a control of {RELEX} at equal rollouts",
        "accuracy(RELEX) − accuracy(real checkpoint of the window's last step, of the run at the "
        "rate above this one's that is best on validation problems), paired by question",
        POSITIVE,
        needs=as_typed_here(
            "needs runs of the same base and seed at higher learning rates, with validation "
            "scores: python -m experiments.study"
        ),
        among=_against_equal_cost,
        windows=PAPER_WINDOWS,
        needs_gain=True,
    ),
    _times("B3x10", 0.1),
    _times("B3x20", 0.05),
    _farther("B4", "", FAR_WINDOWS),
    _farther("B4-30", f", from {LONGER}", (0.3,)),
    _denoises("B5", EARLY, PAPER_WINDOWS, ablation_gap("raw_delta_linear")),
    _denoises("B5-30", LONGER, (0.3,)),
    _ablation("B8r5", "relex_rank5", "Rank 5", ablation_gap("relex_rank5_linear")),
    _ablation("B8r10", "relex_rank10", "Rank 10", ablation_gap("relex_rank10_linear")),
    _ablation("B8p", "relex_polynomial", "A polynomial", ablation_gap("relex_rank1_polynomial")),
    _ablation("B8s", "relex_sinusoid", "A sinusoid"),
    _ablation("B8n", "neural", "A neural network", ablation_gap("neural_net")),
    _baseline("B9w", "weight_extrapolation", "the two-point line"),
    _baseline("B9e", "expo", "ExPO"),
    _baseline("B9a", "alpharl", "AlphaRL"),
    _baseline("B9l", LOGITS, "extrapolated logits", NOT_PRINTED),
    Claim(
        "B10",
        "relex",
        "The real update, projected on component 1 of the whole trajectory, is as accurate as "
        "the real model.",
        f"{RELEX}, reconstruction",
        "accuracy(projection of the final step) − accuracy(real final); it uses the future",
        GOOD_ENOUGH,
        needs="needs samples of the trajectory's rank-1 reconstruction of the final step",
        measure=accuracies("trajectory_oracle", "real", control="random_update"),
        printed=oracle_gap(),
        needs_gain=True,
        null_counts=True,
    ),
]
