"""Predict one checkpoint from a run: our one pass against the two plain scripts."""

import os
import shutil
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from perf.machine import PLAIN, by_turns, plain_seconds_per_gb, warm_page_cache
from perf.measure_process import Cost, run_module
from perf.models import SIZES, Files
from perf.report import Part, Row
from perf.settings import Settings

SCRIPTS = {
    "released": "two scripts as released: float16 updates flushed to disk, float32 stack in memory",
    "lenient": "two lenient scripts: the same, but the updates may stay in the page cache",
}
WEIGHTS = "model.safetensors"


def measure(settings: Settings, say: Callable[[str], None]) -> Part:
    """Run both sides in turn and compare time, memory, disk and the predicted weights."""
    size, last = settings.trajectory_size, settings.trajectory_steps
    say(f"writing {last} checkpoints of {size} parameters")
    files = settings.files(size)
    base, target = files.base, 2 * last
    out = settings.work / "predictions"
    read_bytes = files.file_bytes * (last + 1)

    warm_page_cache(files.paths(last))
    plain = plain_seconds_per_gb(files.paths(last), settings.repeats)
    sides = sides_of(files, last, out)
    runs: dict[str, list[list[Cost]]] = {side: [] for side in sides}
    for repeat, side in by_turns(list(sides), settings.repeats):
        say(f"{side}, run {repeat + 1} of {settings.repeats}")
        clear(out, side)
        os.sync()  # so that no side waits for another side's writes
        runs[side].append(sides[side]())
    agreement = agreement_of(
        base, predicted_in(out / "ours"), out / "scripts" / "predicted" / WEIGHTS
    )
    predicted_bytes = files.file_bytes
    disk = {
        "ours": _bytes_below(out / "ours") - _bytes_below(predicted_in(out / "ours").parent),
        "scripts": _bytes_below(out / "deltas") + _bytes_below(out / "scripts") - predicted_bytes,
    }
    if not settings.keep:
        shutil.rmtree(out)
    return Part(
        title=f"Predicting a checkpoint: {last} checkpoints of {size} parameters "
        f"({SIZES[size].parameters / 1e6:.1f} M, bf16, {read_bytes / 1e9:.2f} GB)",
        rows=_rows(runs, disk, read_bytes, plain, agreement),
        notes=[
            "ours: `Trajectory.open` and `EXTRAPOLATORS['relex'].run` with default settings; every "
            "side in processes of its own, the page cache warm, the order of the sides "
            f"alternating, median of {settings.repeats}.",
            "Own memory leaves out mapped files (page cache); the two scripts' peak is the larger "
            "of the two. Time and writes are their sum. Python with torch is in every process.",
            "Our run hashes what it wrote, waits until it is on the disk and checks that all "
            "weights are finite. The released design waits for its updates to be on the disk as "
            "well; the lenient scripts leave that to the system, which does it after the clock has "
            "stopped. The files carry no manifests, so no side hashes its input.",
            "The scripts save one direction per tensor; saving all T would add T x d float32.",
            f"In the last observed step {files.changed_share:.1%} of the elements differ from the "
            "base. The scripts' float16 updates round; that is part of the difference between the "
            "two predictions.",
        ],
        details={
            "steps": last,
            "target": target,
            "parameters": SIZES[size].parameters,
            "dtype": "bfloat16",
            "read_bytes": read_bytes,
            "changed_share": files.changed_share,
            "agreement": agreement,
            "runs": {
                side: [[vars(cost) for cost in costs] for costs in found]
                for side, found in runs.items()
            },
        },
    )


