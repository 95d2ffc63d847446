"""Fetching published checkpoints from loopback, against a plain download of the same bytes.

The hub is the tests' hub in a separate process. The reference downloads files one by one with curl,
as a user would by hand: no parallel connections, no hashes.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from perf.report import Part, Row
from perf.settings import Settings
from rlvr_dynamics.hub import download as hub_download
from rlvr_dynamics.hub.download import Job, download
from rlvr_dynamics.hub.http import CONNECTIONS, Hub
from rlvr_dynamics.hub.pinned import Address
from rlvr_dynamics.hub.published import pin_all
from rlvr_dynamics.system import children

SERVER = Path(__file__).resolve().parent.parent / "tests" / "support" / "hub_server.py"
REPO = "perf/trajectory"
STEPS = (1, 2, 3, 4)
FULL_BYTES, QUICK_BYTES = 256 << 20, 1 << 20
QUICK_MATRIX_ROWS = 64
Side = Callable[[str, Path], None]


def measure(settings: Settings, say: Callable[[str], None]) -> Part:
    """Time both downloads in turn, and return the medians."""
    quick = settings.matrix[0] < QUICK_MATRIX_ROWS
    size = QUICK_BYTES if quick else FULL_BYTES
    folder = settings.work / "hub"
    _write(folder / "source", size, settings.seed)
    total = size * len(STEPS)
    pairs = {"on the disk": (_ours, _curl_flushed), "in memory": (_ours_unflushed, _curl)}
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
    with _serving(folder / "source") as endpoint:
        for turn in range(settings.repeats + 1):  # the first run warms up both sides
            for name, sides in pairs.items():
                found = {}
                for side in sides if turn % 2 else reversed(sides):
                    found[side] = total / _seconds(side, endpoint, folder / "out", total) / 1e6
                if turn:
                    speeds[name].append((found[sides[0]], found[sides[1]]))
                    say(f"{name}: {found[sides[0]]:.0f} MB/s, curl {found[sides[1]]:.0f} MB/s")
    shutil.rmtree(folder, ignore_errors=True)
    rows, notes = [], []
    for name, turns in speeds.items():
        ours, plain = (statistics.median(column) for column in zip(*turns, strict=True))
        share = statistics.median(one / other for one, other in turns)
        against = "curl, a file at a time" + ", then fsync" * (name == "on the disk")
        what = f"time per GB, until it is {name}"
        rows.append(Row(what, "s", 1000 / ours, 1000 / plain, against))
        notes.append(
            f"Until the bytes are {name}, ours runs at {share:.0%} of curl's speed (median of "
            f"{len(turns)} turns); the aim is 80 %."
        )
    notes.append(
        f"Ours: {CONNECTIONS} connections, sha256 of every byte. In use it always flushes a file "
        "to the disk before the file gets its name; `in memory` leaves that out, as curl does."
    )
    title = f"Published checkpoints from loopback: {len(STEPS)} files of {size >> 20} MiB"
    return Part(title=title, rows=rows, notes=notes, details={"mb_per_s": speeds})


def _seconds(side: Side, endpoint: str, out: Path, total: int) -> float:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.sync()  # flush the other side's writes first, so that this side does not pay for them
    begin = time.perf_counter()
    side(endpoint, out)
    seconds = time.perf_counter() - begin
    found = sum(file.stat().st_size for file in out.rglob("*.safetensors"))
    if found != total:
        raise RuntimeError(f"{side.__name__} fetched {found} of {total} bytes")
    return seconds


def _write(folder: Path, size: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for step in STEPS:
        (folder / f"step_{step}").mkdir(parents=True, exist_ok=True)
        (folder / f"step_{step}" / "model.safetensors").write_bytes(draw.bytes(size))


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    command = [sys.executable, str(SERVER), f"{REPO}={folder}"]
    server = children.start(command, stdout=subprocess.PIPE)
    try:
        if server.stdout is None:
            raise RuntimeError("the hub has no output")
        yield server.stdout.readline().decode().strip()
    finally:
        children.end(server)


def _ours(endpoint: str, out: Path) -> None:
    with Hub(endpoint) as hub:
        asked = {step: Address(REPO, f"step_{step}", "") for step in STEPS}
        jobs = [
            Job(pinned, file, out / f"step_{step}" / file.name)
            for step, pinned in pin_all(hub, asked, out / "lock.json").items()
            for file in pinned.files
        ]
        for _ in download(hub, jobs, lambda _: None):
            pass


def _ours_unflushed(endpoint: str, out: Path) -> None:
    with mock.patch.object(hub_download.os, "fsync", lambda _: None):
        _ours(endpoint, out)


def _curl(endpoint: str, out: Path) -> None:
    for step in STEPS:
        url = f"{endpoint}/{REPO}/resolve/step_{step}/model.safetensors"
        target = out / f"step_{step}.safetensors"
        subprocess.run(["curl", "-sSfL", "-o", str(target), url], check=True)  # noqa: S607


def _curl_flushed(endpoint: str, out: Path) -> None:
    _curl(endpoint, out)
    for file in out.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
