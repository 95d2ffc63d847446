"""Folders that an inference engine can load, also for steps stored in another form."""

from pathlib import Path

from rlvr_dynamics.checkpoints.companions import companions_digest
from rlvr_dynamics.checkpoints.delta_names import number_of
from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.checkpoints.delta_unpack import unpack_step
from rlvr_dynamics.checkpoints.identity import read_manifest
from rlvr_dynamics.checkpoints.layout import Layout
from rlvr_dynamics.checkpoints.model_config import engine_ties
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.tying import head_is_own
from rlvr_dynamics.checkpoints.weight_files import INDEX
from rlvr_dynamics.checkpoints.writer import CheckpointWriter

_TOKENIZERS = ("tokenizer", "vocab", "spiece", "tekken")


def whole_folder(trajectory: Trajectory, step: int, merged: Path) -> Path:
    """Return a self-contained Hugging Face folder of a step.

    That is the step's own folder, unless it is an adapter, has names unknown to engines, has an
    untied head but a config that ties it, or lacks config, index or tokenizer. Then a full copy is
    written, with the missing files taken from the base.

    Args:
        trajectory: Base and steps.
        step: The step; 0 is the base.
        merged: Folder for the copies; each is kept until its weights change.

    Raises:
        UserError: A weight is not finite, or a file has changed since its identity was taken.
    """
    folder = trajectory.folder(step)
    target = merged / f"step_{step}"
    if _stands_alone(trajectory, step):
        return _unpacked(trajectory, step, target)
    # The copy has the base's config and tokenizer, so a change in these makes it outdated.
    beside = companions_digest(trajectory.folder(0))
    source = f"step {step} of {folder.name}, {trajectory.identities[step]}, {beside}"
    if target.is_dir() and (read_manifest(target) or {}).get("source") == source:
        return target
    trajectory.prove_on_reading()
    with CheckpointWriter(
        trajectory.folder(0),
        target,
        step=step,
        source=source,
        dtypes=trajectory.dtypes,
        layout=trajectory.template,
    ) as writer:
        for name in trajectory.names:
            for start, values in trajectory.blocks(step, name):
                writer.write_elements(name, start, values)
        trajectory.settle()
    return target


def _unpacked(trajectory: Trajectory, step: int, target: Path) -> Path:
    """Return a step's own folder, written out of its delta store if that has it."""
    layout = trajectory.layout(step)
    version = number_of(layout.folder)
    if version is None or not layout.in_store:
        return layout.folder
    known = read_manifest(target) if target.is_dir() else None
    if known is None or known["identity"] != trajectory.identities[step]:
        store = open_store(layout.folder.parent, trajectory.folder(0))
        unpack_step(store, version, target)
    return target


def _stands_alone(trajectory: Trajectory, step: int) -> bool:
    layout = trajectory.layout(step)
    shards = layout.shards.values()
    if layout.adapter is not None or any(shard.stored for shard in shards):
        return False
    if len(shards) > 1 and not layout.in_store and not (layout.folder / INDEX).exists():
        return False
    if head_is_own(trajectory.template) and engine_ties(layout.folder):
        return False
    base = _companions(trajectory.layout(0))
    return _companions(layout) >= base


def _companions(layout: Layout) -> set[str]:
    """Return which of config and tokenizer a folder has, for any set of tokenizer files."""
    names = [path.name for path in layout.folder.iterdir()]
    if layout.in_store:
        names = [*(read_manifest(layout.folder) or {}).get("companions", {})]
    config = {"config" for name in names if name == "config.json"}
    return config | {"tokenizer" for name in names if name.startswith(_TOKENIZERS)}
