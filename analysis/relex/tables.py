"""What RELEX's tables have in common: which model of a run a row means, and how good it is."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.parts.paper_tables import NOT_RUN, OURS, run_columns
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.results.formatting import Formatter, integer, interval, number, percent_interval
from rlvr_dynamics.results.kinds import same_runs
from rlvr_dynamics.results.methods import method_name
from rlvr_dynamics.results.relex_models import (
    WITHOUT_WINDOW,
    model_at,
    points,
    score,
    step_share,
    title_of,
)
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.statistics.intervals import Interval

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


def accuracy_cells(row: dict[str, Any]) -> dict[str, object]:
    """The columns accuracy, interval, n and samples of a row of `score`."""
    return {
        "accuracy": row["accuracy"],
        "interval": percent_interval(row["ci_low"], row["ci_high"]),
        "n": row["questions"],
        "samples": row["samples"],
    }


def point_cells(name: str, value: Interval) -> dict[str, object]:
    """The columns of a difference in points."""
    return {
        name: value.value,
        f"{name} interval": interval(value.low, value.high, 1, signed=True),
    }


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


SAMPLES: dict[str, Formatter] = {"samples": integer}


def facts(cells: Sequence[Cell]) -> str:
    """n of the answers behind a table of runs, and their number formats."""
    dtypes = sorted({cell.results.dtype or "unknown" for cell in cells})
    return f"Checkpoints in {', '.join(dtypes)}." if cells else ""
