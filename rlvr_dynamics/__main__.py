"""`rlvr-dynamics COMMAND ...`, or `python -m rlvr_dynamics COMMAND ...`: every command by one name.

Each command reads the rest of the line itself, and is the same as its module called by Python.
"""

import os
import sys
from importlib import import_module

from rlvr_dynamics.errors import EXIT_DONE, UserError
from rlvr_dynamics.system.command_line import Parser, aligned, end
from rlvr_dynamics.system.installation import module

# Name: the module whose `main` it calls, as a checkout names it, and what it does.
COMMANDS = {
    "run": ("rlvr_dynamics.run", "train, measure, predict and score: one run"),
    "analyse": ("analysis.__main__", "the papers' tables, figures and claims, from finished runs"),
    "grid": ("experiments.grid", "the cells of the grid: what they need and how far they are"),
    "study": ("experiments.study", "10 small runs, and the papers' tables and figures from them"),
    "acceleration": ("experiments.acceleration", "runs with and without jumps of the weights"),
    "questions": ("experiments.questions", "what each question of the papers still needs"),
    "fidelity": ("experiments.fidelity", "a cell's settings beside those of its paper"),
    "directions": ("experiments.directions", "whether runs from one base moved the same way"),
    "slurm": ("slurm.__main__", "cells of the grid on a Slurm cluster"),
    "store": ("rlvr_dynamics.store.__main__", "trajectories at the cost of what changed"),
    "hub": ("rlvr_dynamics.hub.__main__", "results, predictions and stores in a repository"),
    "watch": ("rlvr_dynamics.watch.__main__", "a run while it trains"),
    "sinks": ("rlvr_dynamics.sinks.__main__", "copy a finished run to wandb or TensorBoard"),
}
PROGRAM, RUN = "rlvr-dynamics", "run"
COMPLETION = ("-sc", "--shell-completion")
OWN_OPTIONS = ("-h", "--help", "--version", *COMPLETION)
LINE = "COMP_LINE"
"""The variable in which a shell hands over the line to complete."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return end(lambda: _main(given))


def _main(given: list[str]) -> int:
    if given and _is_of_a_run(given[0]):
        given = [RUN, *given]
    parser = _parser()
    known = parser.parse_args(given[: 2 if given[:1] and given[0] in COMPLETION else 1])
    if known.shell_completion is not None:
        _complete(known.shell_completion)
        return EXIT_DONE
    name = known.command
    if name is None:
        parser.print_help()
        return EXIT_DONE
    return import_module(module(COMMANDS[name][0])).main(given[1:])


def _is_of_a_run(word: str) -> bool:
    """Whether a line that begins with this word is a run's: `+exp=NAME`, `key=value`, `--cfg`."""
    return word not in OWN_OPTIONS and (word.startswith(("+", "~", "-")) or "=" in word)


def _complete(request: str) -> None:
    """Print completions: the names of commands, and the settings of a run."""
    if sys.argv[0].endswith(".py") and not request.startswith("query"):
        raise UserError(
            "a shell completes the words after a command's own name",
            where="python -m rlvr_dynamics",
            way_out=f"{PROGRAM} -sc {request}, from .venv/bin",
        )
    line = os.environ.get(LINE, "")
    words = line.split()[1:]  # the first is this program, by whatever path
    typing = words.pop() if words and not line.endswith(" ") else ""
    if typing.startswith("-") or (words and words[0] in COMMANDS and words[0] != RUN):
        return  # options, and what the other commands take
    settings = [word for word in words if "=" in word and not word.startswith("-")]
    os.environ[LINE] = " ".join([PROGRAM, *settings, typing])
    from rlvr_dynamics import config

    config.shell_completion(request)
    if request.startswith("query") and not words:
        print("\n".join(name for name in COMMANDS if name.startswith(typing)))


def _parser() -> Parser:
    rows = ((f"  {name}", meaning) for name, (_, meaning) in COMMANDS.items())
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s COMMAND [...] [-sc install=SHELL] [--version] [-h]",
        description="How predictable are the weights of a language model under RLVR?",
        epilog="\n".join(
            ["", "commands (each has a --help):", *aligned(rows)]
            + ["", f"+exp=NAME or key=value without a command is `{RUN}`."]
        ),
    )
    parser.add_argument(
        *COMPLETION,
        metavar="install=SHELL",
        help='complete words in bash, zsh or fish: eval "$(rlvr-dynamics -sc install=bash)"',
    )
    parser.add_argument("command", nargs="?", metavar="COMMAND", choices=COMMANDS, help="see below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
