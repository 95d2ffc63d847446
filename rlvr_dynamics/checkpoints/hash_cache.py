"""A cache of file hashes, valid as long as the files do not change."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.file_hashes import FileHashes, hash_weights, mark_of
from rlvr_dynamics.system.atomic import write_sealed_json
from rlvr_dynamics.system.sealed import read_sealed_json

_FLUSH_SECONDS = 10.0


class HashCache:
    """File hashes by size, times and inode, kept in one JSON file.

    Args:
        path: The cache file; None keeps the hashes in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        """Load the cache; an unreadable one counts as empty."""
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        self._unwritten, self._written = False, time.monotonic()
        if path is not None and path.exists():
            try:
                self._known = read_sealed_json(path)
            except (OSError, ValueError, RecursionError):
                self._known = {}

    def known(self, path: Path) -> FileHashes | None:
        """Return the cached hashes of a file; None if it is unknown or has changed."""
        entry = self._known.get(str(path))
        if entry is None or entry.get("mark") != mark_of(path):
            return None
        try:
            return FileHashes(**{key: value for key, value in entry.items() if key != "mark"})
        except TypeError:  # of an earlier version
            return None

    def hashes(self, paths: list[Path], threads: int = 2) -> list[FileHashes]:
        """Return the hashes of each file, reading only those that are new or have changed.

        Raises:
            UserError: A file is not a complete safetensors file.
        """
        found = {path: self.known(path) for path in paths}
        stale = [path for path, each in found.items() if each is None]
        marks = {path: mark_of(path) for path in stale}
        with ThreadPoolExecutor(max_workers=threads) as pool:
            for path, each in zip(stale, pool.map(hash_weights, stale), strict=True):
                self._known[str(path)] = {"mark": marks[path], **asdict(each)}
                found[path] = each
        if stale:
            self._unwritten = True
            if time.monotonic() - self._written > _FLUSH_SECONDS:
                self.flush()
        return [each for each in found.values() if each is not None]

    def __contains__(self, path: str) -> bool:
        """Whether the cache has hashes of a file, current or outdated."""
        return path in self._known

    def flush(self) -> None:
        """Write new entries to the cache file."""
        if self._unwritten and self.path is not None:
            write_sealed_json(self.path, self._known)
        self._unwritten, self._written = False, time.monotonic()

    def recall(self, key: str, paths: list[Path], find: Callable[[], bool]) -> bool:
        """Return a fact about some files, recomputed only when one of them has changed."""
        marks = [mark_of(path) for path in paths]
        known = self._known.get(key, {})
        if known.get("mark") != marks or not isinstance(known.get("fact"), bool):
            known = {"mark": marks, "fact": find()}
            self._known[key] = known
            self._unwritten = True
        return bool(known["fact"])
