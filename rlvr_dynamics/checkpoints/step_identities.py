"""Identities of a base and its steps, and verification of what is read against them."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import torch

from rlvr_dynamics.checkpoints.adapter_identity import adapter_identity, prove_adapter
from rlvr_dynamics.checkpoints.file_hashes import FileHashes, mark_of
from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.identity import (
    hashes_of,
    identity_of,
    known_identity,
    prove_folder,
    read_manifest,
)
from rlvr_dynamics.checkpoints.layout import Layout
from rlvr_dynamics.checkpoints.proofs import Proofs
from rlvr_dynamics.checkpoints.step_values import StepValues
from rlvr_dynamics.checkpoints.stored_values import TORCH_DTYPES
from rlvr_dynamics.system import progress

_PROVED_BYTES = 16 << 20


class IdentifiedSteps(StepValues):
    """The tensors of a base and of later steps, with the identity of their weights.

    Attributes:
        steps: Step numbers, ascending, without the base.
    """

    def __init__(
        self,
        layouts: dict[int, Layout],
        dtypes: dict[str, str],
        proofs: Proofs,
        cache: HashCache,
        verified: set[int],
    ) -> None:
        """Read from layouts that were checked against each other.

        Args:
            layouts: Base (step 0) and steps.
            dtypes: The dtype in which each tensor is read.
            proofs: Known hashes of the files.
            cache: Cache of file hashes.
            verified: Steps that need no verification; grows as steps are verified.
        """
        super().__init__(layouts, dtypes, proofs)
        self._cache = cache
        self._verified = verified
        self.steps: tuple[int, ...] = tuple(step for step in layouts if step != 0)

    @cached_property
    def identities(self) -> dict[int, str]:
        """Identity of every step's weights (step 0: the base), from manifests or hashes."""
        found = {0: identity_of(self.folder(0), self._cache)}
        for step in self.steps:
            adapter = self._layouts[step].adapter
            found[step] = (
                identity_of(self.folder(step), self._cache)
                if adapter is None
                else adapter_identity(adapter, found[0], self._cache)
            )
        self._cache.flush()
        return found

    @cached_property
    def identity(self) -> str:
        """One identity for the base and all steps with their numbers."""
        lines = "".join(f"{step}:{value}\n" for step, value in sorted(self.identities.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def mark(self) -> str:
        """A fingerprint that changes whenever the weights read do, computed without reading them.

        It uses the identities in the manifests, or those taken before; for folders with neither,
        size, time and inode of the files.
        """
        marks = {
            step: (read_manifest(layout.folder) or {}).get("identity")
            or (None if layout.adapter else known_identity(layout.folder, self._cache))
            or [_mark_of(path) for path in layout.files]
            for step, layout in sorted(self._layouts.items())
        }
        found: object = [marks, self.round_to] if self.round_to else marks
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()

    @cached_property
    def repeats(self) -> list[tuple[int, int]]:
        """Pairs (earlier, later) of steps whose weight files are byte-identical; 0 is the base.

        Each later step is paired with the first step that has the same bytes. The same weights with
        different sharding have different bytes and are not found.
        """
        first: dict[str, int] = {}
        pairs = []
        for step, identity in sorted(self.identities.items()):
            if identity in first:
                pairs.append((first[identity], step))
            else:
                first[identity] = step
        return pairs

    def verify(self, *, threads: int = 2) -> None:
        """Read and verify every weight file now; `prove_on_reading` does so later.

        Raises:
            UserError: A file differs from its manifest.
        """
        self.prove_on_reading(threads=threads)
        self._prove_versions([step for step in self.steps if self._layouts[step].in_store])
        whole = [
            layout
            for layout in self._layouts.values()
            if layout.adapter is None and not layout.in_store
        ]
        for folder, hashes in self._proofs.folders(whole):
            prove_folder(folder, hashes, threads)

    def _prove_versions(self, steps: Sequence[int]) -> None:
        """Read every tensor of steps in a delta store, all steps of a tensor together."""
        for name in self._layouts[steps[0]].names if steps else ():
            size = self.numel(name)
            columns = min(size, _PROVED_BYTES // len(steps))
            rows = [torch.empty(columns, dtype=TORCH_DTYPES[self.dtypes[name]]) for _ in steps]
            for start in range(0, size, max(1, columns)):
                count = min(columns, size - start)
                self.read_rows(name, steps, start, [row[:count] for row in rows])

    def prove_on_reading(self, *, threads: int = 2, show_progress: bool = False) -> None:
        """Check headers, configs and tokenizers now, and verify every tensor as it is read.

        A tensor is compared with the hash in its manifest, or with its hash from when the folder's
        identity was taken. Files without either are read and compared with their manifest now;
        folders without manifest and identity cannot be verified.

        Raises:
            UserError: A file differs from its manifest.
        """
        known: dict[int, str] = self.__dict__.get("identities", {})
        for step, layout in self._layouts.items():
            if layout.adapter is not None and step in known:
                prove_adapter(layout.adapter, known[0], known[step])
        waiting = [
            step
            for step, layout in self._layouts.items()
            if step not in self._verified and layout.adapter is None
        ]
        with ThreadPoolExecutor(max_workers=threads) as pool:
            done = pool.map(self._hashes, waiting)
            if show_progress:
                done = progress.bar(done, total=len(waiting), desc="verify", unit="checkpoint")
            for step, hashes in zip(waiting, done, strict=True):
                if hashes is not None:
                    self._proofs.expect(self._layouts[step], hashes)
                self._verified.add(step)
        self._cache.flush()

    def _hashes(self, step: int) -> dict[str, FileHashes] | None:
        for shard in self._layouts[step].shards.values():
            if shard.store is not None:
                shard.store.check_beside(shard.step)
                return shard.store.hashes(shard.step)
        return hashes_of(self.folder(step), self._cache)

    def settle(self, name: str | None = None) -> None:
        """Also verify tensors that were read only in part; call this before publishing anything.

        Args:
            name: Only this tensor, while other threads work on others.

        Raises:
            UserError: A tensor differs from its hash.
        """
        self._proofs.settle(name)


def _mark_of(path: Path) -> list[int]:
    """Return size, modification time and inode of a file.

    The change time is excluded: a new link or permission alters it, and the mark is part of the key
    of finished predictions.
    """
    size, modified, _, inode = mark_of(path)
    return [size, modified, inode]
