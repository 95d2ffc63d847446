"""Where predictions are stored, and which of them can be reused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.companions import CARD
from rlvr_dynamics.checkpoints.identity import check_companions, read_manifest
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation.card import write_card
from rlvr_dynamics.system.sealed import digest


@dataclass(frozen=True)
class Prediction:
    """One predicted checkpoint on disk.

    Attributes:
        method: Name to store and report it under.
        observe: Last observed step; 0 for reconstructions, which observe the step they rebuild.
        step: Target step.
        folder: The Hugging Face folder.
        identity: Identity of its weights.
        uses_future: Whether anything from the target step or later was used.
        moved: Number of parameters that the method predicts; the others stay unchanged.
        parameters: Number of parameters of the model.
        remarks: What the method recorded, each with the number of tensors it is about.
    """

    method: str
    observe: int
    step: int
    folder: Path
    identity: str
    uses_future: bool
    moved: int
    parameters: int
    remarks: tuple[str, ...] = ()


def finished(**facts: Any) -> Prediction:
    """Return a prediction that is on disk, with a card beside its weights; arguments as its own."""
    made = Prediction(**facts)
    if not (made.folder / CARD).exists():
        write_card(made.folder, observe=made.observe, uses_future=made.uses_future)
    return made


def prediction_folder(out_root: Path, method: str, observe: int, step: int) -> Path:
    """Return the folder of a prediction below the predictions folder."""
    return Path(out_root) / method / f"observe_{observe}" / f"step_{step}"


def source_text(
    label: str, method: str, settings: Mapping[str, Any], seen: str, **facts: Any
) -> str:
    """Return a text on where a prediction comes from, with a key of everything it depends on.

    Args:
        label: Name it is stored under.
        method: The method's name.
        settings: All parameters of the method.
        seen: The data that was used, in words.
        **facts: Other values that the weights depend on; must be JSON values.
    """
    words = ", ".join(f"{key}={value}" for key, value in settings.items()) or "no settings"
    key = digest({"method": method, "settings": settings, **facts})[:16]
    return f"{label} ({method}: {words}) from {seen} [{key}]"


def remarks_of(folder: Path) -> tuple[str, ...]:
    """Return the remarks that a method left in the manifest of a finished prediction."""
    manifest = read_manifest(folder)
    return () if manifest is None else tuple(manifest["source"].split("; ")[1:])


def made_before(folder: Path, source: str) -> str | None:
    """Return the identity of an existing prediction with the same source, or None.

    Folders are published atomically, so one with a manifest is finished. Remarks that a method
    appends to the source are ignored. A prediction that is visibly damaged without reading its
    weights is made again; the weights are verified when read.
    """
    try:
        manifest = read_manifest(folder) if folder.is_dir() else None
        if manifest is None or manifest["source"].split("; ")[0] != source:
            return None
        check_companions(folder, manifest)
        read_layout(folder)
    except UserError as error:
        print(f"made again: {error.what} ({error.where})")
        return None
    return str(manifest["identity"])
