"""A synthetic run of any size through the delta store: packed, measured and predicted.

    python -m perf.large_model run --parameters 1e9 --steps 50 --share 0.01 --memory-gib 2
    python -m perf.large_model table FILE [FILE ...]     # what 8 B weights x 500 steps would cost

Every stage is a process of its own, whose peak memory is measured and compared with the one that
is allowed; the disk that is needed is said and checked first. No more than two whole steps are on
the disk at a time. After a kill the same command goes on. `run --keep folders` does the same
without a store, for small sizes: the results of both are what `table` compares.
"""

import json
import os
import shutil
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from perf.machine import provenance
from perf.measure_process import run_module
from perf.projection import table
from perf.synthetic_steps import Steps, size_of
from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.checkpoints.identity import read_manifest, write_manifest
from rlvr_dynamics.checkpoints.published_steps import Deltas, Folders
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.measurement import MeasureSettings, measure
from rlvr_dynamics.system.atomic import write_json
from rlvr_dynamics.system.command_line import Parser, count_of, end, path_of, say
from rlvr_dynamics.system.hardware import free_bytes

STAGES = ("write", "measure", "extrapolate")
_OUT = Path("outputs") / "perf" / "large_model"
_CHANGE_BYTES = 6  # of the store for each value that changes in a step, anchors included; at most
_GIB = 1 << 30


def _write(steps: Steps, folder: Path, given: Any) -> dict[str, float]:
    """Write the base and every step, and keep the steps as a store or as folders."""
    base = folder / "base"
    if not base.is_dir():
        steps.write(0, base)
    if read_manifest(base) is None:
        write_manifest(base, 0, "synthetic")
    kept = (Folders if given.keep == "folders" else partial(Deltas, base=base))(folder / "steps")
    generating = 0.0
    for step in range(1, given.steps + 1):
        place, wall = kept.place(step), time.perf_counter()
        if step in kept.steps():
            continue
        start = time.process_time()
        steps.write(step, place)
        generating += time.process_time() - start
        if given.keep == "folders":
            write_manifest(place, step, "synthetic")
        kept.take(step)
        say(f"step {step} of {given.steps}: {time.perf_counter() - wall:.1f} s", sys.stderr)
    kept.finish()
    return {"generating_cpu_seconds": generating}


def _measure(steps: Steps, folder: Path, given: Any) -> dict[str, float]:
    settings = MeasureSettings(
        update_steps=min(given.update_steps, given.steps),
        draws=20,
        threads=given.threads,
        budget_bytes=int(given.budget_gib * _GIB),
        directions=False,
    )
    measure(_opened(folder), settings, folder / "measure")
    return {}


def _extrapolate(steps: Steps, folder: Path, given: Any) -> dict[str, float]:
    EXTRAPOLATORS["relex"].run(
        _opened(folder),
        given.steps,
        [2 * given.steps],
        folder / "predictions",
        threads=given.threads,
        budget_bytes=int(given.budget_gib * _GIB),
        progress=True,
    )
    return {}


def _opened(folder: Path) -> Trajectory:
    return Trajectory.open(folder / "base", folder / "steps")


_WORK = {"write": _write, "measure": _measure, "extrapolate": _extrapolate}


def _stage(given: Any) -> None:
    """Do one stage in this process; the last line says what it took."""
    start, before = time.perf_counter(), _bytes_read()
    found = _WORK[given.stage](_steps(given), _folder(given), given)
    found |= {"seconds": time.perf_counter() - start, "read_bytes": _bytes_read() - before}
    say(json.dumps(found))


def _bytes_read() -> int:
    """Return the bytes of all read calls of this process."""
    return int(Path("/proc/self/io").read_text().split()[1])


def _steps(given: Any) -> Steps:
    return Steps(size_of(int(given.parameters)), given.steps, given.share, given.seed)


def _folder(given: Any) -> Path:
    name = f"{given.keep}_{given.parameters:.0f}_{given.steps}_{given.share:g}_{given.seed}"
    return given.work / name


def _needed(steps: Steps, keep: str) -> int:
    """Return the bytes on disk at most: base, two whole steps, the prediction, and the steps."""
    whole = 2 * steps.size.parameters
    changed = _CHANGE_BYTES * steps.share * steps.size.parameters
    return int(4 * whole + steps.steps * (whole if keep == "folders" else changed))


