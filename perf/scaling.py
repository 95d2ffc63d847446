"""Cost of the trajectory SVD of all tensors, by number of steps and model size.

Legend: T observed steps, d elements of all tensors.
"""

from collections.abc import Callable

from perf.machine import PLAIN, dgemm_flops, plain_seconds_per_gb, warm_page_cache
from perf.measure_process import run_module
from perf.models import SIZES
from perf.report import NAN, Part, Row
from perf.settings import Settings


def gram_seconds_per_gb(steps: float, flops: float) -> float:
    """Return the minimum time of the Gram matrix, in seconds per GB of bf16 input.

    M Mᵀ is symmetric, so T² d operations suffice (T² d / 2 multiplications and as many
    additions); the input has 2 (T + 1) d bytes.

    Args:
        steps: T.
        flops: Rate of a float64 matrix product, in operations per second.
    """
    return steps**2 / flops / (2 * (steps + 1) / 1e9)


def crossing(plain: float, flops: float) -> float:
    """Return the T at which the Gram matrix takes as long as reading.

    Solves T² / (2 (T + 1)) 1e9 / flops = plain.
    """
    a = 2 * plain * flops / 1e9
    return (a + (a * a + 4 * a) ** 0.5) / 2


def measure(settings: Settings, say: Callable[[str], None]) -> Part:
    """Decompose the first T steps of every size, in a separate process for each T and size."""
    flops = dgemm_flops(settings.dgemm)
    cells: list[dict[str, float | int | str]] = []
    rows: list[Row] = []
    plain_of: dict[str, float] = {}
    for size in settings.written:
        say(f"writing {settings.written[size]} checkpoints of {size} parameters")
        files = settings.files(size)
        own = files.paths(files.written)
        warm_page_cache(own)
        plain_of[size] = plain_seconds_per_gb(own, settings.repeats)
        per_gb = 0.0
        for steps in settings.scaling_steps:
            gigabytes = files.file_bytes * (steps + 1) / 1e9
            label = f"{size}, T = {steps} ({gigabytes:.2f} GB)"
            if per_gb * gigabytes > settings.cell_limit_seconds:
                say(f"{label}: left out")
                rows.append(Row(f"{label}: time per GB", "s/GB", NAN, plain_of[size], PLAIN))
                continue
            say(label)
            checkpoints = files.checkpoints(steps)
            cost = run_module(
                "perf.ours", "decompose", "--base", files.base, "--checkpoints", checkpoints
            )
            per_gb = cost.inner_seconds / gigabytes
            cells.append(
                {
                    "size": size,
                    "parameters": SIZES[size].parameters,
                    "T": steps,
                    "read_gb": gigabytes,
                    "wall_seconds": cost.wall_seconds,
                    "inner_seconds": cost.inner_seconds,
                    "seconds_per_gb": per_gb,
                    "peak_bytes": cost.peak_bytes,
                    "peak_resident_bytes": cost.peak_resident_bytes,
                    "checkpoint_bytes": files.file_bytes,
                }
            )
            rows += [
                Row(f"{label}: time per GB", "s/GB", per_gb, plain_of[size], PLAIN),
                Row(f"{label}: peak memory of its own", "GB", cost.peak_bytes / 1e9),
            ]
    largest = max(settings.written, key=lambda size: SIZES[size].parameters)
    plain = plain_of[largest]
    rows.append(
        Row("steps at which the Gram product takes as long as reading", "T", crossing(plain, flops))
    )
    return Part(
        title="Cost against steps and size: trajectory SVD of all tensors, bf16",
        rows=rows,
        notes=[
            "Coefficients, singular values and explained variance of every tensor; a process of "
            "its own per cell, one run each, start-up not counted, page cache warm. A dash: at the "
            f"speed of the last cell it would need more than {settings.cell_limit_seconds:.0f} s.",
            "Steps after the written ones ("
            + ", ".join(f"{size}: {count}" for size, count in settings.written.items())
            + ") are hard links to them: the page cache and the disk see the same bytes again, "
            "the arithmetic costs the same.",
            f"The Gram product needs at least T² d operations; float64 matrix products ran at "
            f"{flops / 1e9:.3g} GFLOP/s here (order {settings.dgemm}).",
        ],
        details={
            "cells": cells,
            "plain_seconds_per_gb": plain_of,
            "dgemm_flops": flops,
            "crossing_T": crossing(plain, flops),
            "dtype": "bfloat16",
            "written": settings.written,
        },
    )
