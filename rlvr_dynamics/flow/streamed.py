"""Measuring a published trajectory that does not fit the disk.

A row of a Gram matrix needs all steps of the same tensor, so the tensors go through in groups:
those of a group are fetched, measured and removed. Groups follow the order of the files, so that
the hash of every file can be compared with the hub's at the end. What an earlier, interrupted call
measured is not fetched again, and the files concerned stay unproved; that is said.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr_dynamics.checkpoints.layout import Layout
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.http import Hub
from rlvr_dynamics.hub.lock import STEPS
from rlvr_dynamics.hub.published import read_steps
from rlvr_dynamics.hub.stream import Streamer
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.system.hardware import free_bytes
from rlvr_dynamics.system.progress import bar

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints import Trajectory
    from rlvr_dynamics.measurement import MeasureSettings

_SHARE_OF_FREE_DISK = 0.9


def collect_streamed(
    run: Run, trajectory: "Trajectory", settings: "MeasureSettings", folder: Path
) -> None:
    """Measure every tensor of a streamed trajectory; `measure` then finds them measured.

    Args:
        run: The run, whose lock file has the steps' commits.
        trajectory: The base and the steps' sparse folders.
        settings: How to measure.
        folder: Where `measure` looks for statistics.

    Raises:
        UserError: The hub does not deliver, the disk does not hold a tensor of all steps, or bytes
            that came are not those of the file that the hub describes.
    """
    from rlvr_dynamics.measurement.engine import collect_all, measured_names
    from rlvr_dynamics.measurement.statistics import is_collected

    published = run.config.source.published
    if published is None:
        raise ValueError("nothing is published")
    layouts = {step: read_layout(trajectory.folder(step)) for step in trajectory.steps}
    names = [
        name
        for name in measured_names(trajectory)
        if not is_collected(trajectory, name, settings, folder)
    ]
    with Hub() as hub:
        streamer = Streamer(hub, read_steps(run.folder / STEPS), layouts)
        streamer.empty()
        if not names:
            return
        groups = _groups(layouts, names, int(published.stream_gib * 2**30), folder)
        trajectory.prove_on_reading(threads=settings.threads)
        total = _bytes_of(layouts, names)
        with bar(total=total, desc="stream", unit="B", unit_scale=True) as shown:
            for group in groups:
                try:
                    streamer.fill(group, shown.update)
                    if streamer.wrong:
                        raise _wrong_bytes(streamer, folder)
                    collect_all(trajectory.of_tensors(group), settings, folder, progress=False)
                finally:
                    streamer.empty()
    files, proved = len(streamer.proofs), len(streamer.proved)
    if proved < files:
        print(
            f"{files - proved} of {files} weight files were fetched in parts by several calls, so "
            "their hashes could not be compared with the hub's"
        )


def _groups(
    layouts: Mapping[int, Layout], names: Sequence[str], limit_bytes: int, folder: Path
) -> list[list[str]]:
    """Divide tensors into groups whose values of all steps fit the limit, in the files' order.

    A tensor that is larger than the limit is a group of its own, if the disk holds it.
    """
    free = int(free_bytes(folder) * _SHARE_OF_FREE_DISK)
    first = next(iter(layouts.values()))
    groups: list[list[str]] = [[]]
    held = 0
    for name in sorted(names, key=lambda name: (first.home[name], first.entry(name).begin)):
        size = _bytes_of(layouts, [name])
        if size > free:
            raise UserError(
                f"one tensor of all steps, {name}, needs {size:,} bytes, {free:,} can be used",
                where=str(folder),
                way_out="choose run_dir=... on a larger disk, or fewer source.published.steps",
            )
        if groups[-1] and held + size > min(limit_bytes, free):
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
    return groups


def _bytes_of(layouts: Mapping[int, Layout], names: Sequence[str]) -> int:
    return sum(
        layout.entry(name).end - layout.entry(name).begin
        for layout in layouts.values()
        for name in names
    )


def _wrong_bytes(streamer: Streamer, folder: Path) -> UserError:
    """Remove what was measured: earlier groups may have had the wrong bytes."""
    step, name = streamer.wrong[0]
    shutil.rmtree(folder / "statistics", ignore_errors=True)
    shutil.rmtree(folder / "directions", ignore_errors=True)
    return UserError(
        f"the bytes of {name} of step {step} are not those that the hub describes (hash differs)",
        where=streamer.pinned[step].source,
        way_out="run the same command again; what was measured from them was removed",
    )
