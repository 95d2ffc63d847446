"""The models of a run that RELEX's tables and figures compare: which, how good, how far apart."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.results.forecasts import own_forecasts
from rlvr_dynamics.results.formatting import is_missing
from rlvr_dynamics.results.frames import equal, known, median
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import PROTOCOLS, PairedAccuracy, paired_accuracy
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval
from rlvr_dynamics.statistics.paired import difference

PAPER_SHARE = 0.15
WITHOUT_WINDOW = ("base", "real", "trajectory_oracle", "trajectory_oracle_rank5")


def model_at(
    results: Results, method: str, observe: int | None = None, step: int | None = None
) -> str | None:
    """Model id of a method; None where it was not scored.

    Args:
        results: The run.
        method: Its label; `hold_last` is the real checkpoint at the end of the window.
        observe: Last observed step; ignored by a method without a window.
        step: Target step, the final one when not given.
    """
    if "relex models" not in results.memo:
        found: dict[tuple[str, int, int], str] = {}
        scores = results.tables["scores"]
        if scores is not None:
            rows = scores.drop_duplicates(["model"])[["model", "method", "observe", "step"]]
            for model, label, window, at in rows.itertuples(index=False, name=None):
                seen = 0 if pd.isna(window) or label in WITHOUT_WINDOW else int(window)
                found[(str(label), seen, int(at))] = str(model)
        results.memo["relex models"] = found
    models: dict[tuple[str, int, int], str] = results.memo["relex models"]
    target = results.final_step if step is None else step
    if method == "base":
        return models.get(("base", 0, 0))
    if target is None:
        return None
    if method in WITHOUT_WINDOW:
        return models.get((method, 0, target))
    own = models.get((method, observe or 0, target))
    return models.get(("real", 0, observe or 0)) if method == "hold_last" and own is None else own


def targets_of(results: Results, method: str) -> list[int]:
    """The steps that a method's scored predictions are of, rising."""
    scores = results.tables["scores"]
    return [] if scores is None else sorted({int(t) for t in equal(scores, method=method)["step"]})


def windows_near(results: Results, share: float = PAPER_SHARE) -> list[int]:
    """The window at a share of the training, else the nearest one on either side of it."""
    exact, final = results.window_near(share), results.final_step
    if exact is not None or final is None:
        return [] if exact is None else [exact]
    below = [window for window in results.windows if window / final < share]
    above = [window for window in results.windows if window / final > share]
    return [*below[-1:], *above[:1]]


def protocols(results: Results, benchmark: str) -> list[str]:
    """How answers to a benchmark were drawn, the one that figures and tables prefer first."""
    key = ("relex protocols", benchmark)
    if key not in results.memo:
        scores = results.tables["scores"]
        rows = [] if scores is None else equal(scores, benchmark=benchmark)["protocol"]
        found = {str(name) for name in rows}
        order = sorted(found, key=lambda name: (name not in PROTOCOLS, _place(name), name))
        results.memo[key] = order
    return results.memo[key]


def _place(protocol: str) -> int:
    return PROTOCOLS.index(protocol) if protocol in PROTOCOLS else 0


def score(
    results: Results, model: str | None, benchmark: str, protocol: str | None = None
) -> dict[str, Any]:
    """Accuracy (a share), low, high, n and samples of a model; NaN where it was not scored.

    Args:
        results: The run.
        model: Model id, or None.
        benchmark: Name of the benchmark.
        protocol: How answers were drawn; the preferred one when not given.
    """
    if "relex scores" not in results.memo:
        scores = results.tables["scores"]
        rows = [] if scores is None else scores.to_dict("records")
        results.memo["relex scores"] = {
            (row["model"], row["benchmark"], row["protocol"]): row for row in rows
        }
    wanted = protocol or next(iter(protocols(results, benchmark)), "")
    row = results.memo["relex scores"].get((model, benchmark, wanted), {})
    names = ("accuracy", "ci_low", "ci_high", "questions", "samples")
    return {name: float(row.get(name, math.nan)) for name in names}


def as_interval(row: dict[str, Any]) -> Interval:
    """A row of `score` as an interval of shares."""
    return Interval(row["accuracy"], row["ci_low"], row["ci_high"])


