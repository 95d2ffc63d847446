"""`python -m rlvr_dynamics.hub push|pull`: results, predictions and stores in a repository."""

import sys
from argparse import Namespace

from rlvr_dynamics.errors import EXIT_DONE
from rlvr_dynamics.hub.push_command import add_push
from rlvr_dynamics.hub.repository import pull
from rlvr_dynamics.system.command_line import Parser, end, path_of, say


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return end(lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    parser = Parser(
        prog="python -m rlvr_dynamics.hub",
        description="Keep results, predictions and delta stores in a repository of the Hugging "
        "Face hub. A new one is private; nothing is sent before you agree.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    about = "a run's results, a predicted checkpoint, or a store"
    add_push(commands, "FOLDER", about, "RUN_DIR, prediction or store")
    fetched = commands.add_parser("pull", help="everything that a repository has")
    fetched.add_argument("repository", metavar="OWNER/NAME")
    fetched.add_argument("folder", type=path_of, metavar="FOLDER")
    fetched.add_argument("--revision", help="branch, tag or commit")
    fetched.set_defaults(work=_pull)
    given = parser.parse_args(arguments)
    return given.work(given)


def _pull(given: Namespace) -> int:
    pull(given.repository, given.folder, given.revision)
    say(f"{given.repository} is in {given.folder}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
