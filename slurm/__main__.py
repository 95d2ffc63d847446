"""`python -m slurm submit|status|retry|merge`: the grid on a Slurm cluster."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr_dynamics.errors import EXIT_DONE, UserError
from rlvr_dynamics.system.command_line import HELP, VERSION, end, say, version

if TYPE_CHECKING:
    from slurm.site import Site
    from slurm.submission import Round

EXIT_CELLS_OPEN = 3

USAGE = """\
Cells of the grid as Slurm job arrays: train -> measure -> extrapolate -> score -> report -> merge.

usage: python -m slurm submit CELLS... [--site FILE] [--runs DIR] [--throttle N] [--dry-run]
                              [key=value ...]
       python -m slurm status DIR     what every job has come to
       python -m slurm retry DIR [--site FILE]     submit again what failed, and only that
       python -m slurm merge DIR      one table of scores and claims of all finished cells

  CELLS          names or globs of configs/exp, such as grpo_qwen3_4b or 'grpo_*'
  --site FILE    account, partitions, modules, container (slurm/site.example.yaml)
  --runs DIR     where run directories, scripts and logs go (default: the site's, or outputs/slurm)
  --throttle N   at most N tasks of the whole submission at a time
  --dry-run      print manifest, scripts and sbatch lines (also dry_run=true)
  key=value      overrides for every cell; seed=0,1,2 gives one cell per seed

exit codes: 0 done, 2 a mistake in what was given, 3 merge: some cells are not done (they are named)
"""
OPTIONS = ("--site", "--runs", "--throttle")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return end(lambda: _main(given))


def _main(arguments: list[str]) -> int:
    if not arguments:
        raise UserError("no command was given", way_out="submit, status, retry, merge, or --help")
    if set(HELP) & set(arguments):
        say(USAGE)
        return EXIT_DONE
    if VERSION in arguments:
        say(version())
        return EXIT_DONE
    command, *rest = arguments
    if command == "submit":
        return _submit(rest)
    if command in ("status", "retry", "merge"):
        folders, overrides, options, dry = _parse(rest)
        allowed = {"--site"} if command == "retry" else set()
        if len(folders) != 1 or overrides or dry or options.keys() - allowed:
            raise UserError(f"{command} takes one folder", way_out=f"slurm {command} DIR")
        runs = Path(folders[0]).absolute()
        if command == "retry":
            return _retry(runs, _site(options))
        return _status(runs) if command == "status" else _merge(runs)
    raise UserError(f"{command}: no such command", way_out="allowed: submit, status, retry, merge")


def _parse(arguments: list[str]) -> tuple[list[str], list[str], dict[str, str], bool]:
    """Cells, overrides, options, and whether it is a dry run."""
    cells: list[str] = []
    overrides: list[str] = []
    options: dict[str, str] = {}
    dry = False
    left = list(arguments)
    while left:
        item = left.pop(0)
        name, joined, value = item.partition("=")
        if name in OPTIONS:
            if not joined and not left:
                raise UserError(f"{name} needs a value")
            options[name] = value if joined else left.pop(0)
        elif item in ("--dry-run", "dry_run=true"):
            dry = True
        elif item == "dry_run=false":
            dry = False
        elif item.startswith("-"):
            raise UserError(
                f"{item}: unknown option", way_out=f"allowed: {', '.join(OPTIONS)}, --dry-run"
            )
        elif "=" in item or item.startswith("~"):
            overrides.append(item)
        else:
            cells.append(item)
    if not cells:
        raise UserError("nothing was named", way_out="slurm submit 'grpo_*', slurm status DIR")
    return cells, overrides, options, dry


def _site(options: dict[str, str]) -> "Site | None":
    from slurm.site import load_site

    return load_site(Path(options["--site"])) if "--site" in options else None


def _submit(arguments: list[str]) -> int:
    from slurm.site import Site
    from slurm.submit import describe, plan, submit

    cells, overrides, options, dry = _parse(arguments)
    site = _site(options) or Site()
    named = Path(options["--runs"]) if options.get("--runs") else site.runs_folder
    runs = (named or Path("outputs/slurm")).absolute()
    throttle = options.get("--throttle")
    if throttle is not None and (not throttle.isdecimal() or int(throttle) < 1):
        raise UserError(f"--throttle: given {throttle!r}", way_out="allowed: 1, 2, 3, ...")
    planned = plan(cells, overrides, runs, site, int(throttle) if throttle else None)
    if dry:
        say(describe(planned, runs))
        return EXIT_DONE
    made, worked = submit(planned, runs)
    if not worked:
        say("everything of this was submitted already")
    _show(made.rounds[0], runs)
    return EXIT_DONE


def _show(this: "Round", runs: Path) -> None:
    from slurm.arrays import spell

    for array in this.arrays:
        say(f"{array.key:<14} job {array.number}, cells {spell(array.indices)}")
    say(f"{'merge':<14} job {this.merge}")
    say(f"python -m slurm status {runs}")


def _status(runs: Path) -> int:
    from slurm import status, submission

    made = submission.load(runs)
    queue = status.read_queue()
    say(status.as_text(made, status.read(made, runs, queue)))
    if queue is None:
        say("(Slurm's queue cannot be asked here)")
    return EXIT_DONE


def _retry(runs: Path, site: "Site | None") -> int:
    from slurm import submission
    from slurm.submit import alone

    submission.load(runs)  # a folder without a submission is left as it is
    with alone(runs):
        return _retry_alone(runs, site)


def _retry_alone(runs: Path, site: "Site | None") -> int:
    from slurm import status, submission
    from slurm.submit import finish_round, retry

    made = submission.load(runs)
    if made.rounds[-1].merge is None:
        made = finish_round(made, runs)
        say("an interrupted submission was completed")
        _show(made.rounds[-1], runs)
        return EXIT_DONE
    queue = status.read_queue()
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


def _merge(runs: Path) -> int:
    from slurm import status, submission
    from slurm.merge import merge

    made = submission.load(runs)
    table = status.read(made, runs, status.read_queue())
    folder = merge(made, table, runs)
    unfinished = status.open_cells(made, table)
    say(f"{len(made.cells) - len(unfinished)} of {len(made.cells)} cells in {folder}")
    for name, why in unfinished.items():
        say(f"not done: {name} ({why})", stream=sys.stderr)
    return EXIT_CELLS_OPEN if unfinished else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
