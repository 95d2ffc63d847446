"""`python -m rlvr_dynamics.watch RUN_DIR`: a run while it trains, from its directory alone."""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import TextIO

from rlvr_dynamics.errors import EXIT_DONE, shown
from rlvr_dynamics.system.command_line import Parser, aligned, count_of, end, path_of, say

SECONDS = 5
_CLEAR = "\x1b[{}A\x1b[J"  # up so many lines, and everything below removed
_PLAIN = str.maketrans("▁▂▃▄▅▆▇█–−‖²", "_.,-=+*#--|2")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return end(lambda: _main(arguments), interrupted="")


def _main(arguments: list[str] | None) -> int:
    parser = Parser(
        prog="python -m rlvr_dynamics.watch",
        description="Show a run while it trains: progress, reward, accuracy, the lengths of its "
        "steps, how linear it is so far, and where its accuracy will end. It reads the run "
        "directory, takes no lock and uses one idle core; each checkpoint is read once.",
    )
    parser.add_argument("run_dir", type=path_of, metavar="RUN_DIR")
    parser.add_argument("--once", action="store_true", help="show the present state and end")
    parser.add_argument("--page", action="store_true", help="also write RUN_DIR/live.html")
    parser.add_argument(
        "--seconds",
        type=count_of,
        default=SECONDS,
        metavar="N",
        help="from look to look (default: %(default)s)",
    )
    asked = parser.parse_args(arguments)
    with suppress(OSError):
        os.nice(19)  # the training comes first
    from rlvr_dynamics.system.threads import one_thread_each

    with one_thread_each():
        return _watch(asked.run_dir, asked.once, asked.page, asked.seconds, sys.stdout)


def _watch(folder: Path, once: bool, page: bool, seconds: int, out: TextIO) -> int:
    from rlvr_dynamics.watch.live import LiveRun
    from rlvr_dynamics.watch.page import PAGE, write_live_page
    from rlvr_dynamics.watch.rows import rows, state_in_words

    run, screen, before = LiveRun(folder), _Screen(out), None
    while True:
        live = run.look(screen.reading)
        over = once or live.trained or live.progress.state != "running"
        now = (live.step, len(live.weights.steps), live.trained, live.progress)
        if now != before:
            screen.show([f"{live.name}: {state_in_words(live)}", *_lines(rows(live))])
            if page:
                write_live_page(live, folder / PAGE, None if over else seconds)
        before = now
        if over:
            return EXIT_DONE
        sleep(seconds)


def _lines(found: list) -> list[str]:
    return aligned([(row.name, row.now, row.course, row.about) for row in found])


class _Screen:
    """Writes blocks: in a terminal each in the place of the one before, elsewhere below it."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._terminal, self._height = out, out.isatty(), 0

    def reading(self, step: int) -> None:
        """Say which step was read last, in a terminal, until the next block."""
        if self._terminal:
            self._draw([f"read step {step}"])

    def show(self, lines: list[str]) -> None:
        """Show a block."""
        if self._terminal:
            self._draw(lines)
        else:
            for line in lines:
                say(self._possible(line), stream=self._out)

    def _draw(self, lines: list[str]) -> None:
        width = shutil.get_terminal_size().columns
        cut = [self._possible(shown(line))[: width - 1] for line in lines]
        back = _CLEAR.format(self._height) if self._height else ""
        self._out.write(back + "\n".join(cut) + "\n")
        self._out.flush()
        self._height = len(cut)

    def _possible(self, line: str) -> str:
        """Return a line with plain signs where the output's encoding has no others."""
        try:
            line.encode(self._out.encoding or "utf-8")
        except UnicodeEncodeError:
            return line.translate(_PLAIN)
        return line


if __name__ == "__main__":
    sys.exit(main())
