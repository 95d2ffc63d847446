"""What every command line has in common: options, the terminal, how it ends."""

import argparse
import os
import pwd
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rlvr_dynamics.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    StageFailed,
    UserError,
    refusal,
)
from rlvr_dynamics.system.foreign_text import shown
from rlvr_dynamics.system.versions import commit, package_version

HELP = ("-h", "--help")
VERSION = "--version"
ENCODING = "PYTHONIOENCODING"
ABOUT_HYDRA = {
    "-m": "one call is one run; `python -m slurm submit CELL seed=0,1` makes several",
    "--multirun": "one call is one run; `python -m slurm submit CELL seed=0,1` makes several",
    "--config-dir": "a configuration is made of configs/ and key=value",
    "--config-path": "a configuration is made of configs/ and key=value",
    "--config-name": "`+exp=NAME` chooses one",
    "--hydra-help": "--help",
    "--info": "--cfg prints every key with its value",
    "--resolve": "--cfg prints every key with its value",
}


def say(text: str, stream: Any = None) -> None:
    """Write a text to the terminal, which must not obey what is in it."""
    print(shown(text), file=stream or sys.stdout, flush=True)


def version() -> str:
    """Name, version and commit of this program."""
    number = package_version("rlvr-dynamics") or "of a checkout that is not installed"
    made = commit()
    return f"rlvr_dynamics {number}" + (f" ({made})" if made else "")


def check_options(arguments: Sequence[str], allowed: Sequence[str] = ()) -> None:
    """Refuse what looks like an option and is none of ours.

    Args:
        arguments: The command line.
        allowed: Options beside --help and --version.

    Raises:
        UserError: Names the option, and the way out.
    """
    known = (*HELP, VERSION, *allowed)
    for item in arguments:
        name = item.partition("=")[0]
        if item.startswith("-") and name not in known:
            hint = ABOUT_HYDRA.get(name)
            raise UserError(
                f"{name}: unknown option",
                where=item if item != name else "",
                way_out=f"{hint}; options: {', '.join(known)}"
                if hint
                else f"options: {', '.join(known)}; settings are key=value",
            )


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line, and which knows --version."""

    def __init__(self, **settings: Any) -> None:
        """Take argparse's own settings; abbreviations of options are not understood."""
        super().__init__(allow_abbrev=False, **settings)
        self.add_argument(VERSION, action="store_true", help="say which version this is")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but --version answers whatever else is missing."""
        given = sys.argv[1:] if args is None else list(args)
        if VERSION in given:
            say(version())
            raise SystemExit(EXIT_DONE)
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Turn a mistake into a UserError."""
        raise UserError(message, way_out=f"{self.prog} --help")


def end(
    work: Callable[[], int],
    interrupted: str = "interrupted: run the same command again to go on",
) -> int:
    """Do the work of a command line; returns the exit code, whatever happens to it.

    Args:
        work: Returns the exit code.
        interrupted: What is said after Ctrl-C or a scheduler's signal.
    """
    _settle()
    try:
        return work()
    except StageFailed as error:
        say(f"failed: {error}", stream=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        say(interrupted, stream=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone (`| head`); the interpreter would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        told = error if isinstance(error, UserError) else refusal(error)
        if told is None:
            raise
        say(f"error: {' '.join(str(told).split())}", stream=sys.stderr)
        return EXIT_USER_ERROR


def _settle() -> None:
    """Make do with the terminal and the user that there are."""
    if sys.getfilesystemencoding().lower() != "utf-8":
        _begin_again_in_utf8()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a letter must not end a run that is finished.
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    encoding = os.environ.get(ENCODING, "")
    if encoding and ":" not in encoding:
        os.environ[ENCODING] = f"{encoding}:backslashreplace"  # for the processes we start
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        # Libraries ask for a user's name, which a container may not know.
        os.environ.setdefault("LOGNAME", f"uid{os.getuid()}")


def _begin_again_in_utf8() -> None:
    """Under an old locale Python can neither name every file nor write every text: start anew."""
    encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    shown = {ENCODING: os.environ.get(ENCODING) or f"{encoding}:backslashreplace"}
    os.execve(sys.executable, sys.orig_argv, {**os.environ, **shown, "PYTHONUTF8": "1"})  # noqa: S606
