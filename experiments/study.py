"""The study: run every cell of a small grid end to end, then make all tables and figures.

`python -m experiments.study [--seeds N] [--rates RATE ...] [--runs DIR] [--out DIR] [--list]`;
`make study` calls it. Finished work is not repeated, and a failing cell does not stop the others.
"""

import math
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, UserError
from rlvr_dynamics.results.formatting import scientific
from rlvr_dynamics.run_directory.progress import progress
from rlvr_dynamics.schema import STAGES
from rlvr_dynamics.schema.overrides import quoted
from rlvr_dynamics.system.command_line import Parser, count_of, end, path_of

ALGORITHMS = ("grpo", "rloo", "reinforce_pp")
LEARNING_RATES = (1.0e-5, 1.0e-4)
SEEDS = 2
RUNS = Path("outputs/study")
OUT = Path("outputs/analysis")
EXIT_PARTIAL = 3


@dataclass(frozen=True)
class StudyCell:
    """One run of the study.

    Attributes:
        algorithm: A file in configs/algorithm.
        learning_rate: The policy's learning rate.
        seed: Seed of the task, the base model and the training.
        shuffled: The control: answers shuffled among the training problems.
    """

    algorithm: str
    learning_rate: float
    seed: int
    shuffled: bool = False

    @property
    def name(self) -> str:
        """Name of the run directory."""
        control = "_shuffled" if self.shuffled else ""
        rate = scientific(self.learning_rate).replace("e-0", "e_")
        return f"{self.algorithm}_lr{rate}{control}_seed{self.seed}"

    def overrides(self, runs: Path) -> list[str]:
        """The arguments of `python -m rlvr_dynamics.run`."""
        return [
            "+exp=study",
            f"algorithm={self.algorithm}",
            f"algorithm.learning_rate={self.learning_rate}",
            *(["data.shuffle_answers=true"] if self.shuffled else []),
            f"seed={self.seed}",
            f"name={self.name}",
            f"run_dir={runs / self.name}",
        ]


def study_cells(seeds: int = SEEDS, rates: Sequence[float] = ()) -> list[StudyCell]:
    """Return all cells, ordered so that a half-finished study is most informative.

    Args:
        seeds: Number of seeds; only GRPO uses more than two.
        rates: Further learning rates, for GRPO only.
    """
    further = [rate for rate in dict.fromkeys(rates) if rate not in LEARNING_RATES]
    cells = []
    for seed in range(seeds):
        names = ALGORITHMS if seed < SEEDS else ALGORITHMS[:1]
        cells += [StudyCell(name, rate, seed) for rate in LEARNING_RATES for name in names]
        cells += [StudyCell("grpo", rate, seed) for rate in further]
        if seed == 0:
            cells.append(StudyCell("grpo", LEARNING_RATES[0], 0, shuffled=True))
    return cells


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing; returns the exit code."""
    return end(lambda: _main(arguments), "interrupted: the same command goes on")


def _main(arguments: Sequence[str] | None) -> int:
    parser = Parser(prog="python -m experiments.study", description=__doc__)
    parser.add_argument("--runs", type=path_of, default=RUNS, help="folder of the run directories")
    parser.add_argument("--out", type=path_of, default=OUT, help="folder of the tables and figures")
    parser.add_argument(
        "--seeds",
        type=count_of,
        default=SEEDS,
        metavar="N",
        help="0 to N-1 (%(default)s); those beyond the second are of GRPO alone",
    )
    parser.add_argument(
        "--rates",
        type=float,
        nargs="+",
        default=(),
        metavar="RATE",
        help="further learning rates, of GRPO alone",
    )
    parser.add_argument("--list", action="store_true", help="show the cells and their commands")
    given = parser.parse_args(arguments)
    if not all(0 < rate < math.inf for rate in given.rates):
        raise UserError("learning rates are above 0", where=f"--rates {given.rates}")
    cells = study_cells(given.seeds, given.rates)
    if given.list:
        for cell in cells:
            print(progress(given.runs / cell.name, STAGES).state, _command(cell, given.runs, cells))
        return EXIT_DONE
    failed = _run_all(cells, given.runs)
    code = _analyse(cells, given.runs, given.out)
    if failed:
        print(f"failed: {', '.join(failed)}; the same command tries them again", file=sys.stderr)
        return EXIT_PARTIAL if len(failed) < len(cells) else EXIT_FAILED
    return code


def _analyse(cells: Sequence[StudyCell], runs: Path, out: Path) -> int:
    """Make every table and figure of the scored runs; returns the exit code."""
    done = [runs / cell.name for cell in cells if (runs / cell.name / "scores").is_dir()]
    if not done:
        return EXIT_FAILED
    given = ",".join(quoted(folder) for folder in done)
    return _python("analysis", f"run_dirs=[{given}]", f"out={out}")


def _python(module: str, *arguments: str) -> int:
    """Run a module; returns its exit code. On Ctrl-C it gets the signal too and time to end.

    SIGTERM reaches only this process and is passed on.

    Raises:
        KeyboardInterrupt: The module was interrupted.
    """
    stopped = False
    with subprocess.Popen([sys.executable, "-m", module, *arguments]) as process:
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


def _run_all(cells: Sequence[StudyCell], runs: Path) -> list[str]:
    """Run the unfinished cells; returns the names of those that failed."""
    failed, begin = [], time.monotonic()
    for number, cell in enumerate(cells, 1):
        minutes = (time.monotonic() - begin) / 60
        print(f"== {cell.name} ({number} of {len(cells)}, {minutes:.0f} min so far)", flush=True)
        if _python("rlvr_dynamics.run", *_arguments(cell, runs, cells)):
            failed.append(cell.name)
    return failed


def _arguments(cell: StudyCell, runs: Path, cells: Sequence[StudyCell]) -> list[str]:
    """Return a cell's overrides; each seed's base is made once and reused from that run."""
    for other in cells:
        same = (other.seed, other.shuffled) == (cell.seed, cell.shuffled)
        if same and other != cell and (runs / other.name / "prepare" / "stage.json").exists():
            return [*cell.overrides(runs), f"reuse={runs / other.name}"]
    return cell.overrides(runs)


def _command(cell: StudyCell, runs: Path, cells: Sequence[StudyCell]) -> str:
    return shlex.join(["python", "-m", "rlvr_dynamics.run", *_arguments(cell, runs, cells)])


if __name__ == "__main__":
    sys.exit(main())
