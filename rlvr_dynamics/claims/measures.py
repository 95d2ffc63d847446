"""What several claims are measured with: paired accuracies, and means over tensors."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.claims.update_claims import NO_GAIN, learned, protocol_note
from rlvr_dynamics.claims.verdicts import Claim, verdict_above
from rlvr_dynamics.results.formatting import percent, share_of_training
from rlvr_dynamics.results.frames import has, known, numbers, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import POINTS, paired_accuracy
from rlvr_dynamics.statistics.bootstrap import bootstrap
from rlvr_dynamics.statistics.paired import Contrast

MARGIN = -2.0  # points that a stand-in may be worse and still count as good as the real thing
GOOD_ENOUGH = "> −2 points (non-inferiority margin)"
POSITIVE = "> 0 points"
Array = NDArray[np.float64]


def compare(
    results: Results,
    words: Claim,
    models: Sequence[str],
    *,
    threshold: float,
    contrast: Contrast = POINTS,
    control: str | None = None,
) -> Claim:
    """A claim about in-domain accuracies of models on the same questions.

    Args:
        results: The run.
        words: The claim, unmeasured; its note says what it needs.
        models: Model ids, in the order of the contrast.
        threshold: The bar.
        contrast: What is compared; the difference of the first two in points if not given.
        control: The model that takes the first one's place for the null, or None.
    """
    benchmarks = results.benchmarks("in_domain")
    paired = paired_accuracy(results, models, benchmarks)
    if paired is None:
        return words
    value, null = paired.compare(contrast), math.nan
    if control is not None:
        beside = paired_accuracy(results, [control, *models[1:]], benchmarks)
        null = beside.compare(contrast).value if beside else math.nan
    row = Claim(words.id, words.claim, words.source, words.statistic, words.threshold).measured(
        value,
        n=paired.questions,
        n_unit="questions",
        null=null,
        verdict=verdict_above(value, threshold),
    )
    if control is not None:
        row = row.against_null(threshold)
    if not learned(results):
        row = row.held_back(NO_GAIN)
    ahead = [name for name in models if name.partition("__")[0] in results.future_methods]
    return row.noted(
        " beside ".join(percent(mean) for mean in paired.means),
        "uses the future" if ahead else "",
        protocol_note(results, list(models), "in_domain", contrast),
    )


def compare_predictions(
    results: Results,
    words: Claim,
    methods: Sequence[str],
    shares: Sequence[float],
    *,
    threshold: float,
) -> Claim:
    """A claim about two methods' predictions of the final step from the same window.

    Args:
        results: The run.
        words: The claim, unmeasured.
        methods: Two labels; `real` is the final checkpoint, `hold_last` the last observed one.
        shares: Windows as shares of the training, in the order of preference.
        threshold: The bar, in points.
    """
    final = results.final_step
    for share in shares:
        observe = results.window_near(share)
        if observe is None or final is None:
            continue
        models = [prediction(method, observe, final) for method in methods]
        row = compare(results, words, models, threshold=threshold)
        if not math.isnan(row.ours):
            return row.noted(share_of_training(observe, final))
    return words


def prediction(method: str, observe: int, step: int) -> str:
    """The id of a scored prediction of `step` from a window."""
    if method == "real":
        return f"step_{step}"
    return (
        f"step_{observe}" if method == "hold_last" else f"{method}__observe_{observe}__step_{step}"
    )


def over_tensors(
    results: Results,
    words: Claim,
    table: pd.DataFrame,
    column: str,
    *,
    threshold: float,
    null: str | None = None,
    statistic: Callable[..., Array] = np.mean,
    n_unit: str = "matrices",
) -> Claim:
    """A claim about the mean (or another statistic) over tensors, with its bootstrap interval.

    Args:
        results: The run; its seed seeds the bootstrap.
        words: The claim, unmeasured.
        table: One row per tensor.
        column: The value; missing ones are left out.
        threshold: The bar.
        null: The column of the null, or None.
        statistic: `np.mean` or `np.median`.
        n_unit: What a row is.
    """
    if not has(table, column):
        return words
    table = known(table, column)  # the null is that of the same tensors
    found = values(table, column)
    value = bootstrap(found, statistic, seed=results.seed)
    nulls = numbers(table, null) if null is not None else np.empty(0)
    row = Claim(words.id, words.claim, words.source, words.statistic, words.threshold).measured(
        value,
        n=len(found),
        n_unit=n_unit,
        null=float(statistic(nulls, axis=0)) if len(nulls) else math.nan,
        verdict=verdict_above(value, threshold),
    )
    return row.against_null(threshold) if null is not None else row


def _beside_best(means: Array) -> Array:
    return 100 * (means[..., 0] - means[..., 1:].max(axis=-1))


def _beside_best_gradient(means: Array) -> Array:
    found = np.zeros(len(means))
    found[0], found[1 + int(means[1:].argmax())] = 100.0, -100.0
    return found


BESIDE_BEST = Contrast(_beside_best, _beside_best_gradient, -100.0, 100.0)
"""The first model minus the best of the others, in points."""


def _half_gap(means: Array) -> Array:
    half = means.shape[-1] // 2
    return 100 * (means[..., :half].mean(axis=-1) - means[..., half:].mean(axis=-1))


def _half_gap_gradient(means: Array) -> Array:
    half = len(means) // 2
    return np.repeat([100.0 / half, -100.0 / half], half)


HALF_GAP = Contrast(_half_gap, _half_gap_gradient, -100.0, 100.0)
"""Mean of the first half of the models minus mean of the second half, in points."""


def _closeness(means: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(means[..., 1] > 0, means[..., 0] / means[..., 1], np.nan)
    return 1 - np.abs(ratio - 1)


def _closeness_gradient(means: Array) -> Array:
    ratio = means[0] / means[1]
    sign = -1.0 if ratio > 1 else 1.0
    found = np.zeros(len(means))
    found[:2] = sign / means[1], -sign * ratio / means[1]
    return found


CLOSENESS = Contrast(_closeness, _closeness_gradient, high=1.0)
"""1 − |first / second − 1|: one minus the relative error of an accuracy."""


def columns_mean(table: pd.DataFrame, *names: str) -> Array:
    """Mean of several columns, row by row."""
    return np.mean([values(table, name) for name in names], axis=0)
