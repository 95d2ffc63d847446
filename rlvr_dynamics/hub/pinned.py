"""A checkpoint on the hub at one commit: its files with their sizes and hashes.

File lists from a server or a lock file are not trusted: a name must be a plain file name, a hash
must look like one.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError

_PLAIN_NAME = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file in a commit: its name, its size and the hash of its content.

    `sha256` is the LFS hash of a large file; `blob` is git's hash of a small one.

    Raises:
        ValueError: The name is not a plain file name, or the size or hash is malformed.
    """

    name: str
    size: int
    sha256: str | None
    blob: str | None

    def __post_init__(self) -> None:
        """Validate all four fields."""
        if not _PLAIN_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a plain file name")
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 0:
            raise ValueError(f"{self.name} has size {self.size!r}")
        form = _COMMIT if self.sha256 is None else _SHA256
        if not form.fullmatch(self.hash):
            raise ValueError(f"{self.name} has hash {self.hash!r}")

    @property
    def is_weights(self) -> bool:
        """Whether the file holds tensors."""
        return self.name.endswith(".safetensors")

    @property
    def hash(self) -> str:
        """Hash of the content, which is also the blob's name in Hugging Face's cache."""
        return str(self.blob if self.sha256 is None else self.sha256)

    def digest(self) -> Any:
        """Return a new hash object of the same kind as `hash`."""
        if self.sha256 is not None:
            return hashlib.sha256()
        return hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)

    def is_in(self, path: Path) -> bool:
        """Whether a local file has this content; reads all of it."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        digest = self.digest()
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest() == self.hash


@dataclass(frozen=True)
class Address:
    """Address of a checkpoint: repository, branch, tag or commit, and folder within it."""

    repo: str
    revision: str
    folder: str

    @property
    def where(self) -> str:
        """The address in words."""
        return f"{self.repo}@{self.revision}" + f"/{self.folder}" * bool(self.folder)


@dataclass(frozen=True)
class Pinned:
    """One checkpoint of the hub at one commit."""

    address: Address
    commit: str
    files: tuple[RemoteFile, ...]

    def __post_init__(self) -> None:
        """Check the commit."""
        if not is_commit(self.commit):
            raise ValueError(f"commit {self.commit!r}")

    @property
    def repo(self) -> str:
        """The repository."""
        return self.address.repo

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def source(self) -> str:
        """The source in words."""
        return Address(self.repo, self.commit, self.address.folder).where

    def path(self, file: RemoteFile) -> str:
        """Return the path of a file in the repository."""
        folder = self.address.folder
        return f"{folder}/{file.name}" if folder else file.name

    def entry(self) -> dict[str, Any]:
        """Return the entry for a lock file."""
        return {
            "repo": self.repo,
            "asked": self.address.revision,
            "folder": self.address.folder,
            "revision": self.commit,
            "files": [asdict(file) for file in self.files],
        }


def is_commit(text: str) -> bool:
    """Whether a revision is the full hash of a commit."""
    return _COMMIT.fullmatch(text) is not None


def pinned_in(entry: Mapping[str, Any], lock_file: Path | str) -> Pinned:
    """Return the checkpoint that an entry of a lock file records.

    Raises:
        UserError: The entry is damaged.
    """
    try:
        return Pinned(
            Address(entry["repo"], entry["asked"], entry.get("folder", "")),
            entry["revision"],
            tuple(RemoteFile(**file) for file in entry["files"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"damaged record of commits ({type(error).__name__}: {error})",
            where=str(lock_file),
            way_out="restore it, or delete it to resolve the commits anew",
        ) from error
