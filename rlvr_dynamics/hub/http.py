"""Talking to a model hub: one HTTP layer with time limits, patience and no leaked token.

huggingface_hub gives the address, the token and the offline switch; the bytes are
asked for here, because its own download (1.33) throws away what a killed process had fetched, gives
up at the first 500 or reset of a connection in the middle of a file, never compares a file with its
LFS hash, and its session waits for ever on a server that has stopped answering. requests reads a
body in large blocks, at two thirds of the processor time of httpx.
"""

import email.utils
import json
import os
import random
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
import urllib3.exceptions
from huggingface_hub import constants, get_token
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from rlvr_dynamics.errors import UserError, one_line

T = TypeVar("T")

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
LONGEST_TOLD_WAIT_SECONDS = 600.0  # the hub's rate limits count in windows of five minutes
ATTEMPTS = 9
TIMEOUT_SECONDS = (20.0, 60.0)  # to connect, and between two blocks
MOST_PAGES = 1000
MOST_ANSWER_BYTES = 64 << 20  # of one page of the API
MOST_ANSWER_SECONDS = 60.0
_BLOCK_BYTES = 1 << 18
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_SHOWN_WAIT_SECONDS = 5.0
_PARTIAL_CONTENT = 206
_ERRORS = 400


class NotThere(UserError):
    """The hub knows no such repository, revision or file, or shows it to others only."""


