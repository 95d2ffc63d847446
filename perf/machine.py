"""The machine and its own speed: the yardsticks of the tables."""

import datetime
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from rlvr_dynamics.system.hardware import machine
from rlvr_dynamics.system.versions import commit, versions

PLAIN = "plain read-and-convert, 2 threads"
Side = TypeVar("Side")
_BLOCK_BYTES = 4 << 20


def seconds_of(action: Callable[[], Any]) -> float:
    """Run something once and return how long it took."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def median_of(action: Callable[[], Any], repeats: int) -> float:
    """Return the median time of several runs."""
    return statistics.median(seconds_of(action) for _ in range(repeats))


def by_turns(sides: Sequence[Side], repeats: int) -> Iterator[tuple[int, Side]]:
    """Yield whose turn it is; the order alternates, so that no side always goes second."""
    for repeat in range(repeats):
        for side in sides if repeat % 2 == 0 else reversed(sides):
            yield repeat, side


def read_and_convert(paths: Sequence[Path], threads: int = 2) -> float:
    """Read files of bf16 values, convert them to float32 and discard them; return the seconds.

    This is the minimum work of any analysis of these files. Each thread takes whole files.
    """

    def one(path: Path) -> None:
        stored = torch.empty(_BLOCK_BYTES // 2, dtype=torch.bfloat16)
        wide = torch.empty(_BLOCK_BYTES // 2)
        room = memoryview(cast(bytes, stored.view(torch.uint8).numpy()))
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(room):
                wide[: count // 2].copy_(stored[: count // 2])

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # files are split among threads; each conversion stays on its thread
    try:
        with ThreadPoolExecutor(max_workers=threads) as pool:
            return seconds_of(lambda: list(pool.map(one, paths)))
    finally:
        torch.set_num_threads(before)


def plain_seconds_per_gb(paths: Sequence[Path], repeats: int) -> float:
    """Return the median time to read and convert 1 GB (1e9 bytes) of the given files."""
    size = sum(path.stat().st_size for path in paths)
    return statistics.median(read_and_convert(paths) for _ in range(repeats)) / size * 1e9


def dgemm_flops(n: int, repeats: int = 5) -> float:
    """Return the measured rate of a square float64 matrix product, in operations per second."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(n, n, dtype=torch.float64, generator=generator)
    seconds_of(lambda: matrix @ matrix)  # the first product sets up the threads
    return 2 * n**3 / median_of(lambda: matrix @ matrix, repeats)


def warm_page_cache(paths: Sequence[Path]) -> None:
    """Read every file once, so that no single measurement pays for the disk."""
    read_and_convert(paths)


def provenance(settings: dict[str, Any]) -> dict[str, Any]:
    """Return where the numbers come from: versions, machine, date, settings."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        **machine(),
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": versions("torch", "numpy", "safetensors"),
        **settings,
    }