def _run(given: Any) -> int:
    steps, folder = _steps(given), _folder(given)
    needed = _needed(steps, given.keep)
    there = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    say(
        f"{steps.size.parameters / 1e6:,.1f} M bf16 weights x {given.steps} steps, "
        f"{given.share:.2%} changing in a step, below {given.memory_gib:g} GiB; disk: at most "
        f"{needed / 1e9:.1f} GB in {folder}, of which {there / 1e9:.1f} GB are there"
    )
    if free_bytes(folder) < needed - there:
        raise UserError(
            f"{(needed - there) / 1e9:.1f} GB of free disk are needed",
            where=str(folder),
            way_out="--work DIR, or fewer --parameters",
        )
    found: dict[str, Any] = {"parameters": steps.size.parameters, "steps": given.steps}
    found |= {"share": given.share, "keep": given.keep, "threads": given.threads, "stages": {}}
    over = []
    for stage in STAGES:
        path = folder / f"{stage}.json"
        if path.is_file():
            say(f"{stage}: done before")
            found["stages"][stage] = json.loads(path.read_text())
            continue
        say(f"{stage}: from {folder}")
        words = (f"--{name}={value}" for name, value in _passed(given).items())
        cost = run_module("perf.large_model", "stage", stage, *words, shown=True)
        found["stages"][stage] = asdict(cost)
        write_json(path, asdict(cost))
        say(
            f"{stage}: {cost.wall_seconds:,.0f} s, {cost.cpu_seconds:,.0f} processor seconds, "
            f"{cost.report['read_bytes'] / 1e9:.2f} GB read, {cost.written_bytes / 1e9:.2f} GB "
            f"written, {cost.peak_bytes / _GIB:.2f} GiB at most"
        )
        if cost.peak_bytes > given.memory_gib * _GIB:
            over.append(stage)
    found["steps_bytes"] = sum(
        each.stat().st_size for each in (folder / "steps").rglob("*") if each.is_file()
    )
    say(f"all steps together: {found['steps_bytes'] / 1e9:.3f} GB")
    out = given.out / f"{folder.name}.json"
    write_json(out, {**found, "provenance": provenance({"seed": given.seed})})
    say(f"written to {out}")
    if not given.keep_files:
        shutil.rmtree(folder)
    if over:
        say(f"above {given.memory_gib:g} GiB: {', '.join(over)}")
    return 1 if over else 0


def _passed(given: Any) -> dict[str, Any]:
    names = ("parameters", "steps", "share", "seed", "keep", "threads", "work")
    found = {name: getattr(given, name) for name in names}
    return found | {"budget-gib": given.budget_gib, "update-steps": given.update_steps}


def arguments() -> Parser:
    """Describe the command line."""
    parser = Parser(prog="python -m perf.large_model", description=__doc__)
    below = parser.add_subparsers(dest="command", required=True)
    run, stage = below.add_parser("run"), below.add_parser("stage")
    stage.add_argument("stage", choices=STAGES)
    for each in (run, stage):
        each.add_argument("--parameters", type=float, default=1e9, help="weights, about")
        each.add_argument("--steps", type=count_of, default=50)
        each.add_argument("--share", type=float, default=0.01, help="that changes in a step")
        each.add_argument("--keep", choices=("deltas", "folders"), default="deltas")
        each.add_argument("--seed", type=int, default=0)
        each.add_argument("--threads", type=count_of, default=2)
        each.add_argument("--budget-gib", type=float, default=0.5, help="measure.memory_gib")
        each.add_argument("--update-steps", type=count_of, default=4, help="updates decomposed")
        each.add_argument("--work", type=path_of, default=_OUT / "work")
    run.add_argument("--memory-gib", type=float, default=2.0, help="exit 1 if a stage takes more")
    run.add_argument("--keep-files", action="store_true")
    run.add_argument("--out", type=path_of, default=_OUT)
    told = below.add_parser("table")
    told.add_argument("results", type=path_of, nargs="+")
    told.add_argument("--parameters", type=float, default=8e9)
    told.add_argument("--steps", type=count_of, default=500)
    return parser


def _main() -> int:
    given = arguments().parse_args()
    if given.command == "table":
        results = [json.loads(path.read_text()) for path in given.results]
        say(table(results, given.parameters, given.steps))
        return 0
    given.work = given.work.resolve()
    if given.command == "stage":
        _stage(given)
        return 0
    return _run(given)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(end(_main))
