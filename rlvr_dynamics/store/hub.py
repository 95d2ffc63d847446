"""A delta store from a repository of the hub."""

from pathlib import Path

from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.hub import repository as repositories
from rlvr_dynamics.store.pack import alone_in


def pull(repository: str, store: Path, revision: str | None = None) -> None:
    """Download a store; files that are there and the same are kept.

    Args:
        repository: OWNER/NAME.
        store: The folder for it.
        revision: Branch, tag or commit.

    Raises:
        UserError: The hub has no such repository, or it is no store.
    """
    with alone_in(store):
        repositories.pull(repository, store, revision, ["store.json", "weight_v*"])
    open_store(store)
