"""Where predictions lie, and which of them need not be made again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.identity import check_companions, read_manifest
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.sealed import digest


@dataclass(frozen=True)
class Prediction:
    """One predicted checkpoint on disk.

    Attributes:
        method: Name under which it is stored and reported.
        observe: Last observed step; 0 for reconstructions, which observe the step they rebuild.
        step: Target step.
        folder: The Hugging Face folder.
        identity: Identity of its weights.
        uses_future: Whether anything of the target step or later was looked at.
        moved: Parameters that the method predicts; the others stay as they were.
        parameters: Parameters of the model.
    """

    method: str
    observe: int
    step: int
    folder: Path
    identity: str
    uses_future: bool
    moved: int
    parameters: int


def prediction_folder(out_root: Path, method: str, observe: int, step: int) -> Path:
    """Return where a prediction lives below the predictions folder."""
    return Path(out_root) / method / f"observe_{observe}" / f"step_{step}"


def source_text(
    label: str, method: str, settings: Mapping[str, Any], seen: str, **facts: Any
) -> str:
    """Return where a prediction comes from, in words, with a key of all that it rests on.

    Args:
        label: Name it is stored under.
        method: The method's name.
        settings: All parameters of the method.
        seen: What was looked at, in words.
        **facts: What else the weights depend on; plain values that JSON can hold.
    """
    words = ", ".join(f"{key}={value}" for key, value in settings.items()) or "no settings"
    key = digest({"method": method, "settings": settings, **facts})[:16]
    return f"{label} ({method}: {words}) from {seen} [{key}]"


def made_before(folder: Path, source: str) -> str | None:
    """Return the identity of a prediction that exists already with the same source, or None.

    Folders appear whole or not at all, so one with a manifest is finished. Remarks that a method
    adds behind the source do not count. One that is damaged, as far as that shows without reading
    its weights, is made again; weights are proved by whoever reads them.
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
