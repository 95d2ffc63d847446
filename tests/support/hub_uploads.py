"""The loopback hub of `hub_server` with the requests that uploads make: LFS, not xet."""

import base64
import hashlib
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.support import hub_server

TOKEN = "hf_dummy"  # noqa: S105 - of the loopback hub


class Handler(hub_server._Handler):
    """Creates repositories and takes commits from whoever has the token."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        with self.hub.lock:
            self.hub.requests.append(hub_server.Request("POST", self.origin, path, self.headers))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.error(401, None, "Invalid username or password.")
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif path == "/api/validate-yaml":
            self.send({"errors": [], "warnings": []}, None)
        elif "/preupload/" in path:
            self.preupload(json.loads(body)["files"])
        elif path.endswith(".git/info/lfs/objects/batch"):
            self.batch(json.loads(body)["objects"])
        elif "/commit/" in path:
            self.take(path, [json.loads(line) for line in body.splitlines()])
        else:
            self.error(404, None, f"no such request: {path}")

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        name = urlsplit(self.path).path.removeprefix("/upload/")
        with self.hub.lock:
            self.hub.requests.append(hub_server.Request("PUT", self.origin, self.path, None))
        assert hashlib.sha256(data).hexdigest() == name
        self.hub.place(name, lfs=True).write_bytes(data)
        self.send({}, None)

    def create(self, asked):
        repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else None
        repo = repo or f"user/{asked['name']}"
        known = repo in self.hub.repos
        if not known:
            # Newer versions of huggingface_hub send a word.
            self.hub.private[repo] = asked.get("private") or asked.get("visibility") == "private"
            self.hub.keep(repo, {})
        answer = {"url": f"{self.hub.endpoint}/{repo}", "name": repo, "id": repo}
        if not known:
            self.send(answer, None)
            return
        body = json.dumps(answer | {"error": "You already created this model repo"}).encode()
        self.begin(409, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def preupload(self, files):
        found = [
            {
                "path": each["path"],
                "uploadMode": "lfs"
                if each["path"].endswith(hub_server.LFS_SUFFIXES)
                else "regular",
                "shouldIgnore": False,
            }
            for each in files
        ]
        self.send({"files": found}, None)

    def batch(self, objects):
        found = []
        for each in objects:
            answer = {"oid": each["oid"], "size": each["size"]}
            if not self.hub.place(each["oid"], lfs=True).exists():
                href = f"{self.hub.endpoint}/upload/{each['oid']}"
                answer["actions"] = {"upload": {"href": href}}
            found.append(answer)
        self.send({"transfer": "basic", "objects": found}, None)

    def take(self, path, lines):
        repo = "/".join(path.removeprefix("/api/models/").split("/")[:2])
        files = dict(self.hub.commits[repo, self.hub.repos[repo]["main"]])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                data = base64.b64decode(value["content"])
                place = self.hub.place(hashlib.sha256(data).hexdigest())
                place.write_bytes(data)
                files[value["path"]] = hub_server._file(place)
            elif line["key"] == "lfsFile":
                files[value["path"]] = hub_server._file(self.hub.place(value["oid"], lfs=True))
        commit = self.hub.keep(repo, files)
        url = f"{self.hub.endpoint}/{repo}/commit/{commit}"
        self.send({"commitUrl": url, "commitOid": commit, "success": True}, None)


class UploadHub(hub_server.Hub):
    """A hub that starts empty and keeps what it is sent in a folder."""

    handler = Handler

    def __init__(self, folder):
        super().__init__(folder=Path(folder))
        self.folder.mkdir()
        self.private = {}

    def place(self, digest, lfs=False):
        """Where a blob lies; one that came by LFS has the ending that says so."""
        return self.folder / (f"{digest}.bin" if lfs else digest)

    def keep(self, repo, files):
        lines = "".join(f"{name}:{file.sha256}\n" for name, file in sorted(files.items()))
        commit = hashlib.sha1(f"{repo}\n{lines}".encode()).hexdigest()
        self.repos.setdefault(repo, {})["main"] = commit
        self.commits[repo, commit] = files
        return commit

    def environment(self, home):
        """Variables with which huggingface_hub asks this hub, and no other."""
        return os.environ | {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",  # the tests' own processes are
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
