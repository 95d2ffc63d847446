"""The claims of RELEX (arXiv 2605.21468)."""

from functools import partial

from rlvr_dynamics.claims.measures import (
    GOOD_ENOUGH,
    MARGIN,
    POSITIVE,
    compare,
    compare_predictions,
)
from rlvr_dynamics.claims.over_runs import AT_MOST_ONE, SHARE, LedgerClaim, first_measured, reworded
from rlvr_dynamics.claims.quoted import (
    NOT_PRINTED,
    OUT_OF_DOMAIN,
    Quoted,
    ablation_gap,
    baseline_gap,
    oracle_gap,
    quote,
    relex_gap,
)
from rlvr_dynamics.claims.relex_weights import (
    EARLY,
    PAPER_WINDOWS,
    direction,
    forecasts,
    one_of_five,
    oracle_direction,
    overshoots,
    points_better,
)
from rlvr_dynamics.claims.trajectory_claims import (
    PAPER,
    beyond_the_end,
    early_window_suffices,
    linear_held_out,
    linear_in_sample,
    one_component,
    rank1_denoises,
)
from rlvr_dynamics.claims.verdicts import Claim
from rlvr_dynamics.results.run import Results

FAR_WINDOWS = (*PAPER_WINDOWS, 0.1, 0.3)


def early(results: Results, *, split: str) -> Claim:
    """B3: RELEX from the paper's window reaches the real final accuracy."""
    suffix, where = ("", "in domain") if split == "in_domain" else ("o", "out of domain")
    words = Claim(
        f"B3{suffix}",
        f"RELEX from {EARLY} is as accurate as the fully trained model, {where}.",
        f"{PAPER}, main result",
        "",
        "",
    )
    measure = partial(_early, split=split)
    return reworded(first_measured(measure, PAPER_WINDOWS, results), words)


def _early(results: Results, share: float, split: str = "in_domain") -> Claim:
    return early_window_suffices(results, id="B3", share=share, split=split)


def times(results: Results, *, share: float) -> Claim:
    """B3x: ten and twenty times beyond the window."""
    factor = round(1 / share)
    words = Claim(
        f"B3x{factor}",
        f"Extrapolating to {factor} times the observed steps still matches the real model.",
        f"{PAPER}, far extrapolation (10 to 20 times)",
        "",
        "",
    )
    return reworded(_early(results, share), words)


def farther(results: Results) -> Claim:
    """B4: accuracy keeps growing beyond the end of training."""
    words = Claim(
        "B4",
        "Following the line past the end of training keeps improving, in domain.",
        f"{PAPER}, far extrapolation",
        "",
        "",
    )

    def measure(run: Results, share: float) -> Claim:
        return beyond_the_end(run, id="B4", share=share)

    return reworded(first_measured(measure, FAR_WINDOWS, results), words)


def denoises(results: Results) -> Claim:
    """B5: rank 1 beats a line per weight."""
    words = Claim(
        "B5",
        f"Keeping only component 1 removes noise: RELEX beats a line per weight ({EARLY}).",
        f"{PAPER}, ablation",
        "",
        "",
    )

    def measure(run: Results, share: float) -> Claim:
        return rank1_denoises(run, id="B5", share=share)

    return reworded(first_measured(measure, PAPER_WINDOWS, results), words)


def no_gain_from(results: Results, *, id: str, other: str, what: str) -> Claim:
    """B8: neither a higher rank nor a curve does better than rank 1 and a line."""
    words = Claim(
        id,
        f"{what} brings no gain over rank 1 with a straight line.",
        f"{PAPER}, ablation",
        f"accuracy(RELEX) − accuracy({what[0].lower()}{what[1:]}), final step, same window",
        GOOD_ENOUGH,
        note="needs samples of both predictions of the final step from 15 or 20 %",
    )
    return compare_predictions(results, words, ["relex", other], PAPER_WINDOWS, threshold=MARGIN)


def beats(results: Results, *, id: str, other: str, name: str) -> Claim:
    """B9: RELEX beats the baselines."""
    words = Claim(
        id,
        f"RELEX is more accurate than {name} from the same window.",
        f"{PAPER}, baselines",
        f"accuracy(RELEX) − accuracy({name}) at the final step",
        POSITIVE,
        note="needs samples of both predictions of the final step from 15 or 20 %",
    )
    return compare_predictions(results, words, ["relex", other], PAPER_WINDOWS, threshold=0)


