"""Manages engine processes: starts them, receives events, detects death or stalls, ends them.

Events arrive as JSON lines through a dedicated pipe; everything vLLM prints goes to a log file.
An engine watches its standard input, so it ends whenever this process ends, for whatever reason.
"""

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from rlvr_dynamics.errors import StageFailed, UserError
from rlvr_dynamics.scoring.environment import CPU_VARIABLES, VLLM_VARIABLES
from rlvr_dynamics.scoring.gpu_memory import MemoryGuard, read_gpu_memory
from rlvr_dynamics.scoring.jobs import EngineSettings
from rlvr_dynamics.system import children
from rlvr_dynamics.system.atomic import write_json

_log = logging.getLogger(__name__)

LOG_TAIL_LINES = 30
_NOISE = ("nanobind", " - leaked", " - ... skipped", "See https://nanobind")
_EXIT_SECONDS = 30.0

Event = dict[str, Any]
Job = dict[str, Any]


def engine_command(job_file: Path) -> list[str]:
    """Return the command line of one engine."""
    return [sys.executable, "-m", "rlvr_dynamics.scoring.engine", str(job_file)]


def gpus_of_engines(settings: EngineSettings) -> list[tuple[str, ...]]:
    """Return for each engine the names of its GPUs, as in CUDA_VISIBLE_DEVICES; none on the CPU.

    Raises:
        UserError: CUDA_VISIBLE_DEVICES names fewer GPUs than the engines need.
    """
    if settings.device == "cpu":
        return [()] * settings.engines
    each = settings.tensor_parallel
    needed = each * settings.engines
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = list(map(str, range(needed)))
    if given is not None:
        names = [name.strip() for name in given.split(",") if name.strip()]
    if len(names) < needed:
        raise UserError(
            f"{settings.engines} engines of {each} GPUs need {needed}, {len(names)} are visible",
            where=f"CUDA_VISIBLE_DEVICES={given}",
            way_out="scoring.engines=null takes as many as there are GPUs for",
        )
    return [tuple(names[first : first + each]) for first in range(0, needed, each)]


def engine_environment(settings: EngineSettings, gpus: Sequence[str] = ()) -> dict[str, str]:
    """Return the environment of one engine.

    Args:
        settings: Device, threads and cache.
        gpus: The GPUs that it may see.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VERL_")}
    environment |= VLLM_VARIABLES | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    if settings.device == "cpu":
        environment.update(
            CPU_VARIABLES,
            OMP_NUM_THREADS=str(settings.threads),
            VLLM_CPU_KVCACHE_SPACE=str(settings.kv_cache_gib),
        )
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return environment


def log_tail(log: Path) -> str:
    """Return the last informative lines of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    telling = [line for line in lines if line.strip() and not line.startswith(_NOISE)]
    return "\n".join(telling[-LOG_TAIL_LINES:])


class EngineProcess:
    """One running engine, the leader of its own process group."""

    def __init__(
        self,
        number: int,
        job: Job,
        environment: dict[str, str],
        logs: Path,
        events: queue.SimpleQueue,
    ) -> None:
        """Start the engine and a thread that puts (engine, event) into `events`; None at the end.

        Args:
            number: Used in the names of the log and the job file.
            job: What the engine reads (see `engine`); the pipe's number is added.
            environment: Its environment.
            logs: Folder of the log file.
            events: Receives the events.
        """
        self.number = number
        self.log = logs / f"engine_{number}.log"
        self.done = False
        self.began = self.heard = time.monotonic()
        logs.mkdir(parents=True, exist_ok=True)
        job_file = Path(job["raw"]) / f"engine_{number}.json"
        read_end, write_end = os.pipe()
        try:
            write_json(job_file, {**job, "events": write_end})
            with self.log.open("ab") as log:
                self.process = children.start(
                    engine_command(job_file),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    pass_fds=(write_end,),
                )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        pipe = os.fdopen(read_end, encoding="utf-8")
        threading.Thread(target=self._listen, args=(pipe, events), daemon=True).start()

    def _listen(self, pipe: IO[str], events: queue.SimpleQueue) -> None:
        with pipe:
            for line in pipe:
                # A killed engine may leave an incomplete line.
                with contextlib.suppress(json.JSONDecodeError):
                    events.put((self, json.loads(line)))
        events.put((self, None))

    def failure(self, what: str) -> StageFailed:
        """Return the error for an engine that died or hangs, with the end of its log."""
        return StageFailed(f"{what}; its log is {self.log}; its last lines:\n{log_tail(self.log)}")

    def ended(self) -> None:
        """Collect the exit status after the last event.

        Raises:
            StageFailed: The engine did not finish its work.
        """
        if not children.end(self.process, _EXIT_SECONDS):
            raise self.failure("the scoring engine does not end")
        code = self.process.returncode
        if not self.done or code != 0:
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise self.failure(f"the scoring engine ended early ({name})")


def run_engines(
    jobs: Iterable[Job],
    settings: EngineSettings,
    logs: Path,
    on_event: Callable[[Job, Event], list[Job]],
) -> None:
    """Run jobs, at most `settings.engines` at once; on GPUs each on its own, once they are free.

    When an engine fails, the others go on as long as there is work for them, so one broken GPU does
    not cost what the others are at; then the failure is raised.

    Args:
        jobs: One per engine process.
        settings: Also sets after how many silent seconds an engine counts as hung.
        logs: Folder of the log files.
        on_event: Called with the job and each event, to which the engine's number (`engine`) and
            the seconds since its start (`age`) are added; may return further jobs.

    Raises:
        StageFailed: An engine died or hung, or GPU memory was not freed.
        UserError: An engine found a mistake in its input; all engines are ended.
    """
    pending = list(jobs)
    events: queue.SimpleQueue = queue.SimpleQueue()
    slots = gpus_of_engines(settings)
    guards = [MemoryGuard(settings, gpus, read_gpu_memory) for gpus in slots]
    free = list(range(len(slots)))  # no slot of a failed engine returns
    running: dict[EngineProcess, tuple[Job, int]] = {}
    failures: list[StageFailed] = []
    started = 0

    def failed(error: StageFailed) -> None:
        failures.append(error)
        if running:
            _log.error("%s\nThe other engines go on.", error)

    try:
        while running or (pending and free):
            while pending and free:
                slot = free.pop(0)
                try:
                    guards[slot].wait()
                except StageFailed as error:
                    failed(error)
                    continue
                job = pending.pop(0)
                environment = engine_environment(settings, slots[slot])
                engine = EngineProcess(started, job, environment, logs, events)
                running[engine] = job, slot
                started += 1
            try:
                engine, event = events.get(timeout=min(5.0, settings.stall_seconds))
            except queue.Empty:
                engine, event = None, {}
            if engine in running:
                engine.heard = time.monotonic()
                job, slot = running[engine]
                if event is None:
                    del running[engine]
                    try:
                        engine.ended()
                        free.append(slot)
                    except StageFailed as error:
                        failed(error)
                elif event["event"] == "user_error":
                    raise UserError(event["what"], where=event["where"], way_out=event["way_out"])
                elif event["event"] == "done":
                    engine.done = True
                else:
                    event |= {"engine": engine.number, "age": engine.heard - engine.began}
                    pending.extend(on_event(job, event))
            for engine in list(running):
                limit = settings.stall_seconds
                if time.monotonic() - engine.heard > limit and events.empty():
                    del running[engine]
                    children.end(engine.process)
                    failed(engine.failure(f"the scoring engine was silent for {limit:.0f} s"))
    finally:
        for engine in running:
            children.end(engine.process)
    if failures:
        raise failures[0]
