"""Create and open a delta store."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.delta_files import Version, manifest_of, read_version
from rlvr_dynamics.checkpoints.delta_names import BASE, STORE, is_store, version_folders
from rlvr_dynamics.checkpoints.delta_store import DeltaStore
from rlvr_dynamics.checkpoints.identity import identity_of
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import write_sealed_json
from rlvr_dynamics.system.sealed import read_sealed_json

FORMAT = 1


def create_store(
    folder: Path, anchor_every: int, base: Path | None = None, *, moved: Path | None = None
) -> DeltaStore:
    """Create an empty store, or open the one that is there, to add steps to it.

    Args:
        folder: The store.
        anchor_every: See `DeltaStore`.
        base: Folder of the base, if it stays outside of the store.
        moved: Where the base of a store that is there may be; see `open_store`.

    Raises:
        UserError: A version of the store is broken or missing.
    """
    if not is_store(folder):
        folder.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {"format": FORMAT, "anchor_every": anchor_every}
        if base is not None:
            settings["base"] = os.path.relpath(base, folder)
            settings["base_identity"] = identity_of(base)
        write_sealed_json(folder / STORE, settings)
    store = open_store(folder, moved)
    store.refuse_broken()
    return store


def open_store(folder: Path, base: Path | None = None) -> DeltaStore:
    """Read what the versions of a store say about themselves.

    Args:
        folder: The store.
        base: Where the base may be, if it is not in the store and has moved.

    Returns:
        The store; what cannot be read of it is in `DeltaStore.broken`, and fails where it is used.

    Raises:
        UserError: It is no store, or the base outside is missing.
    """
    if not is_store(folder):
        raise UserError(
            f"not a delta store: it has no {STORE}",
            where=str(folder),
            way_out="python -m rlvr_dynamics.store pack FOLDER STORE makes one",
        )
    try:
        settings = read_sealed_json(folder / STORE)
        known = settings["format"] == FORMAT
        anchor_every = int(settings["anchor_every"])
        outside = folder / settings["base"] if "base" in settings else None
        identity = settings["base_identity"] if outside is not None else ""
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"damaged {STORE} ({type(error).__name__})",
            where=str(folder / STORE),
            way_out="put it back from a copy of the store",
        ) from error
    if not known or anchor_every < 1:
        raise UserError(
            f"a delta store of format {settings['format']}, and this version reads {FORMAT}",
            where=str(folder / STORE),
            way_out="use the version of rlvr_dynamics that wrote it",
        )
    versions: dict[int, Version] = {}
    broken: dict[int, UserError] = {}
    for step, path in version_folders(folder).items():
        try:
            versions[step] = read_version(path)
        except UserError as error:
            broken[step] = error
    if outside is not None and BASE not in versions:
        found = _base_outside(identity, [outside, *([base] if base is not None else [])])
        versions = {BASE: found, **versions}
    return DeltaStore(folder, anchor_every, versions, outside, broken)


def _base_outside(identity: str, places: Sequence[Path]) -> Version:
    """Return a base outside of its store, from the first place that has it.

    Raises:
        UserError: None of them has.
    """
    for folder in places:
        there = folder.is_dir() and identity_of(folder) == identity
        manifest = manifest_of(folder, BASE) if there else None
        if manifest is not None:
            size = sum((folder / name).stat().st_size for name in manifest["shards"])
            return Version(folder, BASE, None, {}, manifest, 0, 0, size)
    raise UserError(
        "the base of a delta store is not where the store says",
        where=str(places[0]),
        way_out="put the base back, or give it: source.base=DIR, for `python -m "
        "rlvr_dynamics.store` --base DIR",
    )
