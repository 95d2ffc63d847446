"""Runs verl under a watchdog, publishes checkpoints as they appear and resumes after a kill."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from rlvr_dynamics.errors import StageFailed, UserError
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.system import children
from rlvr_dynamics.system.processes import MARKER, end_all, folder_prefix, is_alive, workers
from rlvr_dynamics.system.progress import bar
from rlvr_dynamics.training.jump_records import JumpRecords
from rlvr_dynamics.training.stall import stall_limit
from rlvr_dynamics.training.verl_command import verl_command
from rlvr_dynamics.training.verl_environment import environment, joining_overrides
from rlvr_dynamics.training.verl_metrics import (
    REWARD,
    STEP_SECONDS,
    attempts,
    logged_rows,
    trained_rows,
    write_metrics,
)
from rlvr_dynamics.training.verl_schema import check

CHECK_SECONDS = 0.5
WORKER_CHECK_SECONDS = 5.0
DEAD_WORKER_GRACE_SECONDS = 20.0
EXIT_GRACE_SECONDS = 10.0
# A scheduler kills a job 30 s after asking it to end; shutting verl down takes part of that.
LAST_INGEST_SECONDS = 10.0
SOCKET_BYTES = 107
RAY_SOCKET = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - a folder of ours is made in it
FULL_DISK = "No space left on device"


class Checkpoints(Protocol):
    """Where finished checkpoints go (`rlvr_dynamics.checkpoints.verl_run.VerlRun`)."""

    def saved_step(self) -> int:
        """Return the newest step that verl has finished saving."""
        ...

    def ingest(self, deadline: float | None = None) -> list[int]:
        """Publish what verl has finished saving, until `deadline` at the latest."""
        ...

    def check_room(self) -> None:
        """Raise UserError if the next save does not fit on the disk."""
        ...

    def prepare_resume(self, logged: Collection[int]) -> int:
        """Return the step to resume from, given the steps whose metrics were written."""
        ...


def train(config: RunConfig, *, prepare: Path, folder: Path, checkpoints: Checkpoints) -> int:
    """Train to `config.trainer.steps`, from the last complete checkpoint if there is one.

    Args:
        config: The run.
        prepare: Folder with train.parquet, val.parquet and base/.
        folder: The run's train/ folder: metrics.parquet and verl/ (verl owns its checkpoints/).
        checkpoints: Publishes what verl saves.

    Returns:
        The step from which training resumed (0 for a fresh start).

    Raises:
        StageFailed: verl ended early, lost a worker or stalled; the message names its log, and no
            process is left running.
        UserError: verl does not know a key, the disk is full or soon will be, or there is nothing
            to resume from.
    """
    verl_folder = folder / "verl"
    verl_folder.mkdir(parents=True, exist_ok=True)
    marker = str(folder.resolve())
    end_all(marker)  # left by an earlier attempt that was killed together with its supervisor
    logged = {row["step"] for file in attempts(verl_folder) for row in _rows(file)}
    start = checkpoints.prepare_resume(logged)
    jumps = JumpRecords(folder / "acceleration")
    jumps.forget_after(start)
    if start < (jumps.end() or config.trainer.steps):
        attempt = len(attempts(verl_folder)) + 1
        metrics_file = verl_folder / f"metrics_{attempt}.jsonl"
        metrics_file.touch()
        with _short_folder(folder_prefix(marker)) as temporary:
            command = verl_command(config, prepare=prepare, output=verl_folder, temporary=temporary)
            variables = environment(config, metrics_file) | {
                MARKER: marker,
                "TMPDIR": str(temporary),
            }
            command += joining_overrides(variables)
            check(command[3:])
            log = verl_folder / f"verl_{attempt}.log"
            try:
                with _supervised(command, variables, marker, log, temporary) as supervisor:
                    watch = _Watch(
                        config, checkpoints, supervisor, marker, metrics_file, log, jumps
                    )
                    watch.until_done(start)
            except BaseException:
                # Publish what verl has finished; anything there is no time for stays complete in
                # its folder, and the next call starts with it.
                with suppress(StageFailed, UserError):
                    checkpoints.ingest(time.monotonic() + LAST_INGEST_SECONDS)
                raise
    jumps.clear_sketches()
    write_metrics(verl_folder, folder / "metrics.parquet")
    return start


def _rows(file: Path) -> list[dict[str, Any]]:
    return trained_rows(logged_rows(file.read_bytes()))


def _short_place(prefix: str) -> str:
    """Return the temporary folder, or another if its path is too long for sockets."""
    room = SOCKET_BYTES - len(f"/{prefix}xxxxxxxx") - len(RAY_SOCKET)
    places = (tempfile.gettempdir(), *SHORT_PLACES)
    for place in places:
        if len(os.fsencode(place)) <= room and os.access(place, os.W_OK | os.X_OK):
            return place
    raise UserError(
        f"Ray's sockets need a temporary folder whose path has at most {room} bytes",
        where=", ".join(places),
        way_out="set TMPDIR to a shorter path that can be written, /tmp for example",
    )


@contextmanager
def _short_folder(prefix: str) -> Iterator[Path]:
    """Create a temporary folder with a short path: sockets allow 107 bytes and Ray uses many."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_short_place(prefix)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _supervised(
    command: list[str], variables: dict[str, str], marker: str, log: Path, working_folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start verl under the supervisor, and always end all of its processes on exit."""
    supervise = [sys.executable, "-m", "rlvr_dynamics.system.supervise", marker, str(log), "--"]
    supervisor = children.start([*supervise, *command], env=variables, cwd=working_folder)
    try:
        yield supervisor
    finally:
        children.close_input(supervisor)  # it ends what it started, and so do we
        end_all(marker, keep=frozenset([supervisor.pid]))
        children.end(supervisor, EXIT_GRACE_SECONDS)


class _Watch:
    """Watches one attempt: ingests checkpoints, shows progress, detects exits and stalls."""

    def __init__(
        self,
        config: RunConfig,
        run: Checkpoints,
        supervisor: subprocess.Popen[bytes],
        marker: str,
        metrics_file: Path,
        log: Path,
        jumps: JumpRecords,
    ) -> None:
        self.jumps = jumps
        self.config, self.run, self.supervisor, self.marker = config, run, supervisor, marker
        self.metrics_file, self.log = metrics_file, log
        self.last_progress = time.monotonic()
        self.known: dict[int, str] = {}
        self.longest_step = 0.0
        self.longest_interval: float | None = None
        self.next_worker_check = 0.0

    def until_done(self, start: int) -> None:
        steps = self.config.trainer.steps
        accelerated = self.config.acceleration is not None
        done, position = start, 0
        with bar(total=steps, desc="train (starting Ray and vLLM)", unit="step") as progress:
            progress.update(start)
            while True:
                ended = self.supervisor.poll() is not None
                self.run.ingest()
                if self.metrics_file.stat().st_size > position:
                    rows = _rows(self.metrics_file)
                    position = self.metrics_file.stat().st_size
                    now = time.monotonic()  # a validation is progress too
                    interval, self.last_progress = now - self.last_progress, now
                    if rows and rows[-1]["step"] > done:
                        if done == start:
                            progress.set_description("train", refresh=False)
                            progress.unpause()  # the start does not say how long a step takes
                        reward = f"{rows[-1]['data'][REWARD]:.3f}"
                        progress.set_postfix(reward=reward, refresh=False)
                        progress.update(rows[-1]["step"] - done)
                        if done > start:
                            interval /= rows[-1]["step"] - done
                            self.longest_interval = max(self.longest_interval or 0.0, interval)
                        done = rows[-1]["step"]
                        # The first step of an attempt warms up caches and takes far longer.
                        self.longest_step = max(
                            (row["data"][STEP_SECONDS] for row in rows[1:]), default=0.0
                        )
                steps = (accelerated and self.jumps.end()) or steps
                if done >= steps and self.run.saved_step() >= steps:
                    self.run.ingest()
                    return
                if self.run.saved_step() < steps:
                    self.run.check_room()
                if ended:
                    raise self._early_end(done)
                self._check_alive(done, start)
                time.sleep(CHECK_SECONDS)

    def _check_alive(self, done: int, start: int) -> None:
        now = time.monotonic()
        waiting = now - self.last_progress
        limit = stall_limit(
            self.config, done + 1, starting=done == start, longest=self.longest_interval
        )
        if waiting > limit:
            raise StageFailed(self._explain(f"verl made no step for {limit:.0f} s", done))
        # Start-up helper tasks end by themselves; later every worker is needed.
        if done == start or now < self.next_worker_check:
            return
        self.next_worker_check = now + WORKER_CHECK_SECONDS
        self.known |= workers(self.marker)
        lost = [title for pid, title in self.known.items() if not is_alive(pid)]
        if lost and waiting > max(DEAD_WORKER_GRACE_SECONDS, 2 * self.longest_step):
            raise StageFailed(self._explain(f"a worker of verl died: {lost[0]}", done))

    def _early_end(self, done: int) -> Exception:
        if FULL_DISK in self._log_text():
            return UserError(
                f"verl found no space left on a disk after step {done}",
                where=str(self.log),
                way_out="free some space, then run the same command again: training goes on from "
                "the last saved state",
            )
        return StageFailed(self._explain("verl ended early", done))

    def _log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _explain(self, what: str, done: int) -> str:
        """Describe the failure in one line, with the last error in verl's log."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self._log_text())
        errors = re.findall(r"^.*?\b(\w*(?:Error|Exception)\b: .*)$", text, flags=re.MULTILINE)
        cause = f"; last error: {errors[-1][:300]}" if errors else ""
        return (
            f"{what} after step {done} of {self.config.trainer.steps}{cause}; log: {self.log}; "
            "every process was ended, the same command goes on from the last saved state"
        )
