"""Runs the cells of a study or a bench: what is missing, one after the other, and then their page.

Finished work is not repeated, and a failing cell does not stop the others.
"""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from rlvr_dynamics.errors import EXIT_FAILED, EXIT_INTERRUPTED, UserError, did_you_mean
from rlvr_dynamics.run_directory.progress import progress
from rlvr_dynamics.schema import STAGES
from rlvr_dynamics.schema.overrides import quoted
from rlvr_dynamics.system import installation

EXIT_PARTIAL = 3


class RunCell(Protocol):
    """One run."""

    @property
    def name(self) -> str:
        """Name of the run directory."""
        ...

    @property
    def preparation(self) -> Hashable:
        """What cells with the same base and problems share."""
        ...

    def overrides(self, runs: Path) -> list[str]:
        """Return the arguments of `python -m rlvr_dynamics.run`."""
        ...

    def taken_from(self, runs: Path) -> list[str]:
        """Return further arguments, that name results of other cells which are there."""
        ...


C = TypeVar("C", bound=RunCell)


def chosen(
    names: Sequence[str], known: Mapping[str, C], every: Sequence[C], where: str, way_out: str
) -> list[C]:
    """Return the named cells, or all.

    Args:
        names: As the user gave them.
        known: Cells by name.
        every: All of them without a name.
        where: What the cells are of, such as `the study`.
        way_out: The command that names them.

    Raises:
        UserError: There is no such cell.
    """
    for name in names:
        if name not in known:
            raise UserError(
                f"no cell of {where} is called {name!r}",
                way_out=f"{did_you_mean(name, known)}{way_out}",
            )
    return [known[name] for name in dict.fromkeys(names)] or list(every)


def arguments(cell: RunCell, runs: Path, cells: Iterable[RunCell]) -> list[str]:
    """Return a cell's overrides; each base is made once and reused from that run."""
    found = [*cell.overrides(runs), *cell.taken_from(runs)]
    for other in cells:
        same = other.preparation == cell.preparation and other != cell
        if same and (runs / other.name / "prepare" / "stage.json").exists():
            return [*found, f"reuse={runs / other.name}"]
    return found


def listing(cells: Sequence[RunCell], runs: Path) -> Iterator[str]:
    """Yield the state and the command of every cell."""
    for cell in cells:
        command = ["python", "-m", "rlvr_dynamics.run", *arguments(cell, runs, cells)]
        yield f"{progress(runs / cell.name, STAGES).state} {shlex.join(command)}"


def run_all(cells: Sequence[RunCell], runs: Path) -> list[str]:
    """Run the unfinished cells; returns the names of those that failed."""
    failed, begin = [], time.monotonic()
    for number, cell in enumerate(cells, 1):
        minutes = (time.monotonic() - begin) / 60
        print(f"== {cell.name} ({number} of {len(cells)}, {minutes:.0f} min so far)", flush=True)
        if run_module("rlvr_dynamics.run", *arguments(cell, runs, cells)):
            failed.append(cell.name)
    return failed


def run_module(module: str, *given: str) -> int:
    """Run a module; returns its exit code. On Ctrl-C it gets the signal too and time to end.

    SIGTERM reaches only this process and is passed on.

    Raises:
        KeyboardInterrupt: The module was interrupted.
    """
    stopped = False
    with subprocess.Popen([sys.executable, "-m", installation.module(module), *given]) as process:
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while process.poll() is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                stopped = True
        signal.signal(signal.SIGTERM, before)
    if stopped or process.returncode in (EXIT_INTERRUPTED, -signal.SIGINT, -signal.SIGTERM):
        raise KeyboardInterrupt
    return process.returncode


def scored(cells: Iterable[RunCell], runs: Path) -> list[Path]:
    """Return the run directories that have scores."""
    folders = [runs / cell.name for cell in cells]
    return [folder for folder in folders if (folder / "scores").is_dir()]


def analyse(done: Sequence[Path], out: Path, note: str, names: Sequence[str] = ()) -> int:
    """Make tables and figures of runs; returns the exit code.

    Args:
        done: The run directories.
        out: Folder of the page.
        note: A sentence for its head.
        names: Only these artefacts; all without any.
    """
    given = ",".join(quoted(folder) for folder in done)
    return run_module("analysis", *names, f"run_dirs=[{given}]", f"out={out}", f"note={note}")


def exit_code(failed: Sequence[str], cells: Sequence[RunCell], code: int) -> int:
    """Say which cells failed; returns the exit code of the whole command.

    Args:
        failed: Names of cells.
        cells: All cells.
        code: Exit code of what came after them.
    """
    if not failed:
        return code
    print(f"failed: {', '.join(failed)}; the same command tries them again", file=sys.stderr)
    return EXIT_PARTIAL if len(failed) < len(cells) else EXIT_FAILED
