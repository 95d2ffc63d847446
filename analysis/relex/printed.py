"""RELEX's printed accuracies, and the matching rows of our runs."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.claims.quoted import FIT_AXIS
from rlvr_dynamics.results.formatting import percent_interval
from rlvr_dynamics.results.methods import method_name
from rlvr_dynamics.results.scores import Score, model_of, score
from rlvr_dynamics.results.study import Cell

from ..parts.paper_tables import OURS
from .models import WITHOUT_WINDOW, step_share

Row = dict[str, Any]
PAPER_STEPS = 500
AXIS_NOTE = f" Of ours beside the 1.5B model: {FIT_AXIS}."
# RELEX's benchmarks as printed, and this package's names for them.
BENCHMARKS = {
    "math": "math",
    "aime25": "aime25",
    "aime26": "aime26",
    "hmmt25": "hmmt_feb_2025",
    "olympiadbench": "olympiadbench",
    "amc23": "amc23",
}
# The paper's names of the methods, and our labels.
LABELS = {
    "full_rl": "real",
    "relex_rank1_linear": "relex",
    "relex_rank5_linear": "relex_rank5",
    "relex_rank10_linear": "relex_rank10",
    "raw_delta_linear": "relex_raw",
    "relex_rank1_polynomial": "relex_polynomial",
    "neural_net": "neural",
    "oracle_rank1_reconstruction": "trajectory_oracle",
}


def printed_rows(table: str) -> list[Row]:
    """Return one table's printed accuracies as fractions, with our label of the method."""
    return [
        {
            "model": row["base_model"],
            "algorithm": row["algorithm"],
            "label": (label := LABELS.get(row["method"], str(row["method"]))),
            "method": readable(label),
            "share": row["train_fraction"],
            "step": row["step"],
            "benchmark": row["benchmark"],
            "source": row["provenance"],
            "accuracy": row["value"] / 100,
        }
        for row in printed(paper="relex", table=table).to_dict("records")
    ]


def readable(label: str) -> str:
    """Return a method's name for printed rows, where no run says if it sees the future."""
    return "full RL" if label == "real" else method_name(label)


def with_gaps(rows: Iterable[Row], beside: str, itself: float = math.nan) -> list[Row]:
    """Add `gap` to printed rows: points above another method's row at the same step.

    Args:
        rows: Printed rows of `printed_rows`.
        beside: Label of the other method.
        itself: The gap of the other method's own rows.
    """
    rows = list(rows)
    other = {(row["model"], _step(row)): row["accuracy"] for row in rows if row["label"] == beside}
    return [
        {
            **row,
            "gap": itself
            if row["label"] == beside
            else 100 * (row["accuracy"] - other[(row["model"], _step(row))]),
        }
        for row in rows
    ]


def _step(row: Row) -> int:
    return 0 if math.isnan(row["step"]) else int(row["step"])


def every_step(rows: Sequence[Row], labels: Iterable[str]) -> list[Row]:
    """Return a row per method and step of one model, without accuracy if nothing is printed."""
    there = {(row["label"], row["step"]): row for row in rows}
    unprinted = {"source": "not printed", "accuracy": math.nan}
    return [
        there.get((label, step))
        or {**rows[0], "label": label, "method": readable(label), "step": step, **unprinted}
        for label in labels
        for step in sorted({row["step"] for row in rows})
    ]


def counterpart(
    cell: Cell, label: str, share: float, target: float = 1.0
) -> tuple[str | None, float]:
    """Return our model for a printed row (None if not scored), and its observed share.

    Args:
        cell: The run.
        label: Label of the method.
        share: Observed share of the training, as printed.
        target: Predicted step as a share of the training.
    """
    results, final = cell.results, cell.results.final_step
    step = None if final is None else round(target * final)
    if label in WITHOUT_WINDOW:
        return model_of(results, label, step=step), share
    window = results.window_near(share)
    found = model_of(results, label, window, step) if window else None
    return found, step_share(results, window)


def ours_on_math(cell: Cell, row: Row) -> list[Row]:
    """Return a run's row below a printed accuracy on MATH."""
    target = row["step"] / PAPER_STEPS if row["step"] > 0 else 1.0
    model, share = counterpart(cell, row["label"], row["share"], target)
    return [
        {
            **{name: row[name] for name in ("model", "algorithm", "step")},
            "method": cell.results.method_name(row["label"]),
            "share": share,
            "source": OURS,
            **accuracy_cells(score(cell.results, model, BENCHMARKS["math"])),
            "cell": cell.name,
        }
    ]


def accuracy_cells(found: Score) -> Row:
    """Return the columns accuracy, interval, n and samples of a scored model."""
    return {
        "accuracy": found.accuracy.value,
        "interval": percent_interval(found.accuracy.low, found.accuracy.high),
        "n": found.questions,
        "samples": found.samples,
    }