def logits(_results: Results) -> Claim:
    """B9l: the baseline that extrapolates outputs; none of our methods does."""
    return Claim(
        "B9l",
        "RELEX is more accurate than extrapolated logits.",
        f"{PAPER}, baselines",
        "accuracy(RELEX) − accuracy(logits extrapolation) at the final step",
        POSITIVE,
        note="no method here extrapolates logits",
    )


def oracle_accuracy(results: Results) -> Claim:
    """B10: the projection of the real update on component 1 is as accurate as the real model."""
    words = Claim(
        "B10",
        "The real update, projected on component 1 of the whole trajectory, is as accurate as "
        "the real model.",
        f"{PAPER}, reconstruction",
        "accuracy(projection of the final step) − accuracy(real final); it uses the future",
        GOOD_ENOUGH,
        note="needs samples of the trajectory's rank-1 reconstruction of the final step",
    )
    final = results.final_step
    models = [f"trajectory_oracle__step_{final}", f"step_{final}"]
    control = f"random_update__step_{final}"
    return compare(results, words, models, threshold=MARGIN, control=control)


def _geometry(method: str, metric: str) -> Quoted:
    return quote(
        "appendix B, last step", paper="relex", table="geometry", method=method, metric=metric
    )


_FIVE = quote(
    "rank analysis",
    scale=0.01,
    paper="relex",
    table="text",
    metric="component1_share_of_rank5_variance_pct",
)
_MATH = relex_gap(["math"], "main table, MATH")
_OUT = relex_gap(OUT_OF_DOMAIN, "main table, mean of five benchmarks")


def _ablation(id: str, other: str, what: str, printed: Quoted = NOT_PRINTED) -> LedgerClaim:
    measure = partial(no_gain_from, id=id, other=other, what=what)
    return LedgerClaim(measure, "relex", MARGIN, printed, needs_gain=True)


def _baseline(id: str, other: str, name: str) -> LedgerClaim:
    measure = partial(beats, id=id, other=other, name=name)
    return LedgerClaim(measure, "relex", 0, baseline_gap(other), needs_gain=True)


CLAIMS: list[LedgerClaim] = [
    LedgerClaim(one_component, "relex", 0.814, control_counts=True, bounds=SHARE),
    LedgerClaim(one_of_five, "relex", 0.814, _FIVE, control_counts=True, bounds=SHARE),
    LedgerClaim(linear_in_sample, "relex", 0.5, control_counts=True, bounds=SHARE),
    LedgerClaim(linear_held_out, "ours", 0.5, control_counts=True, bounds=SHARE),
    LedgerClaim(partial(early, split="in_domain"), "relex", MARGIN, _MATH, needs_gain=True),
    LedgerClaim(partial(early, split="out_of_domain"), "relex", MARGIN, _OUT, needs_gain=True),
    LedgerClaim(partial(times, share=0.1), "relex", MARGIN, needs_gain=True),
    LedgerClaim(partial(times, share=0.05), "relex", MARGIN, needs_gain=True),
    LedgerClaim(farther, "relex", 0, needs_gain=True),
    LedgerClaim(denoises, "relex", 0, ablation_gap("raw_delta_linear"), needs_gain=True),
    LedgerClaim(forecasts, "ours", 0, bounds=AT_MOST_ONE),
    LedgerClaim(points_better, "ours", 0),
    _ablation("B8r5", "relex_rank5", "Rank 5", ablation_gap("relex_rank5_linear")),
    _ablation("B8r10", "relex_rank10", "Rank 10", ablation_gap("relex_rank10_linear")),
    _ablation("B8p", "relex_polynomial", "A polynomial", ablation_gap("relex_rank1_polynomial")),
    _ablation("B8s", "relex_sinusoid", "A sinusoid"),
    _ablation("B8n", "neural", "A neural network", ablation_gap("neural_net")),
    _baseline("B9w", "weight_extrapolation", "the two-point line"),
    _baseline("B9e", "expo", "ExPO"),
    _baseline("B9a", "alpharl", "AlphaRL"),
    LedgerClaim(logits, "relex", 0, needs_gain=True),
    LedgerClaim(oracle_accuracy, "relex", MARGIN, oracle_gap(), needs_gain=True),
    LedgerClaim(
        direction,
        "relex",
        0.35,
        _geometry("relex", "direction_cosine_last"),
        bounds=AT_MOST_ONE,
    ),
    LedgerClaim(overshoots, "relex", 1, _geometry("relex", "magnitude_ratio_last")),
    LedgerClaim(
        oracle_direction,
        "relex",
        0.9,
        _geometry("oracle_rank1_reconstruction", "direction_cosine_last"),
        bounds=AT_MOST_ONE,
    ),
]
