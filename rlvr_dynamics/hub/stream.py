"""Measuring published steps of which only some tensors are on disk at a time.

A row of a Gram matrix needs all steps of the same tensor, so the tensors go through in groups. Of
every step there is an ordinary folder whose weight files have their true headers and their full
length but no content (sparse files); the byte ranges of a group are fetched into their places, the
group is measured, and the files are emptied again. Names, shapes and identities are the hub's, so
statistics are the same files as those of a trajectory that is here in full.

A range cannot be compared with the hash of its file. Therefore groups follow the order of the
files, and the hash is formed along the way: when the last group is in, every file whose bytes all
came in this process has been proved. What an earlier, interrupted call measured is not fetched
again, and the files concerned stay unproved; that is said.
"""

import hashlib
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.header import HEADER_LIMIT
from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.checkpoints.layout import Layout
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.checkpoints.tying import STREAMED, stored_pair
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.download import Advance, Job, download
from rlvr_dynamics.hub.http import Hub, Patience, Stopped, Transient
from rlvr_dynamics.hub.published import Pinned, RemoteFile
from rlvr_dynamics.system.atomic import atomic_folder, full_disk_is_a_user_error
from rlvr_dynamics.system.hardware import free_bytes
from rlvr_dynamics.system.progress import bar

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.trajectory import Trajectory
    from rlvr_dynamics.measurement import MeasureSettings

_FIRST_BYTES = 1 << 17
_COMPARED_BYTES = 1 << 24
_SHARE_OF_FREE_DISK = 0.9


def write_headers(hub: Hub, pinned: Mapping[int, Pinned], checkpoints: Path) -> None:
    """Publish a folder per step with everything but the values of the weights.

    Raises:
        UserError: The hub does not deliver, or a header is damaged.
    """
    for step, each in bar(pinned.items(), total=len(pinned), desc="headers", unit="step"):
        with atomic_folder(checkpoints / f"step_{step}") as folder:
            companions = [
                Job(each, file, folder / file.name) for file in each.files if not file.is_weights
            ]
            for _ in download(hub, companions, lambda _: None):
                pass
            for file in each.files:
                if file.is_weights:
                    _write_header(hub, each, file, folder / file.name)
            hashes = {file.name: file.sha256 or "" for file in each.files if file.is_weights}
            unproved = sorted(name for name, digest in hashes.items() if not digest)
            if unproved:
                raise UserError(
                    f"the hub gives no sha256 for {unproved[0]}",
                    where=each.source,
                    way_out="source.published.stream=false",
                )
            write_manifest(
                folder,
                step,
                f"{each.source}{STREAMED}",
                hashes=hashes,
                head_is_embedding=_head_is_embedding(hub, each, folder),
            )


def _head_is_embedding(hub: Hub, pinned: Pinned, folder: Path) -> bool | None:
    """Compare output head and embedding on the hub; None where they are not both stored.

    They are read to the first difference and not kept: which tensors a model has must be known
    before any of them is measured.
    """
    layout = read_layout(folder)
    pair = stored_pair(layout)
    if pair is None:
        return None
    files = [next(f for f in pinned.files if f.name == layout.home[name]) for name in pair]
    starts = [layout.entry(name).begin for name in pair]
    size = layout.entry(pair[0]).end - starts[0]
    place, block = 0, _FIRST_BYTES
    while place < size:
        stop = min(size, place + block)
        one, other = (
            _read(hub, pinned, file, start + place, start + stop)
            for file, start in zip(files, starts, strict=True)
        )
        if one != other:
            return False
        place, block = stop, _COMPARED_BYTES
    return True


def _write_header(hub: Hub, pinned: Pinned, file: RemoteFile, path: Path) -> None:
    where = f"{pinned.source}: {file.name}"
    data = _read(hub, pinned, file, 0, min(file.size, _FIRST_BYTES))
    length = 8 + int.from_bytes(data[:8], "little")
    if length > min(file.size, HEADER_LIMIT):
        raise UserError(
            "damaged safetensors header: it is longer than the file",
            where=where,
            way_out="take another step; this one cannot be read",
        )
    if length > len(data):
        data += _read(hub, pinned, file, len(data), length)
    with path.open("wb") as sparse:
        sparse.write(data[:length])
        sparse.truncate(file.size)