class Transient(Exception):
    """Something that may be over in a moment."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        """Keep what happened and how long the server asked us to wait."""
        super().__init__(what)
        self.wait = wait


class Stopped(Exception):
    """Another download of the same batch failed, or the user interrupted."""


class Patience:
    """Waiting between attempts, longer each time, until too many failed in a row."""

    def __init__(self, stop: threading.Event) -> None:
        """Begin with no failure; `stop` ends every wait."""
        self._stop, self._failures = stop, 0

    def succeeded(self) -> None:
        """Forget earlier failures: something arrived."""
        self._failures = 0

    def wait(self, reason: Transient, what: str) -> None:
        """Wait before the next attempt.

        Raises:
            UserError: The last attempt was one of too many.
            Stopped: There is no point in another attempt.
        """
        self._failures += 1
        if self._failures >= ATTEMPTS:
            raise UserError(
                f"the hub does not deliver: {reason}",
                where=what,
                way_out="check the network (and HF_ENDPOINT), then run the same command again; "
                "what was fetched is kept",
            ) from reason
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (self._failures - 1))
        seconds = random.uniform(0.5, 1.0) * longest  # noqa: S311 - so that not all come at once
        if reason.wait is not None:
            seconds += min(reason.wait, LONGEST_TOLD_WAIT_SECONDS)
        if seconds >= _SHOWN_WAIT_SECONDS:
            print(
                f"hub: {one_line(str(reason))}; next attempt in {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        if self._stop.wait(seconds):
            raise Stopped


class Hub:
    """A hub at one address.

    Args:
        endpoint: Its address; HF_ENDPOINT or the public hub when None.
        connections: Connections that may be open at a time.
    """

    def __init__(self, endpoint: str | None = None, connections: int = 4) -> None:
        """Read address and token from huggingface_hub's usual places; nothing is sent yet."""
        self.endpoint = (
            endpoint or os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)
        ).rstrip("/")
        self.connections, self.stop = connections, threading.Event()
        self._session = requests.Session()
        # Not huggingface_hub's own headers: it asks the hub for a list while it makes them.
        self._session.headers["User-Agent"] = "rlvr-dynamics"
        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.auth = _keep_headers
        adapter = HTTPAdapter(pool_maxsize=connections, pool_block=True)
        self._connections: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        adapter.poolmanager.pool_classes_by_scheme = _pools(self._connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def end(self) -> None:
        """Stop every transfer, also those that wait for a server that sends little or nothing."""
        self.stop.set()
        for connection in list(self._connections):
            with suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)  # pyright: ignore[reportOptionalMemberAccess]

    def __enter__(self) -> "Hub":
        """Return the hub."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self._session.close()

    def patiently(self, what: str, attempt: Callable[[], T]) -> T:
        """Return what an attempt returns, trying again while it fails in passing.

        Raises:
            UserError: Too many attempts failed.
        """
        patience = Patience(self.stop)
        while True:
            try:
                return attempt()
            except Transient as reason:
                patience.wait(reason, what)

    def pages(self, path: str) -> Iterator[Any]:
        """Yield the JSON of an API path, page by page.

        Raises:
            NotThere: The hub has no such thing.
            UserError: It cannot be reached, or answers with something else.
        """
        url = f"{self.endpoint}/api/{path}"
        for _ in range(MOST_PAGES):
            if not url:
                return

            def ask(url: str = url) -> tuple[Any, str]:
                with self._get(url, {}) as response:
                    try:
                        value = json.loads(_whole(response, url))
                    except (ValueError, RecursionError) as error:
                        raise Transient(f"an answer that is no JSON ({_briefly(error)})") from error
                    return value, response.links.get("next", {}).get("url", "")

            value, following = self.patiently(url, ask)
            yield value
            if following and _origin(following) != _origin(url):
                raise UserError(
                    "the hub continues a list on another host, where the token must not go",
                    where=following,
                    way_out="check HF_ENDPOINT",
                )
            url = following
        raise _endless(f"a list of more than {MOST_PAGES} pages", url)

    @contextmanager
    def bytes_from(
        self, repo: str, commit: str, path: str, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Open a file of a commit; one attempt.

        Args:
            repo: Repository.
            commit: Commit.
            path: Path in the repository.
            start: First byte that is wanted.
            stop: One past the last byte that is wanted; the file's end when None.

        Yields:
            The position of the first byte that comes (0 where the server ignores ranges), and the
            bytes in blocks.

        Raises:
            Transient: It may work next time.
            NotThere: There is no such file.
        """
        url = f"{self.endpoint}/{repo}/resolve/{quote(commit, safe='')}/{quote(path)}"
        headers = {}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        with self._get(url, headers) as response:
            first = 0
            if response.status_code == _PARTIAL_CONTENT:
                told = response.headers.get("Content-Range", "")
                place = told.removeprefix("bytes ").partition("-")[0].strip()
                first = int(place) if place.isdecimal() else -1
                if first != start:
                    raise Transient(f"bytes from {told!r} where {start} on were asked for")
            yield first, _blocks(response)

    @contextmanager
    def _get(self, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        if constants.is_offline_mode():
            raise UserError(
                "HF_HUB_OFFLINE is set, and this has not been fetched yet",
                where=url,
                way_out="unset HF_HUB_OFFLINE where there is a network, or give local folders: "
                "model.repo=DIR, source.base=DIR source.checkpoints=DIR",
            )
        if self.stop.is_set():
            raise Stopped
        try:
            # Redirects to another origin lose the token: requests drops Authorization there.
            with self._session.get(
                url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS
            ) as response:
                _check(response, url)
                yield response
        except _NO_ADDRESS as error:
            raise UserError(
                f"not an address: {error}", where=url, way_out="check HF_ENDPOINT"
            ) from error
        except requests.TooManyRedirects as error:
            raise _endless("one redirect after the other", url) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if self.stop.is_set():
                raise Stopped from error
            raise Transient(_briefly(error)) from error


_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep the hub's token: without an `auth` of our own, requests would take one from .netrc."""
    return request


def _blocks(response: requests.Response) -> Iterator[bytes]:
    # What has come is passed on at once: a server that trickles must not keep a thread.
    while block := response.raw.read1(_BLOCK_BYTES):
        yield block


def _whole(response: requests.Response, url: str) -> bytes:
    """An answer of the API, which has an end."""
    begin, parts, size = time.monotonic(), [], 0
    for block in _blocks(response):
        parts.append(block)
        size += len(block)
        if size > MOST_ANSWER_BYTES:
            raise _endless(f"an answer of more than {MOST_ANSWER_BYTES:,} bytes", url)
        if time.monotonic() - begin > MOST_ANSWER_SECONDS:
            raise _endless(f"an answer that took more than {MOST_ANSWER_SECONDS:.0f} s", url)
    return b"".join(parts)


def _endless(what: str, url: str) -> UserError:
    return UserError(
        f"the hub does not come to an end: {what}",
        where=url[:200],
        way_out="check HF_ENDPOINT and the repository",
    )


def _pools(connections: "weakref.WeakSet[HTTPConnection]") -> dict[str, Any]:
    """Pools of connections that are written down, so that they can be ended from outside."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            connections.add(self)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            connections.add(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain  # pyright: ignore[reportAssignmentType]

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure  # pyright: ignore[reportAssignmentType]

    return {"http": PlainPool, "https": SecurePool}


def _briefly(error: BaseException) -> str:
    """Name the innermost of nested errors: the outer ones repeat addresses and object ids."""
    seen = error
    for _ in range(8):
        inner = getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    return f"{type(error).__name__}: {getattr(seen, 'strerror', None) or type(seen).__name__}"


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _check(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status < _ERRORS:
        return
    said = response.headers.get("X-Error-Message") or response.reason
    if status in _PASSING:
        raise Transient(f"HTTP {status} {said}", _told_wait(response.headers.get("Retry-After")))
    if status in (401, 403):
        raise NotThere(
            f"the hub refuses this (HTTP {status} {said})",
            where=url,
            way_out="check the name; for a gated or private repository accept its terms on its "
            "page and log in with `hf auth login`",
        )
    if status in (404, 410):
        raise NotThere(f"not on the hub ({said})", where=url, way_out="check repository and name")
    raise UserError(f"HTTP {status} {said}", where=url, way_out="check HF_ENDPOINT and the name")


def _told_wait(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date (RFC 9110, section 10.2.3)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
