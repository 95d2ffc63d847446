"""The command line: `python -m rlvr_dynamics.behaviour`."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED, Job
from rlvr_dynamics.errors import EXIT_DONE, UserError
from rlvr_dynamics.overrides import unquoted
from rlvr_dynamics.system.command_line import HELP, VERSION, check_options, end, say, version

USAGE = """\
What does a trained model do that its base would not?

usage: python -m rlvr_dynamics.behaviour run_dir=DIR [key=value ...]
       python -m rlvr_dynamics.behaviour base=DIR trained=DIR questions=FILE out=DIR [key=value ...]

  run_dir=DIR          base, last step, rank-1 recovery and benchmark of a run; into DIR/behaviour
  base=, trained=      two models of one architecture (safetensors)
  also=DIR             a rank-1 recovery of the trained model
  control=DIR          a random update of the base of the same norm
  questions=FILE       a benchmark (parquet)
  out=DIR              where tokens, summary, embeddings and prefix.parquet go
  limit=N              only the first N questions
  max_new_tokens=N     longest answer (a run: as it was scored; else 1024)
  guide_tokens=0,5,10  lengths of the prefixes (default: 0, 1, 2, 5, 10, 20, 40, ...)
  device=auto|cpu|cuda
  dtype=float32|bfloat16|float16   (a run: as it was scored; else as the base is stored)
  template=NAME        model (the chat template), plain or qwen_math
  system_prompt=TEXT   what the system says
  batch=N, seed=N, draws=N   answers at once, seed and draws of the intervals

The same command goes on where it stopped.
exit codes: 0 done, 2 a mistake in what was given, 75 interrupted (run again)
"""

_ROLES = {"base": BASE, "trained": TRAINED, "also": RANK1, "control": RANDOM}


def _whole(text: str) -> int:
    return int(text)


def _list(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "limit": _whole,
    "max_new_tokens": _whole,
    "guide_tokens": _list,
    "device": str,
    "dtype": str,
    "template": str,
    "system_prompt": str,
    "batch": _whole,
    "seed": _whole,
    "draws": _whole,
}
_PLACES = ("run_dir", *_ROLES, "questions", "out")


def job_from(arguments: list[str]) -> Job:
    """Read the command line.

    Raises:
        UserError: A key is unknown, given twice, missing or has a wrong value.
    """
    given: dict[str, str] = {}
    for item in arguments:
        key, equals, value = item.partition("=")
        if not equals or not value or key not in (*_PLACES, *_OPTIONS):
            raise UserError(
                f"{item!r} is not understood",
                way_out=f"key=value with one of {', '.join((*_PLACES, *_OPTIONS))}",
            )
        if key in given:
            raise UserError(f"{key} is given twice", way_out=f"give {key} once")
        given[key] = unquoted(value)
    changes: dict[str, Any] = {}
    for key in [key for key in given if key in _OPTIONS]:
        try:
            changes[key] = _OPTIONS[key](given[key])
        except ValueError as error:
            raise UserError(
                f"{key}={given[key]} is no whole number", way_out=f"give {key}=20, for example"
            ) from error
    models = {role: Path(given[key]) for key, role in _ROLES.items() if key in given}
    if "run_dir" in given:
        return _of_run(given, changes, models)
    missing = [key for key in ("base", "trained", "questions", "out") if key not in given]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} not given",
            way_out="run_dir=DIR, or base=DIR trained=DIR questions=FILE out=DIR",
        )
    return Job(models=models, questions=Path(given["questions"]), out=Path(given["out"]), **changes)


def _of_run(given: dict[str, str], changes: dict[str, Any], models: dict[str, Path]) -> Job:
    from rlvr_dynamics.behaviour.run_directory import job_of

    if models:
        raise UserError(
            f"run_dir says already which models there are, and {', '.join(sorted(models))} "
            "was given too",
            way_out="leave out one of the two",
        )
    for key in ("questions", "out"):
        if key in given:
            changes[key] = Path(given[key])
    return job_of(Path(given["run_dir"]), **changes)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return end(lambda: _main(given))


def _main(arguments: list[str]) -> int:
    if not arguments or set(HELP) & set(arguments):
        say(USAGE)
        return EXIT_DONE
    if VERSION in arguments:
        say(version())
        return EXIT_DONE
    check_options(arguments)
    job = job_from(arguments)
    from rlvr_dynamics.behaviour.measure import measure

    worked = measure(job, say)
    say(f"tables: {job.out}" if worked else f"everything was done already: {job.out}")
    return EXIT_DONE


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
