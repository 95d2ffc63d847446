"""Pack a folder of steps into a delta store."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rlvr_dynamics.checkpoints.delta_files import manifest_of
from rlvr_dynamics.checkpoints.delta_names import BASE, is_store
from rlvr_dynamics.checkpoints.delta_open import create_store
from rlvr_dynamics.checkpoints.delta_store import DeltaStore
from rlvr_dynamics.checkpoints.delta_writer import add_step, add_whole
from rlvr_dynamics.checkpoints.step_names import shortened
from rlvr_dynamics.checkpoints.steps import base_folder, find_steps
from rlvr_dynamics.checkpoints.weight_files import weight_file_names
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import remove_leftovers
from rlvr_dynamics.system.locks import LOCK, Busy, held
from rlvr_dynamics.system.progress import bar


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other process write to a folder, and remove what a killed one left.

    Raises:
        UserError: Another process writes to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with held(folder / LOCK):
            remove_leftovers(folder)
            yield
    except Busy as error:
        raise UserError(
            "another process is writing to this folder",
            where=str(folder),
            way_out="wait for it, or choose another folder",
        ) from error


def pack(
    folder: Path,
    store_folder: Path,
    *,
    base: Path | None = None,
    pattern: str | None = None,
    anchor_every: int,
    threads: int = 2,
) -> DeltaStore:
    """Add the steps of a folder that a store does not have yet.

    Args:
        folder: Folder of the steps, as `source.checkpoints`.
        store_folder: The store; made if it is not there.
        base: The model before training, which the store then has as version 0. Without it the
            first step is kept whole.
        pattern: As `source.pattern`.
        anchor_every: See `DeltaStore`; a store that is there keeps its own.
        threads: Tensors compared at a time.

    Returns:
        The store.

    Raises:
        UserError: A step is damaged, an adapter, or not what the store has under its number.
    """
    if is_store(folder):
        raise UserError(
            "this is a delta store already",
            where=str(folder),
            way_out="unpack it first, and pack the folder that it is unpacked to",
        )
    if store_folder.resolve() == folder.resolve():
        raise UserError(
            "the store would lie among the steps that are packed",
            where=str(folder),
            way_out="give a folder of its own for the store",
        )
    folders = find_steps(folder, pattern)
    zero = folders.pop(BASE, None)
    base = base_folder(base, folder) if base is not None else zero
    if base is not None:
        weight_file_names(base)
    with alone_in(store_folder):
        store = create_store(store_folder, anchor_every, moved=base)
        if base is not None and BASE not in store.versions:
            _refuse_late(store, [BASE])
            add_whole(store, BASE, base)
        if base is not None:
            _refuse_other(store, BASE, base)
            store.dense = {BASE: base}
        waiting = [step for step in folders if step not in store.versions]
        _refuse_late(store, waiting)
        for step in bar(list(folders), desc="pack", unit="checkpoint"):
            if step in waiting:
                add_step(store, step, folders[step], threads=threads)
            else:
                _refuse_other(store, step, folders[step])
            store.dense = {step: folders[step]}
    store.dense = {}
    return store


def _refuse_late(store: DeltaStore, steps: list[int]) -> None:
    newest = max(store.versions, default=None)
    late = [step for step in steps if newest is not None and step < newest]
    if late:
        raise UserError(
            f"the store has step {newest} and cannot take earlier ones: {shortened(late)}",
            where=str(store.folder),
            way_out="pack all steps into a new store",
        )


def _refuse_other(store: DeltaStore, step: int, folder: Path) -> None:
    known: Mapping[str, object] = store.versions[step].manifest
    if manifest_of(folder, step)["identity"] != known["identity"]:
        raise UserError(
            f"{'the base' if step == BASE else f'step {step}'} of the store has other weights",
            where=f"{store.versions[step].folder} and {folder}",
            way_out="pack another run into a store of its own",
        )
