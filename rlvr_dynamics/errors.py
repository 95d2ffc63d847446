"""The user's mistakes, and the exit codes of the command line."""

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 75


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
        return f"{self.what}{where}{way_out}"


class TooLittle(UserError):
    """The data are sound, but lack what was asked for; other methods may still work."""


class StageFailed(Exception):
    """A stage broke for a reason that is not the user's input (exit code 1)."""
