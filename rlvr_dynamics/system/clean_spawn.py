"""Spawned processes that do not import the parent's main script.

Spawn runs the main script again in every child. That fails for a script from standard input,
repeats the script's work if it has no main guard, and imports far too much inside a Ray worker.
Our workers do not need it, because their code is in modules.
"""

import threading
from multiprocessing import popen_spawn_posix, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

_lock = threading.Lock()


def _popen(process: BaseProcess) -> popen_spawn_posix.Popen:
    starter = threading.get_ident()

    def without_main(name: str) -> dict[str, Any]:
        data = original(name)
        if threading.get_ident() == starter:
            data.pop("init_main_from_name", None)
            data.pop("init_main_from_path", None)
        return data

    with _lock:
        original = spawn.get_preparation_data
        spawn.get_preparation_data = without_main
        try:
            return popen_spawn_posix.Popen(process)
        finally:
            spawn.get_preparation_data = original


class CleanProcess(SpawnProcess):
    """A spawned process that does not import the parent's main script."""

    _Popen = staticmethod(_popen)  # pyright: ignore[reportAssignmentType]


class CleanSpawnContext(SpawnContext):
    """A multiprocessing context whose processes are `CleanProcess`."""

    Process = CleanProcess
