"""Published checkpoints: which commit and which files a step is, resolved once and written down.

Names, sizes and hashes come from the hub's API and are not trusted: a name must be a plain file
name, a hash must look like one, and only weights in safetensors and the small text files of a model
are taken.
"""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from rlvr_dynamics.checkpoints.companions import SUFFIXES
from rlvr_dynamics.checkpoints.identity import MANIFEST
from rlvr_dynamics.checkpoints.steps import shortened
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.http import Hub, NotThere
from rlvr_dynamics.system.atomic import write_json
from rlvr_dynamics.system.files import read_object

LOCK_FILE = "published.lock.json"
FORMAT = 1
_WEIGHTS = re.compile(r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors")
_COMPANIONS = tuple(sorted(SUFFIXES - {".py"}))  # no foreign code, which nothing here would run
_LARGEST_COMPANION_BYTES = 256 << 20
_PLAIN_NAME = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,199}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a commit: its name here, its size, and the hash that proves its content.

    `sha256` is the LFS hash of a large file; `blob` is git's hash of a small one.
    """

    name: str
    size: int
    sha256: str | None
    blob: str | None

    @property
    def is_weights(self) -> bool:
        """Whether it holds tensors."""
        return self.name.endswith(".safetensors")


@dataclass(frozen=True)
class Pinned:
    """One checkpoint of the hub at one commit."""

    repo: str
    revision: str
    folder: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        below = f"/{self.folder}" if self.folder else ""
        return f"{self.repo}@{self.commit}{below}"

    def path(self, file: RemoteFile) -> str:
        """Return the path of a file in the repository."""
        return f"{self.folder}/{file.name}" if self.folder else file.name


@dataclass(frozen=True)
class Address:
    """Where a checkpoint is asked for: repository, branch, tag or commit, and folder in it."""

    repo: str
    revision: str
    folder: str


def pin(hub: Hub, address: Address) -> Pinned:
    """Resolve a revision to its commit and list the files that make up the model.

    Raises:
        NotThere: No such repository, revision or folder.
        UserError: No safetensors there, a name that is not a plain file name, or no hub.
    """
    _check_address(address)
    where = f"{address.repo}@{address.revision}"
    info = next(hub.pages(f"models/{address.repo}/revision/{quote(address.revision, safe='')}"))
    commit = str(info.get("sha", "")) if isinstance(info, dict) else ""
    if not _COMMIT.fullmatch(commit):
        raise _strange(where, f"commit {commit!r}")
    below = f"/{quote(address.folder)}" if address.folder else ""
    files: dict[str, RemoteFile] = {}
    for page in hub.pages(f"models/{address.repo}/tree/{commit}{below}"):
        for entry in page if isinstance(page, list) else (page,):
            file = _wanted(entry, address.folder, where)
            if file is not None:
                files[file.name] = file
    if not any(file.is_weights for file in files.values()):
        raise UserError(
            "no model in safetensors here"
            + (f", but {', '.join(sorted(files)[:5])}" if files else ""),
            where=f"{where}{below}",
            way_out="check the repository and its folder; weights in other formats are not read",
        )
    return Pinned(
        **asdict(address), commit=commit, files=tuple(files[name] for name in sorted(files))
    )


def pin_all(hub: Hub, addresses: Mapping[int, Address], lock_file: Path) -> dict[int, Pinned]:
    """Resolve every step that the lock file does not know yet, and write them down.

    A branch that moves later changes nothing: the recorded commit is fetched.

    Raises:
        UserError: Steps are not on the hub (says which exist), or it cannot be reached.
    """
    known = read_lock(lock_file)
    pinned = {
        step: known[step]
        for step, address in addresses.items()
        if step in known and _address_of(known[step]) == address
    }
    waiting = [step for step in addresses if step not in pinned]
    absent: dict[int, NotThere] = {}

    def resolve(step: int) -> Pinned | None:
        try:
            return pin(hub, addresses[step])
        except NotThere as error:
            absent[step] = error
            return None

    with ThreadPoolExecutor(max_workers=hub.connections) as pool:
        try:
            for step, found in zip(waiting, pool.map(resolve, waiting), strict=True):
                if found is not None:
                    pinned[step] = found
        except BaseException:
            hub.end()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if waiting and pinned:
        write_lock(lock_file, known | pinned)
    if absent:
        raise _absent_steps(hub, addresses, absent, sorted(pinned))
    return dict(sorted(pinned.items()))


def _absent_steps(
    hub: Hub, addresses: Mapping[int, Address], absent: Mapping[int, NotThere], found: list[int]
) -> UserError:
    first = min(absent)
    steps = shortened(absent)
    address = addresses[first]
    branches = branch_steps(hub, address, first)
    if branches:
        known = f"branches for these steps exist: {shortened(branches)}"
    elif found:
        known = f"of the steps asked for, these exist: {shortened(found)}"
    else:
        known = "check source.published.repo and source.published.revision"
    return UserError(
        f"step {steps} cannot be had: {absent[first].what}",
        where=f"{address.repo}@{address.revision}" + f"/{address.folder}" * bool(address.folder),
        way_out=known if branches or found else f"{known}; {absent[first].way_out}",
    )


def branch_steps(hub: Hub, address: Address, step: int) -> list[int]:
    """Return the steps that have a branch like this step's; empty when that cannot be known."""
    if not re.search(rf"(?<![0-9]){step}(?![0-9])", address.revision):
        return []
    before, _, after = address.revision.rpartition(str(step))
    try:
        refs = next(hub.pages(f"models/{address.repo}/refs"))
        names = [str(branch["name"]) for branch in refs["branches"]]
    except (NotThere, KeyError, TypeError):
        return []
    pattern = re.compile(rf"{re.escape(before)}([0-9]{{1,9}}){re.escape(after)}")
    return sorted(int(found.group(1)) for found in map(pattern.fullmatch, names) if found)


