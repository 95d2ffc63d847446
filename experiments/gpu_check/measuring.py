"""Step 9: the measure stage on the card beside the same on the processor.

Both read the trajectory of step 4, in run directories of their own, and write the same tables.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.results.frames import values
from rlvr_dynamics.schema.tables import MEASURED, TableFile

from . import shapes
from .bench import Bench, Command, Commands
from .finding import Finding, at_most, holds, noted, on_a_gpu
from .product import results, run, stage_seconds

NAME = "measuring"
# Largest difference over the largest value of a column. The leading triples have a residual of up
# to 1e-5 σ1, and sums are in float64.
BOUND = 1e-4
# Kinds of columns that are sums or leading singular values. Angles, ranks, fits and counts beyond a
# threshold follow from values that may lie close together, and are told without a bound.
JUDGED = ("norm", "norm per step", "share", "ratio", "step")
ROUNDING = ("residual",)  # of the size of rounding itself


def commands(bench: Bench) -> Commands:
    """Return the stage on the device and on the processor."""
    run_dir = shapes.commands(bench)[shapes.RUN].folder
    common = (
        "+exp=trajectory",
        f"source.base={run_dir / 'prepare' / 'base'}",
        f"source.checkpoints={run_dir / 'train' / 'checkpoints'}",
        "stages=[measure]",
        "measure.directions=false",
        "measure.null_draws=20",
        "measure.threads=2",
    )
    devices = {"device": bench.device, "cpu": "cpu"}
    return {
        name: Command(bench.folder(NAME) / name, (*common, f"measure.device={device}"))
        for name, device in devices.items()
    }


def work(bench: Bench) -> list[Finding]:
    """Measure twice and compare every column of every table."""
    chosen = commands(bench)
    for command in chosen.values():
        run(command)
    ours, plain = (results(chosen[name]).tables for name in ("device", "cpu"))
    found: list[Finding] = []
    for name, declared in MEASURED.items():
        left, right = ours[name], plain[name]
        if left is None or right is None:
            same = left is None and right is None
            found.append(holds(f"table {name}", "none", same, "on both or on none"))
            continue
        found += compared(declared, left, right)
    found = [on_a_gpu(each, bench.device) if each.wanted else each for each in found]
    return found + [
        noted(f"seconds on {device}", stage_seconds(chosen[name]).get("measure"), "s")
        for name, device in (("device", bench.device), ("cpu", "cpu"))
    ]


def compared(declared: TableFile, ours: pd.DataFrame, plain: pd.DataFrame) -> list[Finding]:
    """Compare the numbers of two tables; the worst column is told for judged and for told kinds."""
    label = f"table {declared.name}"
    if len(ours) != len(plain):
        return [holds(f"{label}: rows", len(ours), False, str(len(plain)))]
    worst = {True: ("", -1.0), False: ("", -1.0)}
    for column in declared.columns:
        if column.name not in ours or not _holds_numbers(ours[column.name]):
            continue
        judged = column.kind in JUDGED and column.name not in ROUNDING
        difference = _difference(*(values(each, column.name) for each in (ours, plain)))
        worst[judged] = max(worst[judged], (column.name, difference), key=lambda pair: pair[1])
    (name, difference), (other, told) = worst[True], worst[False]
    found = []
    if name:
        found.append(
            at_most(f"{label}: largest difference{_in(name, difference)}", difference, BOUND)
        )
    if other:
        found.append(noted(f"{label}: of what follows{_in(other, told)}", told))
    return found


def _in(column: str, difference: float) -> str:
    return f", in {column}" if difference else ""


def _holds_numbers(column: object) -> bool:
    kinds = pd.api.types
    return kinds.is_numeric_dtype(column) and not kinds.is_bool_dtype(column)


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the largest difference over the largest value; infinite where one alone is missing."""
    if (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    known = ~np.isnan(b)
    if not known.any():
        return 0.0
    largest = float(np.abs(b[known]).max())
    return float(np.abs(a[known] - b[known]).max()) / (largest or 1.0)
