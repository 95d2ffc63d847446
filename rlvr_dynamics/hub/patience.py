"""Retries: which failures are transient, and how long to wait between attempts."""

import random
import sys
import threading

from rlvr_dynamics.errors import UserError, one_line

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
LONGEST_TOLD_WAIT_SECONDS = 600.0  # the hub's rate limits use windows of five minutes
ATTEMPTS = 9
_SHOWN_WAIT_SECONDS = 5.0


class Transient(Exception):
    """A failure that may pass; `wait` is how many seconds the server asked us to wait."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        """Store both."""
        super().__init__(what)
        self.wait = wait


class Stopped(Exception):
    """Another download of the same batch failed, or the user interrupted."""


class Patience:
    """Waits between attempts, longer each time, until too many have failed in a row."""

    def __init__(self, stop: threading.Event, what: str) -> None:
        """Start without failures; `stop` ends every wait, `what` is named in the final error."""
        self._stop, self._what, self._failures = stop, what, 0

    def succeeded(self) -> None:
        """Reset the count of failures, because data arrived."""
        self._failures = 0

    def wait(self, reason: Transient) -> None:
        """Wait before the next attempt.

        Raises:
            UserError: Too many attempts have failed.
            Stopped: The download was stopped.
        """
        self._failures += 1
        if self._failures >= ATTEMPTS:
            raise UserError(
                f"the hub does not deliver: {reason}",
                where=self._what,
                way_out="check the network (and HF_ENDPOINT), then run the same command again; "
                "what was fetched is kept",
            ) from reason
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (self._failures - 1))
        seconds = random.uniform(0.5, 1.0) * longest  # noqa: S311 - so that not all come at once
        seconds += min(reason.wait, LONGEST_TOLD_WAIT_SECONDS)
        if seconds >= _SHOWN_WAIT_SECONDS:
            print(
                f"hub: {one_line(str(reason))}; next attempt in {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        if self._stop.wait(seconds):
            raise Stopped
