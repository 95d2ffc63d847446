"""Allow one process at a time in a run directory, and no run that would overwrite another."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

from rlvr_dynamics.checkpoints.weight_files import holds_adapter, holds_weights
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.system.atomic import remove_leftovers
from rlvr_dynamics.system.locks import LOCK, Busy, held, is_held


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the run directory and remove leftovers of a killed run.

    Raises:
        UserError: Another process works in this folder, it is not writable, or another run would
            replace it.
    """
    _refuse_inside_a_stage(folder)
    _refuse_a_model(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(held(folder / LOCK))
            entered = stack.pop_all()
    except Busy as error:
        raise UserError(
            "another process is working in this run directory",
            where=str(folder),
            way_out="wait for it, or choose another run_dir=...",
        ) from error
    except OSError as error:
        raise UserError(
            f"run_dir cannot be written: {error.strerror}",
            where=str(folder),
            way_out="choose another run_dir=...",
        ) from error
    with entered:
        remove_leftovers(folder)
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process works in a run directory; does not change it."""
    return is_held(folder / LOCK)


def _refuse_inside_a_stage(folder: Path) -> None:
    """Refuse a run inside a stage's folder, which is replaced as a whole."""
    for inner, outer in pairwise((folder.absolute(), *folder.absolute().parents)):
        if inner.name in FOLDERS.values() and (outer / LOCK).is_file():
            raise UserError(
                f"run_dir lies in {inner.name}/ of another run, which replaces it as a whole",
                where=str(folder),
                way_out="choose another run_dir=...",
            )


def _refuse_a_model(folder: Path) -> None:
    # A run writes its own config.json, which would overwrite the model's.
    if folder.is_dir() and (holds_weights(folder) or holds_adapter(folder)):
        raise UserError(
            "run_dir is the folder of a model, whose files a run would replace",
            where=str(folder),
            way_out="choose another run_dir=...",
        )
