"""Hugging Face's cache, where models are stored and shared with other tools.

The layout is huggingface_hub's: `blobs/HASH` holds a file's content, `snapshots/COMMIT/NAME` is a
symbolic link to it, and `refs/BRANCH` holds the latest known commit of a branch.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.pinned import Pinned, RemoteFile, is_commit
from rlvr_dynamics.system.atomic import write_text
from rlvr_dynamics.system.locks import held


def folder() -> Path:
    """Return the cache's folder."""
    return Path(constants.HF_HUB_CACHE)


def blob(pinned: Pinned, file: RemoteFile) -> Path:
    """Return the path of a file's content."""
    return _repo(pinned.repo) / "blobs" / file.hash


def find(pinned: Pinned, file: RemoteFile) -> Path | None:
    """Return the cached file if its content is right (reads all of it), else None."""
    places = (_pointer(pinned, file).resolve(), blob(pinned, file).resolve())
    for each in dict.fromkeys(places):
        if file.is_in(each):
            return each
    return None


def remove(pinned: Pinned, file: RemoteFile) -> None:
    """Remove a cached file whose content differs from the hub's."""
    if blob(pinned, file).exists():
        print(f"damaged in Hugging Face's cache, fetched again: {file.name} of {pinned.source}")
    for path in (_pointer(pinned, file), blob(pinned, file)):
        path.unlink(missing_ok=True)


def offer(pinned: Pinned, *, newest: bool) -> None:
    """Link a model's blobs under their file names in the commit, so other tools find them.

    Args:
        pinned: A model whose blobs are all in the cache.
        newest: Whether the requested branch or tag points to this commit now.
    """
    for file in pinned.files:
        pointer = _pointer(pinned, file)
        with suppress(OSError):  # it exists, or another user owns the cache
            pointer.parent.mkdir(parents=True, exist_ok=True)
            pointer.symlink_to(os.path.relpath(blob(pinned, file), pointer.parent))
    ref = _repo(pinned.repo) / "refs" / pinned.address.revision
    if newest and not is_commit(pinned.address.revision) and ".." not in ref.parts:
        with suppress(OSError):
            write_text(ref, pinned.commit)


def described(repo: str, revision: str) -> dict[str, Any] | None:
    """Describe a cached repository in the format of the hub's API.

    Hashes are the names of the blobs. Returns None if no tool has fetched this revision.
    """
    commit, ref = revision, _repo(repo) / "refs" / revision
    if not is_commit(revision) and ref.is_file():
        commit = ref.read_text().strip()
    snapshot = _repo(repo) / "snapshots" / commit
    if not is_commit(commit) or not snapshot.is_dir():
        return None
    siblings = []
    for path in snapshot.rglob("*"):
        if path.is_symlink() and path.is_file():
            name, size = path.readlink().name, path.stat().st_size
            kept = {"lfs": {"sha256": name, "size": size}} if len(name) > 40 else {"blobId": name}
            entry = {"rfilename": path.relative_to(snapshot).as_posix(), "size": size}
            siblings.append(entry | kept)
    return {"sha": commit, "siblings": siblings}


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link or copy a file that is never changed in place."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # on another disk, or owned by another user
        shutil.copyfile(source, target)


@contextmanager
def alone(repo: str) -> Iterator[None]:
    """Lock a repository's part of the cache; other runs that fetch into it wait.

    Raises:
        UserError: The cache is not writable.
    """
    locks = folder() / ".locks" / _repo(repo).name
    with ExitStack() as stack:
        try:
            locks.mkdir(parents=True, exist_ok=True)
            wait = f"waiting for another run that fetches the same model ({repo})"
            stack.enter_context(held(locks / "rlvr-dynamics.lock", waiting=lambda: print(wait)))
        except OSError as error:
            raise UserError(
                f"models cannot be stored: {error.strerror}",
                where=str(locks),
                way_out="set HF_HOME to a folder that can be written",
            ) from error
        yield


def _pointer(pinned: Pinned, file: RemoteFile) -> Path:
    return _repo(pinned.repo) / "snapshots" / pinned.commit / pinned.path(file)


def _repo(repo: str) -> Path:
    return folder() / f"models--{repo.replace('/', '--')}"