def sides_of(
    files: Files, last: int, out: Path, *, one_thread: bool = False
) -> dict[str, Callable[[], list[Cost]]]:
    """Return the three ways to predict step 2 T from the steps up to T, each as its processes."""
    base, checkpoints, target = files.base, files.checkpoints(last), 2 * last
    run = partial(run_module, one_thread=one_thread)

    def ours() -> list[Cost]:
        common = ("--base", base, "--checkpoints", checkpoints, "--target", target)
        threads = ("--threads", 1) if one_thread else ()
        return [run("perf.ours", "relex", *common, "--out", out / "ours", *threads)]

    def scripts(*mapped: str) -> list[Cost]:
        given = ("--base", base, "--last", last, "--deltas", out / "deltas", *mapped)
        first = run("perf.reference", "differences", "--checkpoints", checkpoints, *given)
        rest = ("--target", target, "--out", out / "scripts")
        return [first, run("perf.reference", "extrapolate", *given, *rest)]

    return {"released": lambda: scripts("--mapped"), "ours": ours, "lenient": scripts}


def _rows(
    runs: dict[str, list[list[Cost]]],
    disk: dict[str, int],
    read_bytes: int,
    plain: float,
    agreement: dict[str, float],
) -> list[Row]:
    values: dict[str, tuple[str, Callable[[list[Cost]], float]]] = {
        "time, start-up included": ("s", lambda costs: sum(c.wall_seconds for c in costs)),
        "time without start-up": ("s", lambda costs: sum(c.inner_seconds for c in costs)),
        "peak memory of its own": ("GB", lambda costs: max(c.peak_bytes for c in costs) / 1e9),
        "peak resident, mapped files too": (
            "GB",
            lambda costs: max(c.peak_resident_bytes for c in costs) / 1e9,
        ),
    }

    def middle(side: str, value: Callable[[list[Cost]], float]) -> float:
        return statistics.median(value(costs) for costs in runs[side])

    rows = [
        Row(what, unit, middle("ours", value), middle(side, value), against)
        for what, (unit, value) in values.items()
        for side, against in SCRIPTS.items()
    ]
    inner = middle("ours", values["time without start-up"][1])

    def written(costs: list[Cost]) -> float:
        return sum(cost.written_bytes for cost in costs) / 1e9

    return [
        *rows,
        Row("time without start-up, per GB read", "s/GB", inner / read_bytes * 1e9, plain, PLAIN),
        Row(
            "intermediate files",
            "GB",
            disk["ours"] / 1e9,
            disk["scripts"] / 1e9,
            SCRIPTS["lenient"],
        ),
        Row(
            "bytes written, prediction included",
            "GB",
            middle("ours", written),
            middle("lenient", written),
            SCRIPTS["lenient"],
        ),
        Row(
            "difference of the predicted updates",
            "relative",
            agreement["relative_difference"],
            against="the scripts' prediction",
            comparable=False,
        ),
        Row(
            "predicted elements that differ in bf16",
            "share",
            agreement["differing_share"],
            against="the scripts' prediction",
            comparable=False,
        ),
    ]


def clear(out: Path, side: str) -> None:
    """Remove what a side wrote."""
    for folder in ("ours",) if side == "ours" else ("deltas", "scripts"):
        shutil.rmtree(out / folder, ignore_errors=True)


def predicted_in(out: Path) -> Path:
    """Return the only weight file below a folder."""
    return next(out.rglob(WEIGHTS))


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def agreement_of(base: Path, ours: Path, scripts: Path) -> dict[str, float]:
    """Compare two predictions of the same checkpoint.

    Returns:
        relative_difference: ‖ours − scripts‖_F / ‖ours − base‖_F over all tensors;
        differing_share: share of the elements that differ in bf16.
    """
    before, one, other = load_file(base / WEIGHTS), load_file(ours), load_file(scripts)
    difference = update = torch.zeros((), dtype=torch.float64)
    differing = total = 0
    for name, tensor in before.items():
        wide = one[name].float()
        difference = difference + (wide - other[name].float()).square().sum(dtype=torch.float64)
        update = update + (wide - tensor.float()).square().sum(dtype=torch.float64)
        differing += int((one[name] != other[name]).sum())
        total += tensor.numel()
    return {
        "relative_difference": float((difference / update).sqrt()),
        "differing_share": differing / total,
    }
