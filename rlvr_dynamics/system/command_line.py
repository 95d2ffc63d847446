"""Shared parts of every command line: grammar, terminal output, exit."""

import argparse
import os
import pwd
import re
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rlvr_dynamics.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    StageFailed,
    UserError,
    did_you_mean,
    refusal,
    shown,
)
from rlvr_dynamics.system.installation import as_typed_here
from rlvr_dynamics.system.versions import own_version

VERSION = "--version"
ENCODING = "PYTHONIOENCODING"
KEYS = "`--key value` may be written `key=value`, and words and options come in any order."
_KEY = re.compile(r"\w+")


def say(text: str, stream: Any = None) -> None:
    """Write text to the terminal: control characters visible, commands as they are typed here."""
    print(shown(as_typed_here(text)), file=stream or sys.stdout, flush=True)


def aligned(rows: Iterable[Sequence[object]], right: Container[int] = ()) -> list[str]:
    """Return the lines of a table, with two spaces between columns.

    Args:
        rows: The cells, row by row.
        right: Indices of right-aligned columns.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if place in right else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in texts
    ]


def unquoted(text: str) -> str:
    """Return a value without the quotes that a shell may have left around it."""
    quoted = len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]
    return text[1:-1] if quoted else text


def path_of(text: str) -> Path:
    """Parse an option's path; an empty one (an unset variable) is a mistake, not this folder."""
    if not unquoted(text):
        raise argparse.ArgumentTypeError("it is empty")
    return Path(unquoted(text))


def count_of(text: str) -> int:
    """Parse an option's whole number, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"given {text!r}, allowed: 1, 2, 3, ...")
    return int(text)


class Parser(argparse.ArgumentParser):
    """The grammar of all commands: words and options in any order, `key=value` for `--key value`.

    A mistake raises a UserError that names the word and a likely correction.
    """

    def __init__(
        self,
        *,
        overrides: bool = False,
        hints: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        """Describe a command line.

        Args:
            overrides: Whether `key=value` is accepted as a word if the key is not an option.
            hints: Options that users may expect here, and what to use instead.
            settings: Further arguments of `argparse.ArgumentParser`.
        """
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        epilog = "\n".join(filter(None, [KEYS, settings.pop("epilog", None)]))
        super().__init__(allow_abbrev=False, epilog=epilog, **settings)
        self._overrides, self._hints = overrides, hints or {}
        self._between_words = False
        self.add_argument(VERSION, action="store_true", help="say which version this is")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, but reject unknown arguments and handle --version first.

        Raises:
            UserError: The command line has a mistake.
        """
        given = sys.argv[1:] if args is None else list(args)
        if self._between_words:  # argparse calls this for the options, then for the words
            return super().parse_known_args(given, namespace)
        if VERSION in given:
            say(own_version())
            raise SystemExit(EXIT_DONE)
        if self._subparsers is not None:
            found, left = super().parse_known_args(given, namespace)
        else:
            self._between_words = True
            try:
                given = self._keys_as_options(given)
                found, left = self.parse_known_intermixed_args(given, namespace)
            finally:
                self._between_words = False
        if left:
            raise self._unknown(left[0])
        return found, []

    def _keys_as_options(self, given: Sequence[str]) -> list[str]:
        """Rewrite `key=value` as the option it stands for."""
        options = {
            name.lstrip("-").replace("-", "_"): (name, action.nargs == 0)
            for name, action in self._option_string_actions.items()
            if name.startswith("--") and name not in ("--help", VERSION)
        }
        spelled: list[str] = []
        seen: set[str] = set()
        for word in given:
            key, equals, value = word.partition("=")
            before = self._option_string_actions.get(spelled[-1]) if spelled else None
            is_value = before is not None and before.nargs != 0
            if is_value or not equals or not _KEY.fullmatch(key):
                spelled.append(word)
            elif key in options:
                name, is_switch = options[key]
                if key in seen:
                    raise UserError(f"{key} was given twice", where=word)
                if not value.strip("[] "):
                    raise UserError(f"{key} is empty", where=word, way_out=f"{key}=VALUE")
                seen.add(key)
                if not is_switch:
                    spelled.append(f"{name}={value}")
                elif value == "true":
                    spelled.append(name)
                elif value != "false":
                    raise UserError(f"{key}: given {value!r}", way_out="allowed: true, false")
            elif self._overrides:
                spelled.append(word)
            else:
                way_out = f"{did_you_mean(key, options)}one of {', '.join(options)}"
                raise UserError(f"unknown key {key}", where=word, way_out=way_out)
        return spelled

    def _unknown(self, word: str) -> UserError:
        if not word.startswith("-"):
            return UserError(f"{word!r} is not understood", way_out=f"{self.prog} --help")
        name = word.partition("=")[0]
        known = ", ".join(self._option_string_actions)
        hint = f"{self._hints[name]}; " if name in self._hints else ""
        return UserError(
            f"{name}: unknown option",
            where=word if word != name else "",
            way_out=f"{hint or did_you_mean(name, self._option_string_actions)}options: {known}",
        )

    def format_help(self) -> str:
        """Return the help, with commands as they are typed here."""
        return as_typed_here(super().format_help())

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # Optional words arrive as an empty list.
        if action.choices is not None and value != [] and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise UserError(
                f"{value!r} is not understood",
                where=action.option_strings[0] if action.option_strings else "",
                way_out=f"{did_you_mean(str(value), known)}allowed: {', '.join(known)}",
            )

    def error(self, message: str) -> NoReturn:
        """Turn a mistake into a UserError."""
        raise UserError(message, way_out=f"{self.prog} --help")


def end(
    work: Callable[[], int],
    interrupted: str = "interrupted: run the same command again to go on",
) -> int:
    """Run a command's work and return its exit code, however it ends.

    Args:
        work: Does the work and returns the exit code.
        interrupted: Message after Ctrl-C or a scheduler's signal.
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
        # The reader of our output has gone (`| head`); the interpreter would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        mistake = error if isinstance(error, UserError) else refusal(error)
        if mistake is None:
            raise
        say(f"error: {' '.join(str(mistake).split())}", stream=sys.stderr)
        return EXIT_USER_ERROR


def _settle() -> None:
    """Adapt to terminals with limited encodings and to users without a name."""
    if sys.getfilesystemencoding().lower() != "utf-8":
        _begin_again_in_utf8()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character must not fail a finished run.
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    encoding = os.environ.get(ENCODING, "")
    if encoding and ":" not in encoding:
        os.environ[ENCODING] = f"{encoding}:backslashreplace"  # for child processes
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        # Libraries ask for the user's name, which may not exist in a container.
        os.environ.setdefault("LOGNAME", f"uid{os.getuid()}")


def _begin_again_in_utf8() -> None:
    """Restart in UTF-8 mode: other locales cannot represent every file name and text."""
    encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    shown = {ENCODING: os.environ.get(ENCODING) or f"{encoding}:backslashreplace"}
    os.execve(sys.executable, sys.orig_argv, {**os.environ, **shown, "PYTHONUTF8": "1"})  # noqa: S606
