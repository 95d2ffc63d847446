"""AlphaRL's claims about the leading left vectors (arXiv 2510.00553), against trend and noise."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from rlvr_dynamics.checkpoints.names import ATTENTION_PROJECTIONS, MLP_PROJECTIONS
from rlvr_dynamics.claims.claim import ALPHARL, AT_MOST_ONE, SHARE, Claim, Measured, Threshold
from rlvr_dynamics.claims.measures import with_quartiles
from rlvr_dynamics.claims.quoted import quote
from rlvr_dynamics.results.formatting import interval, number
from rlvr_dynamics.results.frames import (
    accuracy_source,
    has,
    known,
    mean,
    median,
    numbers,
    select,
    values,
)
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval

LEFT_VECTORS_NEEDED = "needs the left vectors and accuracies of at least four checkpoints"
Z95 = 1.959964
LINEAR = 0.9  # R² that counts as linear; the paper's average is 0.914


def _left_vectors(results: Results, _observe: int | None) -> Measured | None:
    """R² corrected for the noise of y(t), or as it is where that noise is unknown."""
    found = _fits(results)
    if found is None:
        return None
    ceiling = values(found, "r2_ceiling") if has(found, "r2_ceiling") else None
    above, compared = _beyond_nulls(found, "r2", ("r2_null_high", "r2_walk_high"), ceiling)
    permuted, walk = mean(found, "r2_null_high"), mean(found, "r2_walk_mean")
    null = float(np.fmax(permuted, walk))
    return _without_noise(found, "r2", null, (above, compared)).noted(
        f"{above} of {compared} matrices lie above both nulls' 97.5 % quantiles",
        f"as measured: R² {number(mean(found, 'r2'))}, permuted accuracies {number(permuted)} "
        f"(97.5 %), random walks {number(walk)} (mean); leave-one-out R² "
        f"{number(median(found, 'loo_r2'))} (median)",
        *_noise_facts(found),
        _beside_the_step(found),
    )


def _left_out(results: Results, _observe: int | None) -> Measured | None:
    """Leave-one-out R², corrected likewise."""
    found = _fits(results)
    if found is None or not has(found, "loo_r2"):
        return None
    measured = _without_noise(known(found, "loo_r2"), "loo_r2")
    return measured.noted(f"as measured: {number(mean(found, 'loo_r2'))}", *_noise_facts(found))


def _without_noise(
    found: pd.DataFrame,
    score: str,
    null: float = math.nan,
    above: tuple[int, int] | None = None,
) -> Measured:
    """Return the mean of a corrected score, with the interval that the noise of y(t) gives it.

    The matrices are all there are, and share y(t). Uncertain are, for all of them alike, the R² of
    a noisy y(t) and the variance of that noise; both add up as independent errors. Where the noise
    is unknown the score is as measured, with the matrices' spread.
    """
    if not has(found, "r2_ceiling"):
        value = with_quartiles(values(found, score))
        return Measured(value, len(found), "matrices", null, above, spread=True)
    if not has(found, f"{score}_corrected"):
        return Measured(UNDEFINED, len(found), "matrices")
    kept = known(found, f"{score}_corrected")
    middle, low, high = (mean(kept, f"r2_ceiling{end}") for end in ("", "_low", "_high"))
    value = mean(kept, f"{score}_corrected")
    # A smaller ceiling makes more of the score, in either direction.
    ends = [
        value * middle / end if end > 0.0 else math.copysign(math.inf, value) for end in (low, high)
    ]
    own = Z95 * mean(kept, "r2_error") / middle
    low, high = (
        value + sign * math.hypot(end - value, own)
        for sign, end in zip((-1, 1), sorted([*ends]), strict=True)
    )
    return Measured(
        Interval(value, low, float(np.minimum(1.0, high))),
        len(kept),
        "matrices",
        min(1.0, null / middle) if not math.isnan(null) else null,
        above,
    )


def _beyond_the_step(results: Results, _observe: int | None) -> Measured | None:
    found = _fits(results)
    if found is None or not has(found, "partial_r2"):
        return None
    kept = known(found, "partial_r2")
    names = ("partial_r2_null_high", "partial_r2_walk_high")
    ceiling = None
    if has(kept, "r2_ceiling", "step_r2"):  # the noise is all of what the step number leaves
        with np.errstate(divide="ignore", invalid="ignore"):
            ceiling = 1 - (1 - values(kept, "r2_ceiling")) / (1 - values(kept, "step_r2"))
    above, compared = _beyond_nulls(kept, "partial_r2", names, ceiling)
    value = with_quartiles(values(kept, "partial_r2"))
    null = float(np.fmax(mean(kept, names[0]), mean(kept, "partial_r2_walk_mean")))
    return Measured(value, len(kept), "matrices", null, (above, compared), spread=True).noted(
        f"{above} of {compared} matrices lie above both nulls' 97.5 % quantiles",
        f"{len(found) - len(kept)} left out: u1 or y(t) is a line in the step number"
        if len(kept) < len(found)
        else "",
        _beside_the_step(found),
        accuracy_source(found).rstrip("."),
    )


def _fits(results: Results) -> pd.DataFrame | None:
    found = results.tables["pls"]
    return known(found, "r2") if found is not None and has(found, "r2") else None


def _beyond_nulls(
    found: pd.DataFrame, score: str, ends: Sequence[str], ceiling: np.ndarray | None
) -> tuple[int, int]:
    """Return how many matrices lie above all of their nulls' ends, and how many could.

    Where the noise of y(t) keeps even a perfect relation (`ceiling`, one per row) below the nulls,
    a matrix says nothing and is not counted.
    """
    if not all(has(found, end) for end in ends):
        return 0, 0
    nulls = found[list(ends)].to_numpy(float)
    counted = np.isfinite(nulls).all(axis=1)
    if ceiling is not None:
        counted &= ceiling > nulls.max(axis=1)
    above = (values(found, score)[:, None] > nulls).all(axis=1) & counted
    return int(above.sum()), int(counted.sum())


def _noise_alone(found: pd.DataFrame) -> int:
    """Return in how many matrices the accuracies vary no more than their noise does."""
    return int((numbers(found, "r2_ceiling") <= 0.0).sum())


def _noise_facts(found: pd.DataFrame) -> tuple[str, ...]:
    """Say where y(t) comes from, how large its noise is and what R² that allows."""
    source = accuracy_source(found).rstrip(".")
    if not has(found, "r2_ceiling"):
        return source, "the noise of y(t) is unknown: R² is not corrected for it"
    ceiling = mean(found, "r2_ceiling")
    sources = sorted({str(name) for name in known(found, "noise_source")["noise_source"]})
    spread = interval(mean(found, "r2_ceiling_low"), mean(found, "r2_ceiling_high"))
    alone = _noise_alone(found)
    return (
        source,
        f"noise of y(t) {number(100 * mean(found, 'noise_sd'), 1)} points ({', '.join(sources)}), "
        f"which leaves R² at most {number(ceiling)} {spread} and is the source of the interval"
        + (f": below {LINEAR:g} before the correction" if ceiling < LINEAR else ""),
        f"left out: {alone} matrices, where y(t) varies no more than its noise" if alone else "",
    )


def _beside_the_step(found: pd.DataFrame) -> str:
    if not has(found, "step_r2"):
        return ""
    return (
        f"y(t) on the step number alone: R² {number(mean(found, 'step_r2'))}, leave-one-out "
        f"{number(mean(found, 'step_loo_r2'))}; partial R² of u1 given it "
        f"{number(mean(found, 'partial_r2'))}"
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


CLAIMS = [
    Claim(
        "A2",
        "alpharl",
        "The leading left vector of the update moves linearly with accuracy over training, more "
        "than chance and a mere trend explain.",
        f"{ALPHARL}, section on linear dynamics (average over modules 0.914)",
        "mean over matrices of the in-sample R² of accuracy on one partial-least-squares component "
        "of u1, corrected for the noise of the accuracies; null, likewise: the higher of permuted "
        "accuracies (their 97.5 % quantiles) and random walks with that noise (their means)",
        Threshold(
            ">", LINEAR, about="R²", also="above both nulls' 97.5 % quantiles in most matrices"
        ),
        needs=LEFT_VECTORS_NEEDED,
        measure=_left_vectors,
        printed=quote("introduction", paper="alpharl", table="text", metric="pls_r2_mean"),
        null_counts=True,
        control_counts=True,
        bounds=AT_MOST_ONE,
    ),
    Claim(
        "A2s",
        "ours",
        "The leading left vector explains accuracy beyond the step number.",
        f"ours; {ALPHARL} shows no such control",
        "mean over matrices of the partial R² of u1 given the step number; null: the higher of "
        "permuted residuals (their 97.5 % quantiles) and random walks with the noise of the "
        "accuracies (their means)",
        Threshold(
            ">", 0, about="partial R²", also="above both nulls' 97.5 % quantiles in most matrices"
        ),
        needs=LEFT_VECTORS_NEEDED,
        measure=_beyond_the_step,
        control_counts=True,
        bounds=SHARE,
    ),
    Claim(
        "A2h",
        "ours",
        "The leading left vector predicts the accuracy of a checkpoint that the fit has not seen.",
        f"ours; the stricter reading of {ALPHARL}",
        "mean over matrices of the leave-one-out R² of the same regression, corrected likewise",
        Threshold(">", LINEAR, about="R²"),
        needs=LEFT_VECTORS_NEEDED,
        measure=_left_out,
        control_counts=True,
        bounds=AT_MOST_ONE,
    ),
    Claim(
        "A2m",
        "alpharl",
        "The MLP's matrices follow accuracy more linearly than those of attention.",
        f"{ALPHARL}, figure 15",
        "mean R² (partial least squares) over MLP matrices − mean over attention matrices",
        Threshold(">", 0, about="difference of R²"),
        needs=LEFT_VECTORS_NEEDED,
        measure=_mlp_above_attention,
        control_counts=True,
    ),
]
