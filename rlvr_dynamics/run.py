"""`python -m rlvr_dynamics.run [overrides]`: compose, validate, plan, go.

Imports neither torch, verl nor vllm; the stages do, when they run.
"""

import json
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

from rlvr_dynamics import config as configuration
from rlvr_dynamics.errors import EXIT_DONE
from rlvr_dynamics.schema import STAGES, RunConfig
from rlvr_dynamics.system.command_line import Parser, end, path_of, say

SETTINGS = """
settings:
  +exp=NAME          what to run (default: demo): {experiments}
  dry_run=true       print the plan: stages, what is cached, verl's command, disk, GPUs
  stages=[a,b]       only these of: {stages}
  run_dir=DIR        where everything goes (default: outputs/NAME)
  trainer.steps=20   any key of configs/

The same command goes on where it stopped.
exit codes: 0 done, 1 a stage failed, 2 a mistake in what was given, 75 interrupted (run again)
"""
SEVERAL = "one call is one run; `python -m slurm submit CELL seed=0,1` makes several"
CONFIGURED = "a configuration is made of configs/ and key=value, or is a --config FILE"
ABOUT_HYDRA = {
    "-m": SEVERAL,
    "--multirun": SEVERAL,
    "--config-dir": CONFIGURED,
    "--config-path": CONFIGURED,
    "--config-name": "`+exp=NAME` chooses one",
    "--hydra-help": "--help",
    "--info": "--cfg prints every key with its value",
    "--resolve": "--cfg prints every key with its value",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return end(lambda: _main(given))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m rlvr_dynamics.run",
        usage="%(prog)s [+exp=NAME | --config FILE] [key=value ...] [--cfg] [--version] [-h]",
        description="How predictable are the weights of a language model under RLVR?",
        epilog=SETTINGS.format(
            experiments=", ".join(configuration.experiments()), stages=", ".join(STAGES)
        ),
        overrides=True,
        hints=ABOUT_HYDRA,
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings, see below")
    parser.add_argument(
        "--config",
        type=path_of,
        metavar="FILE",
        help="what --cfg printed, or a run directory's config.json, in place of +exp=NAME",
    )
    parser.add_argument("--cfg", action="store_true", help="print every key with its value")
    return parser


def _main(arguments: list[str]) -> int:
    given = _parser().parse_args(arguments)
    if given.config is None:
        settings = configuration.load(given.settings)
    else:
        settings = configuration.load_file(given.config, given.settings)
    if given.cfg:
        say(json.dumps(settings.model_dump(mode="json"), indent=2))
        return EXIT_DONE
    return _go(settings, arguments)


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end.

    A plain KeyboardInterrupt that comes while a compiled module runs Python code makes the
    interpreter end by SIGINT, whatever exit code it is given.
    """


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # A second signal must not cut the clean-up short.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    raise Interrupted


def _go(settings: RunConfig, arguments: list[str]) -> int:
    from rlvr_dynamics.flow.checks import check_machine
    from rlvr_dynamics.flow.plan_in_words import describe
    from rlvr_dynamics.flow.run_flow import run_flow
    from rlvr_dynamics.run_directory.run import Run

    run = Run(settings, Path(settings.run_dir).absolute())
    if settings.dry_run:
        say(describe(run))
        return EXIT_DONE
    check_machine(run)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGUSR1, _interrupt)  # what a scheduler sends before the time limit
    run_flow(run, shlex.join(["python", "-m", "rlvr_dynamics.run", *arguments]))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
