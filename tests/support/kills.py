"""Kills the real command at random moments: nothing may be lost or half-written.

`python -m tests.support.kills N SEED RUN_DIR COMMAND...` does this to your own finished run:
COMMAND is the command that made it, without `python -m rlvr_dynamics.run`. For each kill, the
stages in FORGET (default: measure, extrapolate, report) start again.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rlvr_dynamics.run_directory.records import FOLDERS
from tests.support.flips import different, results


def start(arguments):
    """Start the command in its own process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "rlvr_dynamics.run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def halves(run_dir):
    """Return the files that have the name of a result but cannot be read."""
    try:
        results(run_dir)
    except Exception as error:  # whatever the reader raises for half a file
        return f"half a file: {error}"
    return ""


def kill_at_random(run_dir, arguments, count, seed, again=("measure", "extrapolate", "report")):
    """Kill the command `count` times, then let it end; yield (seconds, what was wrong) for each.

    Args:
        run_dir: A finished run, which stays finished.
        arguments: The command line that made it.
        count: Number of kills.
        seed: Seed of the moments.
        again: Stages that start again each time.
    """
    draw, reference = random.Random(seed), results(run_dir)  # noqa: S311
    begin = time.monotonic()
    _forget(run_dir, again)
    assert start(arguments).wait() == 0
    whole = time.monotonic() - begin
    for _ in range(count):
        _forget(run_dir, again)
        process, moment = start(arguments), draw.uniform(0.0, whole)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        wrong = halves(run_dir)
        code, said = _end(arguments)
        if code != 0:
            wrong = wrong or f"exit code {code}: {said[-300:]}"
        elif other := different(reference, results(run_dir)):
            wrong = wrong or f"other results: {', '.join(other[:5])}"
        elif left := [str(path) for path in run_dir.rglob(".*.partial-*")]:
            wrong = wrong or f"left over: {left[0]}"
        yield moment, wrong


def _end(arguments):
    process = start(arguments)
    said = process.communicate()[0]
    return process.returncode, said


def _forget(run_dir, stages):
    for stage in stages:
        shutil.rmtree(run_dir / FOLDERS[stage], ignore_errors=True)


if __name__ == "__main__":
    count, seed, place, *command = sys.argv[1:]
    names = os.environ.get("FORGET", "measure,extrapolate,report").split(",")
    bad = 0
    for moment, wrong in kill_at_random(Path(place), command, int(count), int(seed), names):
        bad += bool(wrong)
        print(f"killed after {moment:6.2f} s: {wrong or 'nothing lost, nothing half'}", flush=True)
    print(f"{bad} of {count} wrong")
    sys.exit(bool(bad))
