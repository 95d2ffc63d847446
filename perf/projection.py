"""What a larger model over more steps would cost, from measured costs per weight and step."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from rlvr_dynamics.checkpoints.delta_frames import OPEN_BYTES

_HOUR = 3600.0
KEPT = {"folders": "whole folders", "deltas": "delta store"}


def projected(
    results: Sequence[Mapping[str, Any]], stage: str, what: str, parameters: float, steps: int
) -> float:
    """Return a stage's cost at another size, from runs of one kind and one share.

    A cost for each weight is a T + b T² with b at least 0 if runs have two numbers of steps, or
    a T: loading and comparing grow with the steps, products with their square.

    Args:
        results: What `perf.large_model run` wrote.
        stage: The stage.
        what: `cpu_seconds`, `read_bytes` or `written_bytes`.
        parameters: Weights of the other model.
        steps: Its steps, T.
    """
    counts = np.array([each["steps"] for each in results], dtype=float)
    costs = np.array([_cost(each["stages"][stage], what) for each in results])
    costs /= np.array([each["parameters"] for each in results])
    if len(set(counts)) == 1:
        return float(costs.mean() / counts[0] * parameters * steps)
    slope, start = np.polyfit(counts, costs / counts, 1)
    if slope < 0.0:
        slope, start = 0.0, float((costs / counts).mean())
    return float((start * steps + slope * steps**2) * parameters)


def _cost(stage: Mapping[str, Any], what: str) -> float:
    if what == "read_bytes":
        return float(stage["report"]["read_bytes"])
    made = stage["report"].get("generating_cpu_seconds", 0.0) if what == "cpu_seconds" else 0.0
    return float(stage[what]) - made  # drawing a synthetic step is not part of keeping one


def table(results: Sequence[Mapping[str, Any]], parameters: float, steps: int) -> str:
    """Return the costs of a model over some steps as a Markdown table.

    Args:
        results: What `perf.large_model run` wrote: runs of both kinds and several shares.
        parameters: Weights of the model.
        steps: Its steps.
    """

    def kind(result: Mapping[str, Any]) -> tuple[float, str]:
        return float(result["share"]), str(result["keep"])

    head = ["changing in a step", "steps kept as", "on disk", "keep", "measure", "predict"]
    head += ["read to measure", "read to predict", "memory", "measured on"]
    rows = [head, ["---"] * len(head)]
    ordered = sorted(results, key=lambda each: (each["share"], each["keep"] == "deltas"))
    for (share, keep), group in groupby(ordered, key=kind):
        found = list(group)
        disk = float(np.mean([_bytes_each(each) for each in found])) * parameters * steps

        def of(stage: str, what: str, found: list[Mapping[str, Any]] = found) -> float:
            return projected(found, stage, what, parameters, steps)

        rows.append(
            [
                f"{share:.1%}",
                KEPT[keep],
                _size(disk),
                *(
                    f"{of(stage, 'cpu_seconds') / _HOUR:.1f} h"
                    for stage in ("write", "measure", "extrapolate")
                ),
                *(_size(of(stage, "read_bytes")) for stage in ("measure", "extrapolate")),
                _size(max(_memory(each, steps) for each in found)),
                ", ".join(f"{each['parameters'] / 1e6:,.0f} M x {each['steps']}" for each in found),
            ]
        )
    note = (
        f"{parameters / 1e9:g} B bf16 weights x {steps} steps, in processor hours, from measured "
        "costs for each weight and step. On n cores divide by n where the disk is as fast. Costs "
        "grow with the steps, and with their square where runs of two lengths show it."
    )
    return "\n".join([note, "", *(f"| {' | '.join(row)} |" for row in rows)])


def _bytes_each(result: Mapping[str, Any]) -> float:
    return result["steps_bytes"] / result["parameters"] / result["steps"]


def _memory(result: Mapping[str, Any], steps: int) -> float:
    """Return the largest peak, and what more steps add to it in the readers of a store."""
    peak = max(stage["peak_bytes"] for stage in result["stages"].values())
    more = max(0, steps - result["steps"]) * result["threads"] * OPEN_BYTES
    return peak + (more if result["keep"] == "deltas" else 0)


def _size(count: float) -> str:
    if not math.isfinite(count):
        return "-"
    return f"{count / 1e12:.2f} TB" if count >= 1e12 else f"{count / 1e9:.1f} GB"
