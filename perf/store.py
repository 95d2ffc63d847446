"""A delta store beside the folders it was packed from: size, packing, unpacking, measuring."""

import os
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from perf.machine import by_turns, warm_page_cache
from perf.models import SIZES, Files
from perf.ours import decompose
from perf.report import Part, Row
from perf.settings import Settings
from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.checkpoints.delta_unpack import unpack_step
from rlvr_dynamics.checkpoints.delta_writer import ANCHOR_EVERY
from rlvr_dynamics.store.pack import pack

COPY = "copying the folder, flushed to disk"
FOLDERS = "the folders"


@dataclass(frozen=True)
class _Cost:
    """Seconds of one action on this process's threads."""

    wall: float
    processor: float


def _cost_of(action: Callable[[], object]) -> _Cost:
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return _Cost(time.perf_counter() - wall, time.process_time() - processor)


def _middle(costs: list[_Cost], which: str) -> float:
    return statistics.median(getattr(cost, which) for cost in costs)


def measure(settings: Settings, say: Callable[[str], None]) -> Part:
    """Pack two synthetic runs, in which few and in which many values change, and read them."""
    size = settings.trajectory_size
    rows: list[Row] = []
    details: dict[str, object] = {}
    for pace in settings.paces:
        say(f"writing {settings.trajectory_steps} checkpoints of {size} parameters, pace {pace:g}")
        files = settings.files(size, pace)
        found, more = _one_run(settings, files, say)
        rows += found
        details[f"pace {pace:g}"] = {"step_share": files.step_share, **more}
        if not settings.keep:
            shutil.rmtree(files.root)
    return Part(
        title=f"A delta store of {settings.trajectory_steps} checkpoints of {size} parameters "
        f"({SIZES[size].parameters / 1e6:.1f} M, bf16)",
        rows=rows,
        notes=[
            f"Every {ANCHOR_EVERY}th step is a delta against the base; the step that is unpacked "
            "is the one with the longest chain. Two threads, the page cache warm, median of "
            f"{settings.repeats}, the order of the sides alternating.",
            "Packing reads every step twice, once to hash it, as the files carry no manifests, "
            "and reads back what it wrote. Unpacking compares every tensor with its hash; copying "
            "compares nothing.",
        ],
        details=details,
    )


def _one_run(
    settings: Settings, files: Files, say: Callable[[str], None]
) -> tuple[list[Row], dict[str, object]]:
    steps = settings.trajectory_steps
    source, out = files.checkpoints(steps), files.root / "store"
    share = f"{files.step_share:.1%} changing"
    warm_page_cache(files.paths(steps))
    shutil.rmtree(out, ignore_errors=True)
    say(f"packing, {share}")
    packed = _cost_of(lambda: pack(source, out, base=files.base, anchor_every=ANCHOR_EVERY))
    store = open_store(out)
    deltas = [version for version in store.versions.values() if version.base is not None]
    follow = [version.size for version in deltas if version.base != 0]
    stored, whole = sum(version.size for version in deltas), files.file_bytes * len(deltas)
    longest = max(store.steps, key=lambda step: len(store.chain(step)))
    target = files.root / "unpacked"
    sides = {
        "ours": lambda: unpack_step(store, longest, target / "ours"),
        "copy": lambda: _copy(source / f"step_{longest}", target / "copy"),
    }
    runs: dict[str, list[_Cost]] = {side: [] for side in sides}
    for repeat, side in by_turns(list(sides), settings.repeats):
        say(f"{side} of step {longest}, run {repeat + 1} of {settings.repeats}")
        shutil.rmtree(target / side, ignore_errors=True)
        os.sync()
        runs[side].append(_cost_of(sides[side]))
    places = {"folders": source, "store": out}
    decomposed: dict[str, list[_Cost]] = {place: [] for place in places}
    for _, place in by_turns(list(places), settings.repeats):
        say(f"decomposing the trajectory from the {place}")
        decomposed[place].append(_cost_of(partial(_decompose, files.base, places[place])))
    gigabytes = whole / 1e9
    return [
        Row(f"weights on disk, {share}", "GB", stored / 1e9, gigabytes, FOLDERS),
        Row(
            f"the steps that follow the one before, {share}",
            "GB",
            sum(follow) / 1e9,
            files.file_bytes * len(follow) / 1e9,
            FOLDERS,
        ),
        Row(
            f"packing, processor time per GB of folders, {share}", "s", packed.processor / gigabytes
        ),
        *(
            Row(
                f"unpacking a step of {len(store.chain(longest)) - 1} deltas, {what}, {share}",
                "s",
                _middle(runs["ours"], which),
                _middle(runs["copy"], which),
                COPY,
            )
            for what, which in (("wall", "wall"), ("processor", "processor"))
        ),
        Row(
            f"the trajectory SVD of every tensor, processor time, {share}",
            "s",
            _middle(decomposed["store"], "processor"),
            _middle(decomposed["folders"], "processor"),
            FOLDERS,
        ),
    ], {
        "changed_share": files.changed_share,
        "sizes": {version.step: version.size for version in deltas},
        "shares": {version.step: version.share for version in deltas},
        "packing": vars(packed),
        "runs": {side: [vars(cost) for cost in costs] for side, costs in runs.items()},
        "decomposing": {
            place: [vars(cost) for cost in costs] for place, costs in decomposed.items()
        },
    }


def _decompose(base: Path, checkpoints: Path) -> None:
    decompose(Trajectory.open(base, checkpoints))


def _copy(source: Path, target: Path) -> None:
    """Copy a folder and wait until it is on the disk."""
    shutil.copytree(source, target)
    for path in target.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
