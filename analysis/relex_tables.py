"""What RELEX's tables have in common: which model of a run a row means, and how good it is."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.paper_tables import NOT_RUN, OURS, run_columns, same_runs
from analysis.printed import printed
from analysis.study import Cell, Study
from rlvr_dynamics.reporting.accuracy import PROTOCOLS, PairedAccuracy, paired_accuracy
from rlvr_dynamics.reporting.formatting import (
    Formatter,
    integer,
    interval,
    is_missing,
    method_name,
    number,
    percent_interval,
)
from rlvr_dynamics.reporting.frames import equal, known, median
from rlvr_dynamics.reporting.results import Results
from rlvr_dynamics.scoring.paired import difference
from rlvr_dynamics.scoring.statistics import UNDEFINED, Interval

PAPER_SHARE = 0.15
PAPER_STEPS = 500
# RELEX's benchmarks as printed, and the names under which this package scores them.
BENCHMARKS = {
    "math": "math",
    "aime25": "aime25",
    "aime26": "aime26",
    "hmmt25": "hmmt_feb_2025",
    "olympiadbench": "olympiadbench",
    "amc23": "amc23",
}
# The paper's names of the methods, and the labels that they have in a run.
LABELS = {
    "base": "base",
    "full_rl": "real",
    "relex": "relex",
    "weight_extrapolation": "weight_extrapolation",
    "expo": "expo",
    "alpharl": "alpharl",
    "relex_rank1_linear": "relex",
    "relex_rank5_linear": "relex_rank5",
    "relex_rank10_linear": "relex_rank10",
    "raw_delta_linear": "relex_raw",
    "relex_rank1_polynomial": "relex_polynomial",
    "neural_net": "neural",
    "oracle_rank1_reconstruction": "trajectory_oracle",
}
WITHOUT_WINDOW = ("base", "real", "trajectory_oracle", "trajectory_oracle_rank5")
NEEDS = "Not measured: needs scores/scores.parquet with predictions (stages extrapolate and score)."
POINT_FORMATS: dict[str, Formatter] = {
    "vs real": lambda value: number(value, 1, signed=True),
    "vs held": lambda value: number(value, 1, signed=True),
}
POINT_HEADINGS = {
    "interval": "95 %",
    "vs real": "minus real, points",
    "vs real interval": "95 %",
    "vs held": "minus last observed, points",
    "vs held interval": "95 %",
}


def printed_rows(table: str) -> pd.DataFrame:
    """The printed accuracies of one of RELEX's tables, as shares, with our label of the method."""
    rows = printed(paper="relex", table=table)
    labels = [LABELS.get(str(name), str(name)) for name in rows["method"]]
    return rows.assign(value=rows["value"] / 100, label=labels)


def readable(label: str) -> str:
    """The name of a method in rows of the papers, where no run says whether it sees the future."""
    return "full RL" if label == "real" else method_name(label)


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


def accuracy_cells(row: dict[str, Any]) -> dict[str, object]:
    """The columns accuracy, interval, n and samples of a row of `score`."""
    return {
        "accuracy": row["accuracy"],
        "interval": percent_interval(row["ci_low"], row["ci_high"]),
        "n": row["questions"],
        "samples": row["samples"],
    }


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


def point_cells(name: str, value: Interval) -> dict[str, object]:
    """The columns of a difference in points."""
    return {
        name: value.value,
        f"{name} interval": interval(value.low, value.high, 1, signed=True),
    }


def skill(results: Results, method: str, observe: int, step: int | None = None) -> float:
    """Median over tensors of a forecast's skill in the weights; NaN where there is none.

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
        rows = known(table, "skill")
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


def with_ours(study: Study, rows: Iterable[dict[str, Any]]) -> list[dict[str, object]]:
    """Printed rows with ours beneath each; one dash at the end of a model that no run has.

    Args:
        study: The runs.
        rows: Printed rows in order: model, algorithm, label, method, share (the observed part of
            the training, NaN without one), source, accuracy, further columns, and target (which
            step is predicted, as a share of the training), which is not passed on.
    """
    found: list[dict[str, object]] = []
    blocks: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        blocks.setdefault((str(row["model"]), str(row["algorithm"])), []).append(row)
    for (model, algorithm), block in blocks.items():
        cells = same_runs(study, model, algorithm)
        for row in block:
            found.append({name: row[name] for name in row if name not in ("label", "target")})
            found += [_ours(cell, row) for cell in cells]
        if not cells:
            found.append({"model": model, "algorithm": algorithm, "source": NOT_RUN})
    return found


def _ours(cell: Cell, row: dict[str, Any]) -> dict[str, object]:
    results, final, label = cell.results, cell.results.final_step, str(row["label"])
    window = None if label in WITHOUT_WINDOW else results.window_near(float(row["share"]))
    step = None if final is None else round(float(row.get("target", 1.0)) * final)
    free = label in WITHOUT_WINDOW
    model = model_at(results, label, window, step) if free or window else None
    return {
        **{name: row[name] for name in ("model", "algorithm", "step") if name in row},
        "method": results.method_name(label),
        "share": row["share"] if free else step_share(results, window),
        "source": OURS,
        **accuracy_cells(score(results, model, BENCHMARKS["math"])),
        "cell": cell.name,
    }


def here_row(
    cell: Cell,
    method: str,
    benchmark: str,
    protocol: str,
    window: int | None = None,
    step: int | None = None,
    among: Sequence[str] = (),
) -> dict[str, object] | None:
    """A row of our runs: a method's accuracy, and what it is above two real checkpoints.

    Args:
        cell: The run.
        method: Label of the method.
        benchmark: Name of the benchmark.
        protocol: How answers were drawn.
        window: Last observed step of a method that has one.
        step: Target step, the final one when not given.
        among: As in `points`.

    Returns:
        None where the method was not scored.
    """
    results = cell.results
    model = model_at(results, method, window, step)
    found = score(results, model, benchmark, protocol)
    if math.isnan(found["accuracy"]):
        return None
    real = model_at(results, "real")
    held = model_at(results, "hold_last", window) if window else None
    return {
        **run_columns(cell),
        "method": results.method_name(method),
        "share": {"base": 0.0, "real": 1.0}.get(method, step_share(results, window)),
        "benchmark": title_of(results, benchmark),
        "protocol": protocol,
        **accuracy_cells(found),
        **point_cells("vs real", points(results, model, real, [benchmark], protocol, among)),
        **point_cells("vs held", points(results, model, held, [benchmark], protocol, among)),
        "cell": cell.name,
    }


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


SAMPLES: dict[str, Formatter] = {"samples": integer}


def facts(cells: Sequence[Cell]) -> str:
    """n of the answers behind a table of runs, and their number formats."""
    dtypes = sorted({cell.results.dtype or "unknown" for cell in cells})
    return f"Checkpoints in {', '.join(dtypes)}." if cells else ""
