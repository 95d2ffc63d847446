"""`python -m rlvr_dynamics.sinks RUN_DIR`: give the stages of a run to its sinks."""

import os
import queue
import signal
import sys
import threading
from typing import TextIO

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED
from rlvr_dynamics.run_directory.configuration import read_config
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.sinks.feeder import OFFLINE, ONLINE, TENSORBOARD, Feeder
from rlvr_dynamics.sinks.follower import STARTED
from rlvr_dynamics.system.command_line import Parser, count_of, end, path_of

LOOK_SECONDS = 5.0  # at the metrics of a training


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
        _follow(asked.follow, Feeder(folder, names, _own_terminal()))
        return EXIT_DONE
    names = [TENSORBOARD if asked.tensorboard else ONLINE if mode == "online" else OFFLINE]
    feeder = Feeder(folder, names, sys.stderr)
    for stage in asked.stages or FOLDERS:
        feeder.finish(stage)
    return EXIT_DONE if feeder.usable else EXIT_FAILED


def _follow(seconds: int, feeder: Feeder) -> None:
    """Give stages as the run announces them on standard input, and its training's metrics.

    This process ends `seconds` after the run, whatever it is waiting for.
    """
    words: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        with open(os.dup(0), encoding="utf-8") as lines:
            for line in lines:
                words.put(line.strip())
        signal.alarm(seconds)
        words.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            word = words.get(timeout=LOOK_SECONDS if feeder.streams else None)
        except queue.Empty:
            feeder.push()
            continue
        if word is None:
            feeder.close()
            return
        if word.startswith(STARTED):
            feeder.begin_training(int(word.removeprefix(STARTED)))
        else:
            feeder.finish(word)


def _own_terminal() -> TextIO:
    """Keep the run's stderr for messages to the user; send what packages print to the log."""
    terminal = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(1, 2)
    return terminal


if __name__ == "__main__":
    sys.exit(main())
