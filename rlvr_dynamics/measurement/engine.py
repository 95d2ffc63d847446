"""Read every tensor once: with threads on this machine, or on a Ray cluster.

The work is split by tensor, on a cluster large tensors also by their elements. A task publishes its
tensor's file, so an interrupted measurement resumes with the tensors that have no file, wherever
the tasks run.
"""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from rlvr_dynamics.checkpoints.differences import rooms_for
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.measurement.collect import collect_part, collect_to_file, device_of
from rlvr_dynamics.measurement.first_pass import Part, spans_of
from rlvr_dynamics.measurement.memory import bytes_of, kept_bytes, working_set
from rlvr_dynamics.measurement.settings import MeasureSettings
from rlvr_dynamics.system.progress import bar
from rlvr_dynamics.system.threads import Memory, one_thread_each

Update = Callable[[int], Any]


def measured_names(trajectory: Trajectory) -> list[str]:
    """Return the tensors that have elements."""
    return [name for name in trajectory.names if trajectory.numel(name)]


def collect_all(
    trajectory: Trajectory, settings: MeasureSettings, folder: Path, progress: bool
) -> None:
    """Publish the statistics of every tensor below `folder`.

    Raises:
        UserError: A weight is NaN or infinite, or Ray cannot be used.
    """
    # Largest first, so that no thread works alone on it at the end.
    names = sorted(measured_names(trajectory), key=lambda name: (-trajectory.numel(name), name))
    total = sum(bytes_of(trajectory, name) for name in names)
    run = _on_ray if settings.engine == "ray" else _on_threads
    with bar(total=total, desc="measure", unit="B", unit_scale=True, disable=not progress) as shown:
        run(trajectory, names, settings, folder, shown.update)
        shown.update(total - shown.n)


def _on_threads(
    trajectory: Trajectory,
    names: list[str],
    settings: MeasureSettings,
    folder: Path,
    update: Update,
) -> None:
    memory, rooms = Memory(settings.budget_bytes), rooms_for(settings.threads)
    if device_of(settings) == "cuda":
        # PyTorch loads the GPU's linear algebra at the first call, and fails if two threads make
        # it at the same time ("lazy wrapper should be called at most once").
        torch.linalg.eigh(torch.eye(1, device="cuda"))

    def collect(name: str) -> None:
        room = rooms.get()
        try:
            held = working_set(trajectory, name, settings) + kept_bytes(trajectory, name, settings)
            with memory.hold(held):
                collect_to_file(trajectory, name, settings, folder, update, room)
        finally:
            rooms.put(room)

    with one_thread_each(), ThreadPoolExecutor(max_workers=settings.threads) as pool:
        try:
            for _ in pool.map(collect, names):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _collect_remotely(
    trajectory: Trajectory,
    name: str,
    settings: MeasureSettings,
    folder: Path,
    *parts: Part | None,
) -> None:
    with one_thread_each():
        collect_to_file(trajectory, name, settings, folder, parts=parts)


def _part_remotely(
    trajectory: Trajectory,
    name: str,
    settings: MeasureSettings,
    folder: Path,
    span: tuple[int, int],
) -> Part | None:
    with one_thread_each():
        return collect_part(trajectory, name, settings, folder, span)


def _check_address(address: str | None) -> None:
    """Check that the cluster answers; Ray itself would wait silently for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # started here, or found by Ray itself ("auto")
    try:
        socket.create_connection((host, int(port)), timeout=10.0).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers: {error}",
            where=f"measure.ray_address={address}",
            way_out="start one with `ray start --head`, or measure.engine=local",
        ) from error


def _on_ray(
    trajectory: Trajectory,
    names: list[str],
    settings: MeasureSettings,
    folder: Path,
    update: Update,
) -> None:
    import ray
    from ray.exceptions import RayError, RayTaskError

    started = not ray.is_initialized()
    if started:
        _check_address(settings.ray_address)
        try:
            ray.init(
                # By default Ray joins any cluster named in RAY_ADDRESS or a file in /tmp.
                address=settings.ray_address or "local",
                num_cpus=None if settings.ray_address else settings.threads,
                include_dashboard=False,
                log_to_driver=False,
            )
        except (RayError, ConnectionError, RuntimeError) as error:
            raise UserError(
                f"Ray cannot be reached: {error}",
                where=f"measure.ray_address={settings.ray_address}",
                way_out="start a cluster with `ray start --head`, or measure.engine=local",
            ) from error
    try:
        gpus = 1 if settings.device == "cuda" else 0
        if gpus and not ray.cluster_resources().get("GPU"):
            raise UserError(
                "measure.device=cuda, and no node of the Ray cluster has a GPU",
                where=f"measure.ray_address={settings.ray_address}",
                way_out="measure.device=auto",
            )
        task: Any = ray.remote(num_cpus=1, num_gpus=gpus)(_collect_remotely)
        part: Any = ray.remote(num_cpus=1, num_gpus=gpus)(_part_remotely)
        common, place = ray.put(trajectory), Path(folder).resolve()

        def parts_of(name: str) -> Sequence[Any]:
            spans = spans_of(trajectory.numel(name))
            if len(spans) == 1:
                return []
            return [part.remote(common, name, settings, place, each) for each in spans]

        waiting = {
            task.remote(common, name, settings, place, *parts_of(name)): name for name in names
        }
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            try:
                ray.get(done)
            except RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise error.cause from error
                raise
            update(bytes_of(trajectory, waiting.pop(done)))
    finally:
        if started:
            ray.shutdown()
