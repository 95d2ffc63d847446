"""`python -m rlvr_dynamics.hub push|pull`: results, predictions and stores in a repository."""

import sys
from argparse import Namespace

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED, UserError
from rlvr_dynamics.hub.repository import pull, push
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
    sent = commands.add_parser("push", help="a run's results, a predicted checkpoint, or a store")
    sent.add_argument("folder", type=path_of, metavar="FOLDER", help="RUN_DIR, prediction or store")
    sent.add_argument("repository", metavar="OWNER/NAME")
    sent.add_argument("--public", action="store_true", help="a new repository that all can read")
    sent.add_argument("--yes", action="store_true", help="push without asking")
    sent.set_defaults(work=_push)
    fetched = commands.add_parser("pull", help="everything that a repository has")
    fetched.add_argument("repository", metavar="OWNER/NAME")
    fetched.add_argument("folder", type=path_of, metavar="FOLDER")
    fetched.add_argument("--revision", help="branch, tag or commit")
    fetched.set_defaults(work=_pull)
    given = parser.parse_args(arguments)
    return given.work(given)


def _push(given: Namespace) -> int:
    def agreed(question: str) -> bool:
        say(question)
        if given.yes:
            return True
        if not sys.stdin.isatty():
            raise UserError("nobody is there to agree to a push", way_out="say so with --yes")
        return input("yes or no? ").strip().lower() in ("y", "yes")

    address = push(given.folder, given.repository, agreed=agreed, public=given.public)
    say(address or "nothing was sent")
    return EXIT_DONE if address else EXIT_FAILED


def _pull(given: Namespace) -> int:
    pull(given.repository, given.folder, given.revision)
    say(f"{given.repository} is in {given.folder}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
