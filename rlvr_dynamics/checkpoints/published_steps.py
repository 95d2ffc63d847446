"""Where the steps of a training are published: a folder each, or deltas in one store."""

import os
import shutil
from pathlib import Path

from rlvr_dynamics.checkpoints.delta_names import BASE, STORE, version_folders, version_name
from rlvr_dynamics.checkpoints.delta_open import create_store
from rlvr_dynamics.checkpoints.delta_store import DeltaStore
from rlvr_dynamics.checkpoints.delta_writer import ANCHOR_EVERY, add_step
from rlvr_dynamics.system.atomic import remove, remove_leftovers

_STEP = "step_"
_DENSE = "newest"
_MOST_THREADS = 8


class Folders:
    """One Hugging Face folder per step.

    Args:
        folder: Where `step_N` appears.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder."""
        self.folder = folder

    def steps(self) -> list[int]:
        """Return the published steps, ascending."""
        return _numbers(self.folder)

    def place(self, step: int) -> Path:
        """Return the folder to which the checkpoint of a step is to be moved whole."""
        return self.folder / f"{_STEP}{step}"

    def take(self, step: int) -> None:
        """Publish a step whose folder is at its place."""

    def remove_after(self, step: int) -> None:
        """Remove the steps after a step."""
        for later in self.steps():
            if later > step:
                shutil.rmtree(self.place(later))

    def finish(self) -> None:
        """Remove what only further steps would need."""


class Deltas(Folders):
    """A delta store, and beside it the newest checkpoint as a whole, which the next one follows.

    Args:
        folder: The store.
        base: Folder of the base, which stays where it is.
    """

    def __init__(self, folder: Path, base: Path) -> None:
        """Name the folders; the store is made with its first step."""
        super().__init__(folder)
        self.base = base
        self._store: DeltaStore | None = None

    def steps(self) -> list[int]:
        """Return the published steps, ascending."""
        return [step for step in version_folders(self.folder) if step != BASE] if self._made else []

    def place(self, step: int) -> Path:
        """Return the folder to which the checkpoint of a step is to be moved whole."""
        return self.folder / _DENSE / f"{_STEP}{step}"

    def take(self, step: int) -> None:
        """Add a step to the store, and remove the whole checkpoint of the one before."""
        if self._store is None:
            remove_leftovers(self.folder)
            self._store = create_store(self.folder, ANCHOR_EVERY, self.base)
        store = self._store
        if step not in store.versions:
            newest = max(store.versions)
            whole = self.base if newest == BASE else self.place(newest)
            store.dense = {newest: whole} if whole.is_dir() else {}
            add_step(store, step, self.place(step), threads=min(_MOST_THREADS, os.cpu_count() or 1))
        for earlier in _numbers(self.folder / _DENSE):
            if earlier < step:
                remove(self.place(earlier))

    def remove_after(self, step: int) -> None:
        """Remove the steps after a step."""
        for later in self.steps()[::-1]:  # from the newest: what is left is a whole chain
            if later > step:
                remove(self.folder / version_name(later))
        for later in _numbers(self.folder / _DENSE):
            if later > step:
                remove(self.place(later))
        self._store = None

    def finish(self) -> None:
        """Remove the whole checkpoint of the last step, which the store has."""
        shutil.rmtree(self.folder / _DENSE, ignore_errors=True)

    @property
    def _made(self) -> bool:
        return (self.folder / STORE).is_file()


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix(_STEP)) for path in folder.glob(f"{_STEP}[0-9]*"))
