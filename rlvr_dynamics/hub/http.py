"""HTTP client for a model hub: timeouts, retries, and a token sent only to the hub.

Address, token, offline switch and cache are huggingface_hub's. Files are downloaded here because
its own download (1.33) does not resume after a killed process, gives up at a 500 or a reset in the
middle of a file, and does not check a file's LFS hash; its API client waits forever for a server
that stops answering, and reads responses of any length. requests reads a body in two thirds of the
CPU time of httpx.
"""

import json
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import quote

import requests
import urllib3.exceptions
from huggingface_hub import constants
from urllib3.connection import HTTPConnection

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.patience import Patience, Stopped, Transient
from rlvr_dynamics.hub.pinned import Pinned, RemoteFile
from rlvr_dynamics.hub.session import open_session

T = TypeVar("T")
R = TypeVar("R")

CONNECTIONS = 4
TIMEOUT_SECONDS = (20.0, 60.0)  # for connecting, and between two blocks
PROBE_SECONDS = 10.0
MOST_ANSWER_BYTES = 256 << 20
MOST_ANSWER_SECONDS = 60.0
_BLOCK_BYTES = 1 << 18
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_PARTIAL_CONTENT = 206
_ERRORS = 400


class NotThere(UserError):
    """The repository, revision or file does not exist on the hub, or access is denied."""


class Hub:
    """A hub at one address.

    Args:
        endpoint: Its address; if None, HF_ENDPOINT or the public hub.
        connections: Maximum number of open connections.
    """

    def __init__(self, endpoint: str | None = None, connections: int = CONNECTIONS) -> None:
        """Read address and token from huggingface_hub's usual sources; sends nothing."""
        self.endpoint = (
            endpoint or os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)
        ).rstrip("/")
        self.connections, self.stop = connections, threading.Event()
        self._open: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._session = open_session(connections, self._open)

    def end(self) -> None:
        """Stop every transfer, including those waiting for a slow or silent server."""
        self.stop.set()
        for connection in list(self._open):
            with suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)  # pyright: ignore[reportOptionalMemberAccess]

    def __enter__(self) -> "Hub":
        """Return the hub."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self._session.close()

    def silence(self) -> str:
        """Return why the hub cannot be reached; empty if it gives any answer."""
        if constants.is_offline_mode():
            return "HF_HUB_OFFLINE is set"
        try:
            self._session.head(self.endpoint, timeout=PROBE_SECONDS)
        except requests.RequestException as error:
            return f"{type(error).__name__}: {_cause(error)}"
        return ""

    def in_parallel(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Yield results as they arrive, running as many tasks at a time as there are connections.

        The first error stops all other tasks and is raised when they have ended.
        """
        with ThreadPoolExecutor(max_workers=self.connections) as pool:
            running = [pool.submit(work, task) for task in tasks]
            try:
                for done in as_completed(running):
                    yield done.result()
            except BaseException:
                self.end()
                pool.shutdown(cancel_futures=True)
                raise

    def answer(self, path: str) -> Any:
        """Return the JSON at an API path.

        Raises:
            NotThere: It does not exist on the hub.
            UserError: The hub cannot be reached, or does not answer with JSON.
        """
        url, patience = f"{self.endpoint}/api/{path}", Patience(self.stop, path)
        while True:
            try:
                with self._get(url) as response:
                    return json.loads(_whole(response, url))
            except Transient as reason:
                patience.wait(reason)
            except (ValueError, RecursionError) as error:
                patience.wait(Transient(f"an answer that is not JSON ({type(error).__name__})"))

    def blocks(self, pinned: Pinned, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes [start, stop) of a file in order, each exactly once.

        An interrupted transfer resumes where it stopped.

        Raises:
            UserError: The hub does not deliver.
            Stopped: `end` was called.
        """
        name = f"{quote(pinned.commit, safe='')}/{quote(pinned.path(file))}"
        url = f"{self.endpoint}/{pinned.repo}/resolve/{name}"
        patience = Patience(self.stop, f"{pinned.source}: {file.name}")
        while start < stop:
            try:
                for block in self._attempt(url, start, stop, file.size):
                    yield block
                    start += len(block)
                    patience.succeeded()
                if start < stop:
                    raise Transient(f"{stop - start} bytes are missing")
            except Transient as reason:
                patience.wait(reason)

    def _attempt(self, url: str, start: int, stop: int, size: int) -> Iterator[bytes]:
        whole = start == 0 and stop == size
        headers = {} if whole else {"Range": f"bytes={start}-{stop - 1 if stop < size else ''}"}
        with self._get(url, headers) as response:
            place = 0  # a server that ignores ranges sends the whole file
            if response.status_code == _PARTIAL_CONTENT:
                place, told = start, response.headers.get("Content-Range", "")
                if told.removeprefix("bytes ").partition("-")[0].strip() != str(start):
                    raise Transient(f"bytes from {told!r} where {start} on were asked for")
            for block in _blocks(response):
                if self.stop.is_set():
                    raise Stopped
                wanted = block[max(0, start - place) : max(0, stop - place)]
                place += len(block)
                if wanted:
                    yield wanted
                if place > stop:
                    return

    @contextmanager
    def _get(self, url: str, headers: dict[str, str] | None = None) -> Iterator[requests.Response]:
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
            # requests drops the token on a redirect to another origin.
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
            raise Transient(f"{type(error).__name__}: {_cause(error)}") from error


_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)


def _blocks(response: requests.Response) -> Iterator[bytes]:
    # Pass on bytes as they arrive: a server that sends slowly must not block a thread.
    while block := response.raw.read1(_BLOCK_BYTES):
        yield block


def _whole(response: requests.Response, url: str) -> bytes:
    """Read an API response of limited length."""
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
        f"the hub's answer does not come to an end: {what}",
        where=url[:200],
        way_out="check HF_ENDPOINT and the repository",
    )


def _cause(error: BaseException) -> str:
    """Return the system's own error message, without the HTTP library's wrapping."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _check(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status < _ERRORS:
        return
    said = response.headers.get("X-Error-Message") or response.reason
    if status in _PASSING:
        asked = response.headers.get("Retry-After", "")
        raise Transient(f"HTTP {status} {said}", float(asked) if asked.isdecimal() else 0.0)
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
