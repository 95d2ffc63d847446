"""Write a step that is saved as an adapter as an ordinary Hugging Face folder of whole weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.layout import Layout
from rlvr_dynamics.checkpoints.proofs import Proofs
from rlvr_dynamics.checkpoints.step_layouts import step_layout
from rlvr_dynamics.checkpoints.step_values import StepValues
from rlvr_dynamics.checkpoints.writer import CheckpointWriter


def write_merged(
    base: Layout,
    adapter: Path,
    target: Path,
    *,
    step: int,
    origin: str,
    jump: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Merge an adapter into its base and publish the result, atomically.

    A changed matrix is W_0 + s B A as `adapter_values.merged_elements` forms it, rounded to
    float32 and then to the base's dtype; every other tensor has the base's bytes. One block of one
    tensor is in memory at a time.

    Args:
        base: The base, whose files, dtypes and companions the result has.
        adapter: Folder of the adapter, as peft saves it.
        target: Folder to publish; an existing one is replaced.
        step: Training step for the manifest.
        origin: Where the weights come from, in words, for the manifest.
        jump: As of `write_manifest`.

    Returns:
        The manifest.

    Raises:
        UserError: The adapter cannot be read or does not fit the base, a merged value is not
            finite, or the disk is full.
    """
    layout, _ = step_layout(base, adapter)
    values = StepValues({0: base, step: layout}, dict.fromkeys(base.names, "float32"), Proofs())
    with CheckpointWriter(base.folder, target, step=step, source=origin, jump=jump) as writer:
        for name in writer.layout.names:
            for start, block in values.blocks(step, name):
                writer.write_elements(name, start, block)
    return writer.manifest
