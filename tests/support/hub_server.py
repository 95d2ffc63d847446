"""A small model hub on loopback that speaks the Hugging Face hub's HTTP interface.

Branches and commits, file trees with LFS hashes, HEAD and GET of files, redirects of large files to
a second origin (the "CDN"), byte ranges, and faults on demand. As a script it serves folders of
files for a measurement: ``python tests/support/hub_server.py REPO=FOLDER ...`` prints its address.
"""

import hashlib
import json
import os
import socket
import struct
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".bin")
PAGE = 50
"""Entries on one page of a file tree; the real hub pages too."""


@dataclass(frozen=True)
class File:
    """A file of one commit."""

    path: Path
    size: int
    sha256: str
    blob: str

    @property
    def lfs(self):
        """Whether the hub stores it outside the repository."""
        return self.path.suffix in LFS_SUFFIXES


@dataclass
class Fault:
    """One broken answer.

    `kind` is an HTTP status such as "429" or "500", or: "cut" (half of the body, then the
    connection ends), "reset" (the connection ends before the first byte), "slow" (a pause in the
    middle), "wrong" (a byte of the body flipped), "whole" (the requested range is ignored).
    """

    kind: str
    retry_after: str | None = None


@dataclass
class Request:
    """A client's request."""

    method: str
    origin: str
    path: str
    headers: object


