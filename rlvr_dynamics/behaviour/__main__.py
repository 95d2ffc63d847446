"""The command line: `python -m rlvr_dynamics.behaviour`."""

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED, Job
from rlvr_dynamics.errors import EXIT_DONE, UserError
from rlvr_dynamics.system.command_line import Parser, end, path_of, say, unquoted

MODELS = {
    BASE: ("base", "the base"),
    TRAINED: ("trained", "the trained model (same architecture, safetensors)"),
    RANK1: ("also", "a rank-1 recovery of the trained model"),
    RANDOM: ("control", "a random update of the base of the same norm"),
}


def _lengths(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m rlvr_dynamics.behaviour",
        description="What does a trained model do that its base would not?\n\n"
        "Give run_dir=DIR, or base=DIR trained=DIR questions=FILE out=DIR.\n"
        "The same command goes on where it stopped.",
        epilog="exit codes: 0 done, 2 a mistake in what was given, 75 interrupted (run again)",
    )
    parser.add_argument(
        "--run_dir",
        type=path_of,
        metavar="DIR",
        help="base, last step, rank-1 recovery and benchmark of a run; into DIR/behaviour",
    )
    for name, meaning in MODELS.values():
        parser.add_argument(f"--{name}", type=path_of, metavar="DIR", help=meaning)
    places = {"questions": "a benchmark (parquet)", "out": "where the tables go"}
    for name, meaning in places.items():
        parser.add_argument(f"--{name}", type=path_of, metavar="PATH", help=meaning)
    settings: dict[str, tuple[Callable[[str], Any], str]] = {
        "limit": (int, "only the first N questions"),
        "max_new_tokens": (int, "longest answer (a run: as it was scored; else 1024)"),
        "guide_tokens": (_lengths, "lengths of the prefixes (default: 0,1,2,5,10,20,40,...)"),
        "device": (unquoted, "auto, cpu or cuda"),
        "dtype": (unquoted, "float32, bfloat16 or float16 (a run: as scored; else as stored)"),
        "template": (unquoted, "model (the chat template), plain or qwen_math"),
        "system_prompt": (unquoted, "what the system says"),
        "batch": (int, "answers at once"),
        "seed": (int, "seed of the intervals"),
        "draws": (int, "draws of the intervals"),
    }
    for name, (kind, meaning) in settings.items():
        parser.add_argument(
            f"--{name}", type=kind, default=argparse.SUPPRESS, metavar="VALUE", help=meaning
        )
    return parser


def job_from(arguments: list[str]) -> Job:
    """Read the command line.

    Raises:
        UserError: A key is unknown, given twice, missing or has a wrong value.
    """
    changes = vars(_parser().parse_args(arguments))
    changes.pop("version")
    named = {role: changes.pop(name) for role, (name, _) in MODELS.items()}
    models = {role: folder for role, folder in named.items() if folder is not None}
    places = {key: changes.pop(key) for key in ("questions", "out")}
    run_dir = changes.pop("run_dir")
    if run_dir is not None:
        if models:
            raise UserError(
                f"run_dir says already which models there are, and "
                f"{', '.join(MODELS[role][0] for role in models)} was given too",
                way_out="leave out one of the two",
            )
        from rlvr_dynamics.behaviour.run_directory import job_of

        return job_of(run_dir, **changes, **{k: v for k, v in places.items() if v is not None})
    given = {"base": models.get(BASE), "trained": models.get(TRAINED), **places}
    missing = [key for key, value in given.items() if value is None]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} not given",
            way_out="run_dir=DIR, or base=DIR trained=DIR questions=FILE out=DIR",
        )
    return Job(models=models, **places, **changes)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return end(lambda: _main(given))


def _main(arguments: list[str]) -> int:
    if not arguments:
        _parser().print_help()
        return EXIT_DONE
    job = job_from(arguments)
    from rlvr_dynamics.behaviour.measure import measure

    worked = measure(job, say)
    say(f"tables: {job.out}" if worked else f"everything was done already: {job.out}")
    return EXIT_DONE


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
