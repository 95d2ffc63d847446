"""How claims are measured: paired accuracies and statistics over tensors; no verdicts."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.claims.claim import Measure, Measured
from rlvr_dynamics.results.formatting import interval, number, percent
from rlvr_dynamics.results.frames import equal, has, known, last_step, numbers, values
from rlvr_dynamics.results.methods import USES_FUTURE, method_name
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import HOLD_LAST, POINTS, paired_accuracy
from rlvr_dynamics.schema.model_id import BASE, REAL, ModelId
from rlvr_dynamics.statistics.intervals import with_quartiles
from rlvr_dynamics.statistics.paired import Contrast

HOLD_RANK1 = "hold_rank1"
Array = NDArray[np.float64]
Rows = Callable[[Results, int | None], pd.DataFrame | None]
"""Returns rows of a run's table, given the last observed step; None if the table is missing."""


def accuracies(
    *methods: str,
    contrast: Contrast = POINTS,
    control: str | Sequence[str] = (),
    split: str = "in_domain",
) -> Measure:
    """Compare accuracies on the same questions.

    Args:
        methods: In the order of the contrast: `base`, `real` (the final checkpoint), `hold_last`
            (the last observed one), `hold_rank1` (the rank-1 part of its update, rescaled), or the
            label of a method's prediction of the final step.
        contrast: Function of the accuracies; by default the first minus the second, in points.
        control: Methods of which each replaces the first one; the null is the highest result.
        split: Split of the benchmarks.
    """

    def measure(results: Results, observe: int | None) -> Measured | None:
        final = results.final_step
        if final is None:
            return None
        models = [prediction(method, observe, final) for method in methods]
        names = [control] if isinstance(control, str) else control
        controls = [prediction(name, observe, final) for name in names]
        return compare(results, models, contrast=contrast, controls=controls, split=split)

    return measure


def prediction(method: str, observe: int | None, final: int) -> ModelId:
    """Return the scored model of a method at the final step; methods as in `accuracies`."""
    if method == BASE:
        return ModelId.base()
    if method == HOLD_LAST:
        return ModelId.checkpoint(observe or 0)
    if method == HOLD_RANK1:
        return ModelId("rank1_recovery", 0, observe or 0)
    return ModelId(method, 0 if method == REAL else observe or 0, final)


def compare(
    results: Results,
    models: Sequence[ModelId],
    *,
    contrast: Contrast = POINTS,
    controls: Sequence[ModelId] = (),
    split: str = "in_domain",
) -> Measured | None:
    """Compare the accuracies of models on the same questions; arguments as in `accuracies`."""
    benchmarks = results.benchmarks(split)
    paired = paired_accuracy(results, models, benchmarks)
    if paired is None:
        return None
    nulls = {}
    for control in controls:
        instead = paired_accuracy(results, [control, *models[1:]], benchmarks)
        nulls[control] = instead.compare(contrast).value if instead else math.nan
    null = max((each for each in nulls.values() if not math.isnan(each)), default=math.nan)
    several = len(paired.benchmarks) > 1
    unit = f"questions in {len(paired.benchmarks)} benchmarks" if several else "questions"
    ahead = [model for model in models if model.method in results.future_methods]
    found = Measured(paired.compare(contrast), paired.questions, unit, null)
    return found.noted(
        " against ".join(percent(mean) for mean in paired.means),
        USES_FUTURE if ahead else "",
        _controls(nulls, contrast) if len(nulls) > 1 else "",
        _protocol(results, models, benchmarks, contrast),
    )


def _controls(nulls: Mapping[ModelId, float], contrast: Contrast) -> str:
    """Give the results of several controls, a dash for one that is not scored."""
    points = contrast.unit == "points"
    shown = [
        f"{method_name(model.method)} of step {model.step} "
        f"{number(value, 1 if points else 3, signed=points)}"
        for model, value in nulls.items()
    ]
    return f"controls: {', '.join(shown)}"