def _read(hub: Hub, pinned: Pinned, file: RemoteFile, start: int, stop: int) -> bytes:
    found = bytearray()

    def keep(_place: int, block: bytes) -> None:
        found.extend(block)

    _fetch_range(hub, pinned, file, start, stop, keep)
    return bytes(found)


def _fetch_range(
    hub: Hub, pinned: Pinned, file: RemoteFile, start: int, stop: int, keep: Any
) -> None:
    """Hand the bytes of a range to `keep(place, block)` in rising order, each once."""
    patience = Patience(hub.stop)
    while start < stop:
        try:
            with hub.bytes_from(pinned.repo, pinned.commit, pinned.path(file), start, stop) as (
                first,
                blocks,
            ):
                place = first
                for block in blocks:
                    if hub.stop.is_set():
                        raise Stopped
                    # A server that ignores ranges sends the whole file: what lies before is passed.
                    wanted = block[max(0, start - place) : max(0, stop - place)]
                    place += len(block)
                    if wanted:
                        keep(start, wanted)
                        start += len(wanted)
                        patience.succeeded()
                    if start >= stop:
                        break
            if start < stop:
                raise Transient(f"{stop - start} bytes are missing")
        except Transient as reason:
            patience.wait(reason, f"{pinned.source}: {file.name}")


@dataclass
class _Proof:
    """The hash of a file so far: of its first `place` bytes, as long as they came in order."""

    place: int
    digest: Any


class _Streamer:
    """The byte ranges of a group, to and from the sparse files of all steps."""

    def __init__(
        self, hub: Hub, pinned: Mapping[int, Pinned], layouts: Mapping[int, Layout]
    ) -> None:
        self.hub, self.pinned, self.layouts = hub, pinned, layouts
        self.lock = threading.Lock()
        self.proofs: dict[tuple[int, str], _Proof] = {}
        self.proved: set[tuple[int, str]] = set()
        self.wrong: list[tuple[int, str]] = []
        for step, layout in layouts.items():
            for name, shard in layout.shards.items():
                with shard.path.open("rb") as file:
                    header = file.read(shard.data_start)
                self.proofs[step, name] = _Proof(shard.data_start, hashlib.sha256(header))

    def fill(self, names: Sequence[str], advance: Advance) -> None:
        """Fetch the values of some tensors of every step."""
        tasks = [
            (step, file, names_there)
            for step, layout in self.layouts.items()
            for file, names_there in _by_file(layout, names).items()
        ]
        with ThreadPoolExecutor(max_workers=self.hub.connections) as pool:
            try:
                for done in [pool.submit(self._fill_file, *task, advance) for task in tasks]:
                    done.result()
            except BaseException:
                self.hub.end()
                raise

    def _fill_file(self, step: int, name: str, names: list[str], advance: Advance) -> None:
        shard = self.layouts[step].shards[name]
        file = next(each for each in self.pinned[step].files if each.name == name)
        proof = self.proofs[step, name]
        with full_disk_is_a_user_error(shard.path), shard.path.open("r+b", buffering=0) as sparse:

            def keep(place: int, block: bytes) -> None:
                os.pwrite(sparse.fileno(), block, place)
                if proof.place == place:
                    proof.digest.update(block)
                    proof.place += len(block)
                with self.lock:
                    advance(len(block))

            for start, stop in _joined([shard.entries[each] for each in names]):
                _fetch_range(self.hub, self.pinned[step], file, start, stop, keep)
        if proof.place == file.size and (step, name) not in self.proved:
            self.proved.add((step, name))
            if proof.digest.hexdigest() != file.sha256:
                self.wrong.append((step, name))

    def empty(self) -> None:
        """Give the disk back: keep the headers and lengths of all files, and nothing else."""
        for layout in self.layouts.values():
            for shard in layout.shards.values():
                os.truncate(shard.path, shard.data_start)
                os.truncate(shard.path, shard.size)


