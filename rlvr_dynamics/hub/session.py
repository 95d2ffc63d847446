"""An HTTP session with the hub's token whose connections can be closed from outside."""

import weakref
from typing import Any

import requests
from huggingface_hub import constants, get_token
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


def open_session(connections: int, noted: "weakref.WeakSet[HTTPConnection]") -> requests.Session:
    """Open a session with huggingface_hub's token.

    Args:
        connections: Maximum number of open connections per host; further requests wait.
        noted: Every connection is added to this set when it is opened.
    """
    session = requests.Session()
    # Not huggingface_hub's own headers: building them sends a request to the public hub.
    session.headers.update({"User-Agent": "rlvr-dynamics", "Accept-Encoding": "identity"})
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    session.auth = lambda request: request  # else requests would use a token from .netrc
    adapter = HTTPAdapter(pool_maxsize=connections, pool_block=True)
    adapter.poolmanager.pool_classes_by_scheme = {
        "http": _noting(HTTPConnectionPool, HTTPConnection, noted),
        "https": _noting(HTTPSConnectionPool, HTTPSConnection, noted),
    }
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _noting(pool: type, kind: type, noted: "weakref.WeakSet[HTTPConnection]") -> Any:
    """Return a pool class that adds its connections to `noted`."""

    def connect(connection: Any) -> None:
        kind.connect(connection)  # pyright: ignore[reportAttributeAccessIssue]
        noted.add(connection)

    return type("Pool", (pool,), {"ConnectionCls": type("Noted", (kind,), {"connect": connect})})