# --- the lock file ---


def read_lock(path: Path) -> dict[int, Pinned]:
    """Return what was resolved before, by step; empty without a file.

    Raises:
        UserError: The file is damaged.
    """
    if not path.exists():
        return {}
    try:
        content = read_object(path, way_out="restore it, or delete it to resolve the commits anew")
        if content["format"] != FORMAT:
            raise ValueError("another format")
        return {int(step): _unlocked(entry) for step, entry in content["steps"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"damaged record of commits ({type(error).__name__}: {error})",
            where=str(path),
            way_out="restore it, or delete it to resolve the commits anew",
        ) from error


def write_lock(path: Path, pinned: Mapping[int, Pinned]) -> None:
    """Publish the lock file."""
    steps = {str(step): asdict(each) for step, each in sorted(pinned.items())}
    write_json(path, {"format": FORMAT, "steps": steps})


def _unlocked(entry: dict[str, Any]) -> Pinned:
    files = tuple(
        _file(each["name"], each["size"], each["sha256"], each["blob"]) for each in entry["files"]
    )
    if not _COMMIT.fullmatch(entry["commit"]):
        raise ValueError(f"commit {entry['commit']!r}")
    return Pinned(
        repo=entry["repo"],
        revision=entry["revision"],
        folder=entry["folder"],
        commit=entry["commit"],
        files=files,
    )


def _address_of(pinned: Pinned) -> Address:
    return Address(repo=pinned.repo, revision=pinned.revision, folder=pinned.folder)


# --- what a server may say ---


def _check_address(address: Address) -> None:
    parts = PurePosixPath(address.folder).parts
    if not _REPO.fullmatch(address.repo) or ".." in address.repo:
        raise UserError(
            f"not a repository: {address.repo!r}",
            where="source.published.repo",
            way_out="give OWNER/NAME",
        )
    if any(part in ("..", "/") for part in parts) or address.folder != "/".join(parts):
        raise UserError(
            f"not a folder of a repository: {address.folder!r}",
            where="source.published.folder",
            way_out="give a relative path such as step100",
        )


def _wanted(entry: Any, folder: str, where: str) -> RemoteFile | None:
    """Return a listed file if it is part of a model; None for everything else."""
    try:
        if entry["type"] != "file":
            return None
        path, size, lfs = str(entry["path"]), int(entry["size"]), entry.get("lfs") or {}
        inside = f"{folder}/" if folder else ""
        if not path.startswith(inside):
            raise ValueError(path)
        name = path[len(inside) :]
        weights = _WEIGHTS.fullmatch(name) is not None
        companion = name.endswith(_COMPANIONS) and size <= _LARGEST_COMPANION_BYTES
        if not weights and not companion or name == MANIFEST:
            return None
        return _file(name, int(lfs.get("size", size)), lfs.get("oid"), entry.get("oid"))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _strange(where, f"{type(error).__name__}: {error}") from error


def _file(name: str, size: int, sha256: str | None, blob: str | None) -> RemoteFile:
    if not _PLAIN_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain file name")
    if size < 0 or isinstance(size, bool) or not isinstance(size, int):
        raise ValueError(f"{name} has size {size!r}")
    if sha256 is not None:
        blob = None
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{name} has hash {sha256!r}")
    elif blob is None or not _COMMIT.fullmatch(blob):
        raise ValueError(f"{name} has no hash")
    return RemoteFile(name=name, size=size, sha256=sha256, blob=blob)


def _strange(where: str, what: str) -> UserError:
    return UserError(
        f"the hub's description of this checkpoint is not to be trusted: {what}",
        where=where,
        way_out="check HF_ENDPOINT and the repository; nothing was written",
    )
