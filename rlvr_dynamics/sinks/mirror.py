"""An optional copy of a run on Weights & Biases: curves, tables and figures of every stage.

The files of the run directory are the truth. A copy is made beside the run, in a process of its
own, so that an absent package, a missing key or a dead network costs it nothing but a line on
stderr. `python -m rlvr_dynamics.sinks.mirror RUN_DIR` makes the copies of a run by hand.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED, UserError
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.schema import Wandb
from rlvr_dynamics.system.command_line import Parser, end

PATIENCE_SECONDS = 30.0  # for all copies together, when the run itself is over
AFTER_FAILURE_SECONDS = 3.0
MARK = "mirror: "


class Mirror:
    """The copies of one run that are being made."""

    def __init__(self, folder: Path, settings: Wandb) -> None:
        """Begin with none.

        Args:
            folder: The run directory.
            settings: The section `wandb` of its configuration.
        """
        self._folder = folder
        self._off = settings.mode == "disabled"
        self._started: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        if not self._off and find_spec("wandb") is None:
            self._off = True
            _tell(
                f"no copy is made: the package wandb is not installed (wandb.mode={settings.mode})"
            )

    def copy(self, stage: str) -> None:
        """Begin the copy of a finished stage and return at once."""
        if self._off:
            return
        log = self._folder / "wandb" / f"{stage}.log"
        try:
            log.parent.mkdir(exist_ok=True)
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "rlvr_dynamics.sinks.mirror", str(self._folder), stage],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # an interrupt is the run's, and is told to it there
                )
        except OSError as error:
            _tell(f"{stage}: {error}")
            return
        self._started[stage] = (process, log)

    def close(self, patience: float) -> None:
        """Wait for the copies, end those that take longer, and say what went wrong.

        Args:
            patience: Seconds for all of them together.
        """
        end = time.monotonic() + patience
        told: dict[str, list[str]] = {}
        for stage, (process, log) in self._started.items():
            try:
                process.wait(timeout=max(0.0, end - time.monotonic()))
                said = _said(log) or ([f"failed, see {log}"] if process.returncode else [])
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                said = [f"not finished {patience:.0f} s after the run"]
            for line in said:
                told.setdefault(line, []).append(stage)
        self._started.clear()
        for line, stages in told.items():
            _tell(f"{', '.join(stages)}: {line}")


@contextmanager
def mirrored(folder: Path, settings: Wandb) -> Iterator[Mirror]:
    """Give the mirror of a run, and wait for its copies when the run is over.

    Args:
        folder: The run directory.
        settings: The section `wandb` of its configuration.
    """
    mirror = Mirror(folder, settings)
    patience = 0.0  # an interrupted run ends at once
    try:
        yield mirror
        patience = PATIENCE_SECONDS
    except Exception:
        patience = AFTER_FAILURE_SECONDS
        raise
    finally:
        mirror.close(patience)


def _said(log: Path) -> list[str]:
    """What a copy wants told, of everything that the package wrote."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]


def _tell(text: str) -> None:
    print(f"{MARK}{text}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Make the copies of a run by hand; returns the exit code."""
    return end(lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    parser = Parser(
        prog="python -m rlvr_dynamics.sinks.mirror",
        description="Copy a run directory to Weights & Biases: offline into RUN_DIR/wandb, from "
        "where `wandb sync` sends it, or online.",
    )
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="only these (default: all)")
    parser.add_argument("--mode", choices=("offline", "online"), help="default: the run's own")
    asked = parser.parse_args(arguments)
    wrong = sorted(set(asked.stages) - FOLDERS.keys())
    if wrong:
        raise UserError(f"no stage is called {wrong[0]}", way_out=f"allowed: {', '.join(FOLDERS)}")
    try:
        from rlvr_dynamics.sinks.mirror_copy import copy_stages

        copy_stages(asked.run_dir.absolute(), asked.stages or list(FOLDERS), asked.mode)
    except ImportError as error:
        _tell(f"no copy is made: {error}")
        return EXIT_FAILED
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
