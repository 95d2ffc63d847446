"""Steps of the GPU check that are over in a moment; each writes down that it ran."""

import subprocess
import sys
import time
from pathlib import Path

from experiments.gpu_check.finding import at_most, holds, needs_gpu, noted
from rlvr_dynamics.errors import UserError

SLEEPER = "import time; time.sleep(600)"


def _ran(bench, name):
    with (Path(bench.out) / "ran").open("a") as file:
        file.write(f"{name}\n")


def first(bench):
    _ran(bench, "first")
    return [at_most("residual", 1e-7, 1e-5), noted("seconds", 1.5, "s")]


def second(bench):
    """Fails until a file is there, as a step does until its cause is mended."""
    _ran(bench, "second")
    mended = (Path(bench.out) / "mended").exists()
    return [holds("clip fraction", 0.1 if mended else 0.0, mended, "above 0")]


def third(bench):
    _ran(bench, "third")
    return [holds("steps", 4, True, "4"), needs_gpu("memory", "within the estimate")]


def refused(bench):
    raise UserError("no space left", where="here", way_out="free some")


def broken(bench):
    raise ZeroDivisionError("one | two")


def killed(bench):
    import os

    os.kill(os.getpid(), 9)


def hangs(bench):
    """Starts a process that ignores being asked, and waits for it."""
    child = subprocess.Popen(
        [sys.executable, "-c", f"import signal; signal.signal(15, 1); {SLEEPER}"]
    )
    (Path(bench.out) / "started").write_text(str(child.pid))
    child.wait()


def waits(bench):
    """Takes a second, unless it was interrupted before: then it is over at once."""
    began = Path(bench.out) / "began"
    if began.exists():
        return [holds("went on", "yes", True, "yes")]
    began.touch()
    time.sleep(60)
