"""Step 7: asked to end in the middle of a save, training loses nothing and goes on."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from rlvr_dynamics.checkpoints import read_manifest
from rlvr_dynamics.checkpoints.steps import find_steps
from rlvr_dynamics.errors import EXIT_INTERRUPTED, StageFailed
from rlvr_dynamics.results.frames import numbers
from rlvr_dynamics.system.processes import marked

from . import shapes
from .bench import Bench, Command, Commands
from .finding import Finding, at_most, holds, noted
from .product import last_line, run, start, table

NAME, RUN = "interruption", "run"
STEPS, DURING = 3, 2
LAYERS = 8  # of the 1.5B model's shapes: 10 GB a save, which takes seconds
LOOK_SECONDS = 0.005
# What a scheduler leaves between its request and the kill (Slurm's KillWait), and the time in which
# `rlvr_dynamics.run` then has to be gone.
STOP_SECONDS = 30.0


def commands(bench: Bench) -> Commands:
    """Return the run that is interrupted."""
    own = (*shapes.small_rollouts(bench, LAYERS), f"trainer.steps={STEPS}")
    return {RUN: Command(bench.folder(NAME) / RUN, own)}


def work(bench: Bench) -> list[Finding]:
    """Send SIGTERM while verl writes a checkpoint, run the same command again, compare."""
    command = commands(bench)[RUN]
    train = command.folder / "train"
    shutil.rmtree(command.folder, ignore_errors=True)  # of an attempt that was itself interrupted
    begin = time.monotonic()
    process = start(command)
    try:
        saving = _wait_for_save(process, train / "verl" / "checkpoints", command)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(10 * STOP_SECONDS)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
    stopped = time.monotonic() - asked
    left = [each.pid for each in marked(str(train.resolve()))]
    before = _identities(train)
    seconds = run(command)
    after = _identities(train)
    steps = [int(step) for step in numbers(table(command, "metrics"), "step")]
    shutil.rmtree(train / "verl" / "checkpoints", ignore_errors=True)
    wanted = list(range(1, STEPS + 1))
    return [
        holds(
            f"SIGTERM while step {DURING} was saved",
            saving,
            saving == "not finished",
            "not finished",
        ),
        holds("exit code", code, code == EXIT_INTERRUPTED, str(EXIT_INTERRUPTED)),
        at_most("seconds from the signal to the end", stopped, STOP_SECONDS, "s"),
        holds("processes left", len(left), not left, "none"),
        holds(
            "finished steps that were kept",
            _listed(before),
            set(range(1, DURING)) <= before.keys(),
            f"all before step {DURING}",
        ),
        holds(
            "their weights after the resume",
            "unchanged" if before.items() <= after.items() else "changed",
            before.items() <= after.items(),
            "unchanged",
        ),
        holds("steps with weights", _listed(after), sorted(after) == wanted, _words(wanted)),
        holds("steps with metrics", _words(steps), steps == wanted, _words(wanted)),
        holds(
            "starts of verl",
            attempts := len(list((train / "verl").glob("metrics_*.jsonl"))),
            attempts == 2,
            "2",
        ),
        noted("until the signal", asked - begin, "s"),
        noted("the resumed run", seconds, "s"),
    ]


def _wait_for_save(process: subprocess.Popen[bytes], verl: Path, command: Command) -> str:
    """Return once verl has begun to write the checkpoint, and whether it has finished.

    Raises:
        StageFailed: The run ended before.
    """
    from rlvr_dynamics.checkpoints.verl_run import LATEST

    folder = verl / f"global_step_{DURING}"
    while not folder.is_dir() or not any(os.scandir(folder)):
        if process.poll() is not None:
            raise StageFailed(f"the run ended before step {DURING}: {last_line(command)}")
        time.sleep(LOOK_SECONDS)
    latest = (verl / LATEST).read_text() if (verl / LATEST).exists() else "0"
    return "finished" if latest.strip() == str(DURING) else "not finished"


def _identities(train: Path) -> dict[int, str]:
    """Return the identity of every published step."""
    published = train / "checkpoints"
    folders = find_steps(published) if published.is_dir() and any(published.iterdir()) else {}
    manifests = {step: read_manifest(folder) for step, folder in folders.items() if step}
    return {step: str(found["identity"]) for step, found in manifests.items() if found}


def _listed(found: dict[int, str]) -> str:
    return _words(sorted(found))


def _words(steps: list[int]) -> str:
    return ", ".join(map(str, steps)) or "none"
