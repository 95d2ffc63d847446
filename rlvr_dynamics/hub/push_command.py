"""The command that pushes a folder, once its question was answered."""

import sys
from argparse import Namespace
from typing import Any

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED, UserError
from rlvr_dynamics.hub.repository import push
from rlvr_dynamics.system.command_line import path_of, say


def add_push(commands: Any, metavar: str, about: str, what: str) -> None:
    """Add `push` to the commands of a parser.

    Args:
        commands: What `add_subparsers` returned.
        metavar: What the folder is called.
        about: Help for the command.
        what: Help for the folder.
    """
    parser = commands.add_parser("push", help=about)
    parser.add_argument("folder", type=path_of, metavar=metavar, help=what)
    parser.add_argument("repository", metavar="OWNER/NAME")
    parser.add_argument("--public", action="store_true", help="a new repository that all can read")
    parser.add_argument("--yes", action="store_true", help="push without asking")
    parser.set_defaults(work=_push)


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
