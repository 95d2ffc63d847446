"""`python -m slurm submit|status|retry|merge`: the grid on a Slurm cluster."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr_dynamics.errors import EXIT_DONE, UserError
from rlvr_dynamics.system.command_line import Parser, count_of, end, path_of, say

if TYPE_CHECKING:
    from .site import Site
    from .submission import Round

EXIT_CELLS_OPEN = 3


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return end(lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    given = _parser().parse_args(arguments)
    return given.work(given)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m slurm",
        description="Cells of the grid as Slurm job arrays: "
        "train -> measure -> extrapolate -> score -> report -> merge.",
        epilog="exit codes: 0 done, 2 a mistake in what was given, 3 merge: some cells are not "
        "done (they are named)",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    submit = commands.add_parser("submit", overrides=True, help="cells as chains of job arrays")
    submit.add_argument(
        "cells",
        nargs="+",
        metavar="CELL",
        help="names or globs of configs/exp, such as grpo_qwen3_4b or 'grpo_*'; and key=value, "
        "overrides for every cell (seed=0,1,2 gives one cell per seed)",
    )
    submit.add_argument(
        "--runs",
        type=path_of,
        metavar="DIR",
        help="where run directories, scripts and logs go (default: the site's, or outputs/slurm)",
    )
    submit.add_argument(
        "--throttle",
        type=count_of,
        metavar="N",
        help="at most N tasks of the whole submission at a time",
    )
    submit.add_argument(
        "--dry-run", action="store_true", help="print manifest, scripts and sbatch lines"
    )
    submit.set_defaults(work=_submit)
    meanings = {
        "status": (_status, "what every job has come to"),
        "retry": (_retry, "submit again what failed, and only that"),
        "merge": (_merge, "one table of scores and claims of all finished cells"),
    }
    for name, (work, meaning) in meanings.items():
        command = commands.add_parser(name, help=meaning)
        command.add_argument("runs", type=_folder, metavar="DIR", help="folder of the submission")
        command.set_defaults(work=work)
    for command in (submit, commands.choices["retry"]):
        command.add_argument(
            "--site",
            type=path_of,
            metavar="FILE",
            help="account, partitions, modules, container (slurm/site.example.yaml)",
        )
    return parser


def _folder(text: str) -> Path:
    return Path(text).absolute()


def _submit(given: Namespace) -> int:
    from .site import load_site
    from .submit import describe, plan, submit

    overrides = [word for word in given.cells if "=" in word or word.startswith("~")]
    cells = [word for word in given.cells if word not in overrides]
    if not cells:
        raise UserError("no cell was named", way_out="slurm submit 'grpo_*'")
    site = load_site(given.site)
    runs = (given.runs or site.runs_folder or Path("outputs/slurm")).absolute()
    planned = plan(cells, overrides, runs, site, given.throttle)
    if given.dry_run:
        say(describe(planned, runs))
        return EXIT_DONE
    made, worked = submit(planned, runs)
    if not worked:
        say("everything of this was submitted already")
    _show(made.rounds[0], runs)
    return EXIT_DONE


def _show(this: "Round", runs: Path) -> None:
    from .arrays import spell

    for array in this.arrays:
        say(f"{array.key:<14} job {array.number}, cells {spell(array.indices)}")
    say(f"{'merge':<14} job {this.merge}")
    say(f"python -m slurm status {runs}")


def _status(given: Namespace) -> int:
    from . import status, submission
    from .queue import read_queue

    made = submission.load(given.runs)
    queue = read_queue()
    say(status.as_text(made, status.read(made, given.runs, queue)))
    if queue is None:
        say("(Slurm's queue cannot be asked here)")
    return EXIT_DONE


def _retry(given: Namespace) -> int:
    from . import submission
    from .site import load_site
    from .submit import alone

    submission.load(given.runs)  # leave a folder without a submission unchanged
    with alone(given.runs):
        return _retry_alone(given.runs, load_site(given.site) if given.site else None)


def _retry_alone(runs: Path, site: "Site | None") -> int:
    from . import status, submission
    from .queue import read_queue
    from .submit import finish_round, retry

    made = submission.load(runs)
    if made.rounds[-1].merge is None:
        made = finish_round(made, runs)
        say("an interrupted submission was completed")
        _show(made.rounds[-1], runs)
        return EXIT_DONE
    queue = read_queue()
    if queue is None:
        raise UserError("Slurm's queue cannot be asked here", way_out="retry on a login node")
    table = status.read(made, runs, queue)
    left = status.left(made, table)
    if not left:
        open_cells = status.open_cells(made, table)
        say(f"nothing has failed; {len(open_cells)} cells are still in the queue")
        return EXIT_DONE
    for index, jobs in left.items():
        say(f"{made.cells[index].name}: {', '.join(jobs)}")
    _show(retry(made, left, runs, site).rounds[-1], runs)
    return EXIT_DONE


def _merge(given: Namespace) -> int:
    from . import status, submission
    from .merge import merge
    from .queue import read_queue

    runs = given.runs
    made = submission.load(runs)
    table = status.read(made, runs, read_queue())
    folder = merge(made, table, runs)
    unfinished = status.open_cells(made, table)
    say(f"{len(made.cells) - len(unfinished)} of {len(made.cells)} cells in {folder}")
    for name, why in unfinished.items():
        say(f"not done: {name} ({why})", stream=sys.stderr)
    return EXIT_CELLS_OPEN if unfinished else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