def _protocol(
    results: Results, models: Sequence[ModelId], benchmarks: Sequence[str], contrast: Contrast
) -> str:
    """Say which answers were compared and, if they were sampled, what greedy ones give."""
    used = paired_accuracy(results, models, benchmarks)
    if used is None or used.protocol != "sampled":
        return "" if used is None else f"{used.protocol} answers"
    greedy = paired_accuracy(results, models, benchmarks, ("greedy",))
    if greedy is None:
        return "sampled answers"
    value, points = greedy.compare(contrast), contrast.unit == "points"
    digits = 1 if points else 3
    shown = number(value.value, digits, signed=points)
    span = interval(value.low, value.high, digits, signed=points)
    return f"sampled answers (greedy: {shown} {span})"


def table(name: str, *, last: bool = False, **wanted: object) -> Rows:
    """Select the rows of a run's table whose columns have the wanted values.

    Args:
        name: The table.
        last: Whether to keep only the rows of its last step.
        wanted: Wanted value by column.
    """

    def rows(results: Results, _observe: int | None) -> pd.DataFrame | None:
        found = results.tables[name]
        if found is None:
            return None
        return equal(found, **wanted, **({"step": last_step(found)} if last else {}))

    return rows


def forecast(method: str) -> Rows:
    """Return a method's forecasts of the final step from a window, one row per tensor."""

    def rows(results: Results, observe: int | None) -> pd.DataFrame | None:
        found = results.tables["forecast"]
        wanted = {"method": method, "observe": observe, "step": results.final_step}
        return None if found is None else equal(found, **wanted)

    return rows


def over_tensors(
    rows: Rows,
    column: str,
    *,
    null: str | float | None = None,
    high: str = "",
    statistic: Callable[..., Array] = np.mean,
    unit: str = "matrices",
    facts: Callable[[Results, pd.DataFrame], str] = lambda _results, _rows: "",
) -> Measure:
    """Compute the mean or median over the tensors of a run, with their quartiles as its spread.

    Args:
        rows: One row per tensor.
        column: Column of the value; missing values are left out.
        null: Column of the null, or a constant if the null is known by definition, or None.
        high: Column of the upper end of a tensor's own null; rows without it are not compared.
        statistic: `np.mean` or `np.median`.
        unit: What a row is.
        facts: What a reader should know about the rows with a value.
    """

    def measure(results: Results, observe: int | None) -> Measured | None:
        found = rows(results, observe)
        if found is None or not has(found, column):
            return None
        found = known(found, column)  # the null covers the same tensors
        value = with_quartiles(values(found, column), statistic)
        by_definition = null if isinstance(null, float) else math.nan
        nulls = numbers(found, null) if isinstance(null, str) else np.empty(0)
        of_null = float(statistic(nulls, axis=0)) if len(nulls) else by_definition
        above = None
        if high and has(found, high):
            compared = known(found, high)
            beyond = values(compared, column) > values(compared, high)
            above = (int(beyond.sum()), len(compared))
        noted = f"{above[0]} of {above[1]} {unit} lie above their null's band" if above else ""
        return Measured(value, len(found), unit, of_null, above, spread=True).noted(
            noted, facts(results, found)
        )

    return measure


def _beside_best(means: Array) -> Array:
    return 100 * (means[..., 0] - means[..., 1:].max(axis=-1))


def _beside_best_gradient(means: Array) -> Array:
    found = np.zeros(len(means))
    found[0], found[1 + int(means[1:].argmax())] = 100.0, -100.0
    return found


BESIDE_BEST = Contrast(_beside_best, _beside_best_gradient, -100.0, 100.0, "points")
"""The first model minus the best of the others, in points."""


def _half_gap(means: Array) -> Array:
    half = means.shape[-1] // 2
    return 100 * (means[..., :half].mean(axis=-1) - means[..., half:].mean(axis=-1))


def _half_gap_gradient(means: Array) -> Array:
    half = len(means) // 2
    return np.repeat([100.0 / half, -100.0 / half], half)


HALF_GAP = Contrast(_half_gap, _half_gap_gradient, -100.0, 100.0, "points")
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
