"""The user's mistakes, what a system refuses, and the exit codes of the command line."""

import difflib
import errno
import os
import re
from collections.abc import Iterable

# What a terminal colours its text with; logs of libraries are full of it.
_COLOURS = re.compile("\x1b\\[[0-9;]{0,20}m")
# Controls but line break and tab, marks that turn or hide text, halves of characters.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 75


def shown(text: str) -> str:
    r"""Return a text with its control characters written out, such as ``\x1b``.

    Titles, answers and names of files come from elsewhere, and a terminal obeys what is in them.
    """
    text = _COLOURS.sub("", text)
    return _HIDDEN.sub(lambda found: ascii(found.group())[1:-1], text)


def one_line(text: str) -> str:
    """Return a text for a place that has one line: as `shown`, a blank for every line break."""
    return shown(" ".join(text.splitlines()))


class UserError(Exception):
    """Something the user gave is wrong: what, where, and the way out.

    Shown without a traceback; the command ends with exit code 2.
    """

    def __init__(self, what: str, *, where: str = "", way_out: str = "") -> None:
        """Store the three parts; `where` and `way_out` may be empty."""
        self.what, self.where, self.way_out = what, where, way_out
        super().__init__(what)

    def __str__(self) -> str:
        """One line for the terminal."""
        where = f" ({self.where})" if self.where else ""
        way_out = f" -> {self.way_out}" if self.way_out else ""
        return one_line(f"{self.what}{where}{way_out}")


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """The beginning of a way out: the known words most like a wrong one; empty without any."""
    close = difflib.get_close_matches(word, list(known), n=most)
    return f"did you mean {', '.join(close)}? " if close else ""


class TooLittle(UserError):
    """The data are sound, but lack what was asked for; other methods may still work."""


class StageFailed(Exception):
    """A stage broke for a reason that is not the user's input (exit code 1)."""


# What the operating system refuses for a reason that lies outside: its text says which.
_REFUSED = {
    "EACCES": "check the owner and the permissions",
    "EPERM": "check the owner and the permissions",
    "EROFS": "choose a folder that can be written",
    "ENOTDIR": "a file is where a folder belongs: check the path",
    "EISDIR": "a folder is where a file belongs: check the path",
    "ELOOP": "the path leads in circles through links: check it",
    "ENAMETOOLONG": "choose a shorter path",
    "EEXIST": "a file is where a folder belongs: check the path",
    "ENXIO": "this is not an ordinary file: check the path",
    "ENODEV": "this is not an ordinary file: check the path",
    "EMFILE": "raise the limit on open files (ulimit -n)",
    "ENFILE": "raise the system's limit on open files",
    "ENOMEM": "free some memory, or lower measure.memory_gib",
    "EIO": "the disk or its server does not work: check it, then run the same command again",
    "ESTALE": "the disk's server was restarted: run the same command again",
    "ETIMEDOUT": "the disk's server does not answer: run the same command again",
    "ENOTCONN": "the disk's server does not answer: run the same command again",
}
_NO_ROOM = ("no space left on device", "disk quota exceeded")
_TOO_LARGE = "file too large"


def no_room(error: BaseException, where: object) -> UserError | None:
    """Say that a disk, a quota or a limit on files is full, where an error says so.

    Libraries wrap the operating system's error, so the message is looked at as well.
    """
    number, text = getattr(error, "errno", None), str(error).lower()
    kept = "then run the same command again; what was finished is kept"
    if number == errno.EFBIG or _TOO_LARGE in text:
        return UserError(
            "a file may not grow larger here",
            where=str(where),
            way_out=f"raise the limit (ulimit -f), or choose a folder on another disk, {kept}",
        )
    if number in (errno.ENOSPC, errno.EDQUOT) or any(words in text for words in _NO_ROOM):
        return UserError(
            "no space left on the disk",
            where=str(where),
            way_out=f"free some space or choose a folder on another disk, {kept}",
        )
    return None


def refusal(error: BaseException) -> UserError | None:
    """An error of the operating system that is nobody's bug, as one line; None for any other."""
    where = getattr(error, "filename", None)
    full = no_room(error, where or "this machine")
    if full is not None or not isinstance(error, OSError) or error.errno is None:
        return full
    way_out = _REFUSED.get(errno.errorcode.get(error.errno, ""))
    if way_out is None:
        return None
    return UserError(os.strerror(error.errno), where=str(where or error), way_out=way_out)
