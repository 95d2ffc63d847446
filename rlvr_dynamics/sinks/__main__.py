"""`python -m rlvr_dynamics.sinks RUN_DIR`: give the finished stages of a run to its sinks."""

import os
import queue
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED, one_line
from rlvr_dynamics.run_directory.configuration import read_config
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.sinks.sink import Finished, Sink, feed
from rlvr_dynamics.system.command_line import Parser, count_of, end, path_of

ONLINE, OFFLINE, TENSORBOARD = "wandb online", "wandb offline", "tensorboard"


def _open(name: str, finished: Finished) -> Sink:
    if name == TENSORBOARD:
        from rlvr_dynamics.sinks.tensorboard_sink import TensorboardSink

        return TensorboardSink(finished)
    from rlvr_dynamics.sinks.wandb_sink import WandbSink

    return WandbSink(finished, "online" if name == ONLINE else "offline")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return end(lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    parser = Parser(
        prog="python -m rlvr_dynamics.sinks",
        description="Give the curves, tables and figures of a run directory to Weights & Biases "
        "(offline into RUN_DIR/wandb, from where `wandb sync` sends them, or online) or to "
        "TensorBoard (into RUN_DIR/tensorboard).",
    )
    parser.add_argument("run_dir", type=path_of)
    parser.add_argument("stages", nargs="*", choices=FOLDERS, help="only these (default: all)")
    parser.add_argument(
        "--mode", choices=("offline", "online"), help="wandb's (default: the run's)"
    )
    parser.add_argument("--tensorboard", action="store_true", help="TensorBoard in place of wandb")
    parser.add_argument(
        "--follow",
        type=count_of,
        metavar="SECONDS",
        help="stages come by standard input; the longest time after its end",
    )
    asked = parser.parse_args(arguments)
    folder = asked.run_dir.absolute()
    config = read_config(folder)
    mode = asked.mode or config.wandb.mode
    if asked.follow:
        on = {f"wandb {mode}": mode != "disabled", TENSORBOARD: config.tensorboard}
        names = [name for name, wanted in on.items() if wanted]
        give(folder, _announced(asked.follow), names, _own_terminal())
        return EXIT_DONE
    names = [TENSORBOARD if asked.tensorboard else ONLINE if mode == "online" else OFFLINE]
    usable = give(folder, asked.stages or FOLDERS, names, sys.stderr)
    return EXIT_DONE if usable else EXIT_FAILED


def give(folder: Path, stages: Iterable[str], names: list[str], terminal: TextIO) -> bool:
    """Give stages to sinks; returns whether every sink's package is installed.

    Args:
        folder: The run directory.
        stages: The stages; unfinished ones are skipped.
        names: The sinks; `ONLINE` falls back to `OFFLINE` if it fails.
        terminal: Stream for messages to the user.

    Raises:
        UserError: The run's configuration or a stage's record is damaged.
    """
    config, left = read_config(folder), list(names)
    for stage in stages:
        record = read_record(folder / FOLDERS[stage])
        if record.get("finished") is not True:
            continue
        finished = Finished(folder, stage, config, record)
        for name in (trying := list(left)):
            try:
                feed(_open(name, finished), finished)
            except ImportError as error:
                left.remove(name)
                line = f"no copy is made: {one_line(str(error))}"
            except Exception as error:  # noqa: BLE001 - no failure of a package may stop the run
                line = f"{stage}: {one_line(' '.join(str(error).splitlines()[:1]))}"
                if name == ONLINE:
                    line += f"; the copy lies in {folder / 'wandb'}, `wandb sync` sends it"
                    left[left.index(ONLINE)] = OFFLINE
                    trying.append(OFFLINE)
            else:
                continue
            print(f"{name}: {line}", file=terminal, flush=True)
    return len(left) == len(names)


def _announced(seconds: int) -> Iterator[str]:
    """Yield stages as the run finishes them, read from standard input.

    This process ends `seconds` after the run, whatever it is waiting for.
    """
    stages: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        with open(os.dup(0), encoding="utf-8") as lines:
            for line in lines:
                stages.put(line.strip())
        signal.alarm(seconds)
        stages.put(None)

    threading.Thread(target=read, daemon=True).start()
    return iter(stages.get, None)


def _own_terminal() -> TextIO:
    """Keep the run's stderr for messages to the user; send what packages print to the log."""
    terminal = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(1, 2)
    return terminal


if __name__ == "__main__":
    sys.exit(main())