def _by_file(layout: Layout, names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: layout.entry(name).begin):
        found.setdefault(layout.home[name], []).append(name)
    return found


def _joined(entries: Sequence[Any]) -> list[tuple[int, int]]:
    """Return the byte ranges of tensors, those that touch as one."""
    ranges: list[tuple[int, int]] = []
    for entry in sorted(entries, key=lambda entry: entry.begin):
        if ranges and ranges[-1][1] == entry.begin:
            ranges[-1] = (ranges[-1][0], entry.end)
        elif entry.end > entry.begin:
            ranges.append((entry.begin, entry.end))
    return ranges


def groups_of(
    layouts: Mapping[int, Layout], names: Sequence[str], limit_bytes: int
) -> list[list[str]]:
    """Divide tensors into groups whose values of all steps fit the limit, in the files' order.

    A tensor that is larger than the limit is a group of its own.
    """
    first = next(iter(layouts.values()))
    order = sorted(names, key=lambda name: (first.home[name], first.entry(name).begin))
    groups: list[list[str]] = [[]]
    held = 0
    for name in order:
        size = _bytes_of(layouts, [name])
        if groups[-1] and held + size > limit_bytes:
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


def collect_by_groups(
    hub: Hub,
    pinned: Mapping[int, Pinned],
    trajectory: "Trajectory",
    settings: "MeasureSettings",
    folder: Path,
    *,
    limit_bytes: int,
) -> None:
    """Measure every tensor of a streamed trajectory; its statistics then lie below `folder`.

    Args:
        hub: Where from.
        pinned: The steps' commits.
        trajectory: The base and the steps' sparse folders.
        settings: How to measure.
        folder: Where `measure` looks for statistics.
        limit_bytes: Bytes of the steps' weights on disk at a time.

    Raises:
        UserError: The hub does not deliver, the disk does not hold a tensor of all steps, or bytes
            that came are not those of the file that the hub describes.
    """
    from rlvr_dynamics.measurement.engine import collect_all, measured_names
    from rlvr_dynamics.measurement.statistics import is_collected

    layouts = {step: read_layout(trajectory.folder(step)) for step in trajectory.steps}
    streamer = _Streamer(hub, pinned, layouts)
    streamer.empty()
    free = int(free_bytes(folder) * _SHARE_OF_FREE_DISK)
    limit = min(limit_bytes, free)
    names = [
        name
        for name in measured_names(trajectory)
        if not is_collected(trajectory, name, settings, folder)
    ]
    if not names:
        return
    largest = max(names, key=lambda name: _bytes_of(layouts, [name]))
    need = _bytes_of(layouts, [largest])
    if need > free:
        raise UserError(
            f"one tensor of all steps, {largest}, needs {need:,} bytes, {free:,} can be used",
            where=str(folder),
            way_out="choose run_dir=... on a larger disk, or fewer source.published.steps",
        )
    trajectory.prove_on_reading(threads=settings.threads)
    total = _bytes_of(layouts, names)
    with bar(total=total, desc="stream", unit="B", unit_scale=True) as shown:
        for group in groups_of(layouts, names, limit):
            try:
                streamer.fill(group, shown.update)
                if streamer.wrong:
                    raise _wrong_bytes(streamer, folder)
                collect_all(trajectory.of_tensors(group), settings, folder, progress=False)
            finally:
                streamer.empty()
    files = len(streamer.proofs)
    if len(streamer.proved) < files:
        print(
            f"{files - len(streamer.proved)} of {files} weight files were fetched in parts by "
            "several calls, so their hashes could not be compared with the hub's"
        )


def _wrong_bytes(streamer: _Streamer, folder: Path) -> UserError:
    """Remove what was measured: earlier groups may have had the wrong bytes."""
    step, name = streamer.wrong[0]
    shutil.rmtree(folder / "statistics", ignore_errors=True)
    shutil.rmtree(folder / "directions", ignore_errors=True)
    return UserError(
        f"the bytes of {name} of step {step} are not those that the hub describes (hash differs)",
        where=streamer.pinned[step].source,
        way_out="run the same command again; what was measured from them was removed",
    )