@dataclass
class Hub:
    """Repositories, the faults queued for the next requests, and a log of all requests.

    `faults` maps a kind of request ("api", "resolve", "cdn") to the faults of the next ones.
    """

    folder: Path | None = None
    repos: dict = field(default_factory=dict)  # repo -> branch -> commit
    commits: dict = field(default_factory=dict)  # (repo, commit) -> name -> File
    faults: dict = field(default_factory=dict)  # kind of request -> deque of Fault
    requests: list = field(default_factory=list)
    injected: int = 0
    speed_limit: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    handler = None  # another one, that answers more requests

    def publish(self, repo, branch, folder, extra=None):
        """Publish a folder's files on a branch as a new commit; returns the commit.

        `extra` maps arbitrary names to further files of the commit.
        """
        files = {
            str(path.relative_to(folder)): _file(path)
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
        files |= {name: _file(Path(path)) for name, path in (extra or {}).items()}
        lines = "".join(f"{name}:{file.sha256}\n" for name, file in sorted(files.items()))
        commit = hashlib.sha1(f"{repo}\n{lines}".encode()).hexdigest()
        with self.lock:
            self.repos.setdefault(repo, {})[branch] = commit
            self.commits[repo, commit] = files
        return commit

    def inject(self, where, *kinds, **options):
        """Make the next requests of a kind fail, one by one."""
        with self.lock:
            self.faults.setdefault(where, deque()).extend(Fault(kind, **options) for kind in kinds)

    def next_fault(self, where):
        """Take the fault for this request; None means no fault."""
        with self.lock:
            waiting = self.faults.get(where)
            if not waiting:
                return None
            fault = waiting.popleft()
            self.injected += fault is not None and fault.kind != "none"
            return None if fault.kind == "none" else fault

    @property
    def waiting(self):
        """Return the faults that no request has hit yet."""
        return sum(fault.kind != "none" for each in self.faults.values() for fault in each)

    def start(self):
        """Serve on two free ports of the loopback interface."""
        self.cdn = _server(self, "cdn")
        self.server = _server(self, "hub")
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def stop(self):
        """End both servers."""
        for server in (self.server, self.cdn):
            server.shutdown()
            server.server_close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def _file(path):
    data_size = path.stat().st_size
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {data_size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            if path.suffix not in LFS_SUFFIXES:
                blob.update(block)
    return File(path, data_size, sha256.hexdigest(), blob.hexdigest())


def _described(file):
    if not file.lfs:
        return {"size": file.size, "blobId": file.blob}
    lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": 135}
    return {"size": file.size, "blobId": "0" * 40, "lfs": lfs}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # clients that disconnect midway are part of the tests


def _server(hub, origin):
    class Handler(hub.handler or _Handler):
        pass

    Handler.hub, Handler.origin = hub, origin
    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub = None
    origin = ""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        with self.hub.lock:
            self.hub.requests.append(Request(self.command, self.origin, self.path, self.headers))
        path = urlsplit(self.path).path
        if self.origin == "cdn":
            self.cdn(path)
        elif path.startswith("/api/models/"):
            self.api(path.removeprefix("/api/models/"))
        elif "/resolve/" in path:
            self.resolve(path)
        else:
            self.error(404, "EntryNotFound", "no such page")

    # --- the three kinds of request ---

    def api(self, path):
        if self.fails(fault := self.hub.next_fault("api")):
            return
        parts = path.split("/")
        repo = "/".join(parts[:2])
        if repo not in self.hub.repos:
            self.error(404, "RepoNotFound", "Repository not found")
            return
        rest = parts[2:]
        if rest[:1] == ["refs"]:
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
                for name, commit in self.hub.repos[repo].items()
            ]
            self.send({"branches": branches, "tags": [], "converts": []}, fault)
            return
        commit = self.commit(repo, unquote(rest[1]) if len(rest) > 1 else "main")
        if commit is None:
            return
        files = self.hub.commits[repo, commit]
        if rest[:1] == ["tree"]:
            self.tree(files, "/".join(map(unquote, rest[2:])), fault)
            return
        blobs = parse_qs(urlsplit(self.path).query).get("blobs", ["false"])[0].lower()
        siblings = [
            {"rfilename": name} | (_described(file) if blobs in ("true", "1") else {})
            for name, file in files.items()
        ]
        self.send(
            {
                **{"id": repo, "modelId": repo, "sha": commit, "private": False, "tags": []},
                **{"downloads": 0, "likes": 0, "siblings": siblings},
            },
            fault,
        )

    def tree(self, files, below, fault):
        query = parse_qs(urlsplit(self.path).query)
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        prefix = f"{below}/" if below else ""
        entries, folders = [], set()
        for name, file in files.items():
            if not name.startswith(prefix):
                continue
            rest = name[len(prefix) :]
            if "/" in rest and not recursive and not rest.startswith(("/", "..")):
                folders.add(prefix + rest.split("/")[0])
                continue
            entry = {"type": "file", "oid": file.blob, "size": file.size, "path": name}
            if file.lfs:
                lfs = {"oid": file.sha256, "size": file.size, "pointerSize": 135}
                entry |= {"oid": "0" * 40, "lfs": lfs}
            entries.append(entry)
        if below and not entries and not folders:
            self.error(404, "EntryNotFound", "no such folder")
            return
        entries += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": f} for f in folders]
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + PAGE < len(entries):
            page = f"{self.hub.endpoint}{urlsplit(self.path).path}?cursor={start + PAGE}"
            headers["Link"] = f'<{page}&recursive={recursive}>; rel="next"'
        self.send(entries[start : start + PAGE], fault, headers)

    def resolve(self, path):
        if self.fails(fault := self.hub.next_fault("resolve")):
            return
        repo, _, rest = path[1:].partition("/resolve/")
        revision, _, name = rest.partition("/")
        commit = self.commit(repo, unquote(revision))
        if commit is None:
            return
        file = self.hub.commits[repo, commit].get(unquote(name))
        if file is None:
            self.error(404, "EntryNotFound", "no such file")
            return
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not file.lfs:
            self.bytes_of(file, fault, headers | {"ETag": f'"{file.blob}"'})
            return
        # Another host name: huggingface_hub requests only bytes from hosts other than the hub.
        place = f"http://localhost:{self.hub.cdn.server_port}/{file.sha256}"
        headers |= {
            "Location": f"{place}?signature={quote(commit)}",
            "X-Linked-Size": str(file.size),
            "X-Linked-ETag": f'"{file.sha256}"',
            "ETag": f'"{file.sha256}"',
            "Content-Length": "0",
        }
        self.begin(302, headers)

    def cdn(self, path):
        if self.fails(fault := self.hub.next_fault("cdn")):
            return
        for files in self.hub.commits.values():
            for file in files.values():
                if file.sha256 == path[1:]:
                    self.bytes_of(file, fault, {"ETag": f'"{file.sha256}"'})
                    return
        self.error(404, "EntryNotFound", "no such object")

    # --- answers ---

    def commit(self, repo, revision):
        branches = self.hub.repos.get(repo)
        if branches is None:
            self.error(404, "RepoNotFound", "Repository not found")
            return None
        commit = branches.get(revision, revision)
        if (repo, commit) not in self.hub.commits:
            self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit

    def fails(self, fault):
        """Send the fault's status or end the connection; False if a normal answer should follow."""
        if fault is None or fault.kind in ("cut", "slow", "wrong", "whole"):
            return False
        if fault.kind == "reset":
            # A reset, not a regular close.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return True
        headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
        self.error(int(fault.kind), None, "injected", headers)
        return True

    def begin(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def error(self, status, code, message, headers=None):
        body = json.dumps({"error": message}).encode()
        headers = {"Content-Length": str(len(body)), **(headers or {}), "X-Error-Message": message}
        if code:
            headers["X-Error-Code"] = code
        self.begin(status, headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def send(self, value, fault, headers=None):
        body = json.dumps(value).encode()
        self.begin(
            200,
            {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **(headers or {}),
            },
        )
        cut = fault is not None and fault.kind == "cut"
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut

    def bytes_of(self, file, fault, headers):
        kind = fault.kind if fault is not None else None
        start, stop, status = 0, file.size, 200
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and kind != "whole":
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop, status = int(first), min(file.size, int(last or file.size) + 1), 206
            if start >= file.size:
                self.error(416, None, "range", {"Content-Range": f"bytes */{file.size}"})
                return
            headers = headers | {"Content-Range": f"bytes {start}-{stop - 1}/{file.size}"}
        self.begin(status, headers | {"Content-Length": str(stop - start)})
        if self.command == "HEAD":
            return
        self.wfile.flush()
        with file.path.open("rb") as source:
            if kind == "cut":
                self.copy(source, start, start + (stop - start) // 2)
                self.close_connection = True
                return
            if kind == "slow":
                self.copy(source, start, start + (stop - start) // 2)
                time.sleep(0.2)
                self.copy(source, start + (stop - start) // 2, stop)
                return
            if kind == "wrong":
                source.seek(start)
                data = bytearray(source.read(stop - start))
                data[len(data) // 2] ^= 1
                self.wfile.write(data)
                return
            self.copy(source, start, stop)

    def copy(self, source, start, stop):
        while start < stop:
            size = stop - start
            if self.hub.speed_limit:
                size = min(size, 1 << 14)
                time.sleep(size / self.hub.speed_limit)
            start += os.sendfile(self.connection.fileno(), source.fileno(), start, size)


def main():
    """Serve folders until standard input closes."""
    hub = Hub()
    for given in sys.argv[1:]:
        repo, _, folder = given.partition("=")
        for step in sorted(Path(folder).iterdir()):
            hub.publish(repo, step.name, step)
    with hub:
        print(hub.endpoint, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
