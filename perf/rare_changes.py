"""Predict one checkpoint where few values change in a step: processor seconds on one thread."""

import shutil
import statistics
from collections.abc import Callable

from perf.machine import by_turns, warm_page_cache
from perf.models import SIZES
from perf.report import Part, Row
from perf.settings import Settings
from perf.trajectory import SCRIPTS, WEIGHTS, agreement_of, clear, predicted_in, sides_of


def measure(settings: Settings, say: Callable[[str], None]) -> Part:
    """Run all sides in turn on a trajectory of each pace."""
    size, last = settings.trajectory_size, settings.trajectory_steps
    out = settings.work / "predictions"
    rows: list[Row] = []
    details = []
    for pace in settings.paces:
        say(f"writing {last} checkpoints of {size} parameters, pace {pace:g}")
        files = settings.files(size, pace)
        label = f"{files.step_share:.1%} change in a step"
        warm_page_cache(files.paths(last))
        sides = sides_of(files, last, out, one_thread=True)
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for repeat, side in by_turns(list(sides), settings.repeats):
            say(f"{label}: {side}, run {repeat + 1} of {settings.repeats}")
            clear(out, side)
            seconds[side].append(sum(cost.cpu_seconds for cost in sides[side]()))
        scripts = out / "scripts" / "predicted" / WEIGHTS
        agreement = agreement_of(files.base, predicted_in(out / "ours"), scripts)
        middle = {side: statistics.median(each) for side, each in seconds.items()}
        rows += [
            Row(f"{label}: processor seconds", "s", middle["ours"], middle[side], against)
            for side, against in SCRIPTS.items()
        ]
        details.append(
            {
                "pace": pace,
                "step_share": files.step_share,
                "changed_share": files.changed_share,
                "processor_seconds": seconds,
                "agreement": agreement,
            }
        )
        shutil.rmtree(out)
        if not settings.keep:
            shutil.rmtree(files.root)
    return Part(
        title=f"Predicting a checkpoint where little changes: {last} checkpoints of {size} "
        f"parameters ({SIZES[size].parameters / 1e6:.1f} M, bf16)",
        rows=rows,
        notes=[
            "User and system time of all processes of a side, start-up included, one thread each, "
            f"page cache warm, median of {settings.repeats}. The updates imitate float32 master "
            "weights that are rounded to bf16 when they are saved.",
        ],
        details={"trajectories": details, "dtype": "bfloat16", "steps": last},
    )
