"""A process that follows a run and feeds its sinks.

Packages that use the network stay out of the run's own process: a missing package, a missing key
or a dead network costs the run only one line on stderr and a bounded delay at its end.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.system import children
from rlvr_dynamics.training.verl_metrics import attempts

PATIENCE_SECONDS = 30.0  # after the end of the run itself
AFTER_FAILURE_SECONDS = 3.0
STARTED = "+"  # a training starts; the number of its earlier attempts follows


class Follower:
    """The process that feeds a run's sinks; started with the training or a finished stage."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        """Start without a process.

        Args:
            folder: The run directory.
            config: The run's configuration, which selects the sinks.
        """
        self._folder, self._log = folder, folder / "sinks.log"
        self._wanted = config.wandb.mode != "disabled" or config.tensorboard
        self._process: subprocess.Popen[bytes] | None = None

    def started(self, stage: str) -> None:
        """Let the sinks have the metrics of the training as they are logged; returns at once."""
        if stage == "train":
            earlier = len(attempts(self._folder / FOLDERS[stage] / "verl"))
            self._tell(f"{STARTED}{earlier}")

    def finished(self, stage: str) -> None:
        """Queue a finished stage for the sinks; returns at once."""
        self._tell(stage)

    def _tell(self, words: str) -> None:
        if not self._wanted:
            return
        try:
            if self._process is None:
                command = [sys.executable, "-m", "rlvr_dynamics.sinks", str(self._folder)]
                # Slightly longer than the run waits, so it matters only if the run was killed.
                command.append(f"--follow={int(PATIENCE_SECONDS) + 5}")
                with self._log.open("wb") as log:
                    self._process = children.start(command, stdout=log)
            if self._process.stdin is not None:
                self._process.stdin.write(f"{words}\n".encode())
                self._process.stdin.flush()
        except BrokenPipeError:  # it has ended, and `close` reports that
            return
        except OSError as error:
            _say(f"{words}: {error}")

    def close(self, patience: float) -> None:
        """Wait for the sinks, end them, and report what went wrong.

        Args:
            patience: Longest wait, in seconds.
        """
        if self._process is None:
            return
        children.close_input(self._process)
        if not children.end(self._process, patience):
            _say(f"not finished {patience:.0f} s after the run")
        elif self._process.returncode:
            _say(f"failed, see {self._log}")
        else:
            with suppress(OSError):
                self._log.unlink()


@contextmanager
def following(folder: Path, config: RunConfig) -> Iterator[Follower]:
    """Yield a run's follower, and wait for it when the run is over.

    Args:
        folder: The run directory.
        config: The run's configuration, which selects the sinks.
    """
    follower = Follower(folder, config)
    patience = 0.0  # an interrupted run ends at once
    try:
        yield follower
        patience = PATIENCE_SECONDS
    except Exception:
        patience = AFTER_FAILURE_SECONDS
        raise
    finally:
        follower.close(patience)


def _say(text: str) -> None:
    print(f"sinks: {text}", file=sys.stderr, flush=True)