def points(
    results: Results,
    first: str | None,
    second: str | None,
    benchmarks: Sequence[str],
    protocol: str,
    among: Sequence[str] = (),
) -> Interval:
    """Accuracy of one model minus another's, in points, paired by question.

    Args:
        results: The run.
        first: Model id, or None.
        second: Model id, or None.
        benchmarks: Names of benchmarks, which count alike.
        protocol: How answers were drawn.
        among: Models that are resampled together, which is quicker than two by two; base,
            checkpoints and predictions when not given.

    Returns:
        NaN where one of them was not scored on all benchmarks, and of a model with itself.
    """
    if first is None or second is None or first == second:
        return UNDEFINED
    models = tuple(among) or _family(results)
    key = ("relex pairs", models, tuple(benchmarks), protocol)
    if key not in results.memo:
        results.memo[key] = _pairing(results, models, benchmarks, protocol)
    paired: PairedAccuracy | None = results.memo[key]
    if paired is None or first not in paired.models or second not in paired.models:
        return UNDEFINED
    places = [paired.models.index(model) for model in (first, second)]
    return paired.compare(difference(*places, scale=100.0))


def _family(results: Results) -> tuple[str, ...]:
    """Base, checkpoints and predictions of a run; not the reconstructions of single updates."""
    if "relex family" not in results.memo:
        scores = results.tables["scores"]
        rows = [] if scores is None else scores.drop_duplicates(["model"]).to_dict("records")
        results.memo["relex family"] = tuple(
            str(row["model"])
            for row in rows
            if row["method"] in WITHOUT_WINDOW or not is_missing(row["observe"])
        )
    return results.memo["relex family"]


def _pairing(
    results: Results, models: Sequence[str], benchmarks: Sequence[str], protocol: str
) -> PairedAccuracy | None:
    counts = {
        model: min(_questions(results, model, name, protocol) for name in benchmarks)
        for model in models
    }
    # A model with fewer questions would take them away from all the others.
    whole = [model for model in models if 0 < counts[model] == max(counts.values())]
    return paired_accuracy(results, whole, benchmarks, [protocol])


def _questions(results: Results, model: str, benchmark: str, protocol: str) -> int:
    means = results.question_means(model, benchmark, protocol)
    return 0 if means is None else len(means)


def title_of(results: Results, benchmark: str) -> str:
    """The readable name of a benchmark."""
    key = ("relex title", benchmark)
    if key not in results.memo:
        results.memo[key] = results.benchmark_title(benchmark)
    return results.memo[key]


def skill(results: Results, method: str, observe: int, step: int | None = None) -> float:
    """Median over the tensors that a method forecasts of its skill; NaN where there is none.

    Args:
        results: The run.
        method: Label of the method.
        observe: Last observed step.
        step: Target step, the final one when not given.
    """
    table = results.tables["forecast"]
    if table is None:
        return math.nan
    if "relex skill" not in results.memo:
        rows = known(own_forecasts(table), "skill")
        groups = rows.groupby(["method", "observe", "step"])["skill"].median()
        results.memo["relex skill"] = dict(zip(groups.index, groups, strict=True))
    target = results.final_step if step is None else step
    label = _candidate(results, method, observe, target)
    return float(results.memo["relex skill"].get((label, observe, target), math.nan))


def _candidate(results: Results, method: str, observe: int, step: int | None) -> str:
    """The label in the forecasts: a method with a grid stands there by its chosen candidate."""
    table = results.tables["selection"]
    if table is None:
        return method
    rows = equal(table, candidate_of=method, observe=observe, step=step, chosen=True)
    return str(rows["method"].iloc[0]) if len(rows) else method


def step_share(results: Results, step: int | None) -> float:
    """A step as a share of the training."""
    return math.nan if step is None or not results.final_step else step / results.final_step


def median_and_quartiles(table: pd.DataFrame, column: str) -> Interval:
    """Median over tensors between its quartiles; NaN where there are none."""
    found = known(table, column)[column].to_numpy(float) if column in table else np.empty(0)
    if not len(found):
        return UNDEFINED
    low, high = np.quantile(found, [0.25, 0.75])
    return Interval(median(table, column), float(low), float(high))
