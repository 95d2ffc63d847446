"""One pass over the files of a window, many predicted checkpoints out, one tensor at a time.

Legend: T observed steps, d elements of one tensor.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rlvr_dynamics.checkpoints.differences import Differences
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.writer import CheckpointWriter
from rlvr_dynamics.dynamics import accumulate_gram, row_combination
from rlvr_dynamics.extrapolation.base import Prediction, Window, prediction_folder
from rlvr_dynamics.progress import bar

if TYPE_CHECKING:
    from rlvr_dynamics.extrapolation.base import Extrapolator

_PIECE = 1 << 18


def stream_predictions(
    method: "Extrapolator",
    window: Trajectory,
    targets: list[int],
    out_root: Path,
    *,
    settings: Mapping[str, Any],
    reconstruct: bool,
    label: str,
    budget_bytes: int,
    show_progress: bool,
) -> list[Prediction]:
    """Write the predicted checkpoint of every target; none appears unless all succeed.

    Args:
        method: The extrapolator.
        window: The trajectory cut at the last observed step.
        targets: Step numbers, rising.
        out_root: The predictions folder.
        settings: All parameters of the method.
        reconstruct: Whether targets inside the window keep what was observed of them.
        label: Name to store under.
        budget_bytes: Memory for the stack of one tensor's updates.
        show_progress: Show a bar.
    """
    window.verify()
    observe = window.steps[-1]
    steps, wanted = np.array(window.steps), np.array(targets)
    words = ", ".join(f"{key}={value}" for key, value in settings.items())
    source = f"{label} ({method.name}: {words or 'no settings'}) from steps up to {observe}"
    names = bar(window.names, desc=label, unit="tensor") if show_progress else window.names
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                CheckpointWriter(
                    window.folder(0),
                    prediction_folder(out_root, label, observe, target),
                    step=target,
                    source=source,
                )
            )
            for target in targets
        ]
        for name in names:
            differences = Differences(window, name, budget_bytes)
            gram = _gram(differences) if method.needs_gram else None
            weights = method.row_weights(Window(steps, gram), wanted, settings, reconstruct)
            _write_tensor(differences, weights, writers)
    return [
        Prediction(
            method=label,
            observe=observe,
            step=target,
            folder=writer.out_folder,
            identity=writer.manifest["identity"],
            uses_future=False,
        )
        for target, writer in zip(targets, writers, strict=True)
    ]


def _gram(differences: Differences) -> np.ndarray:
    gram = torch.zeros(differences.T, differences.T, dtype=torch.float64)
    for _, _, updates in differences.chunks():
        accumulate_gram(gram, updates)
    return gram.numpy()


def _write_tensor(
    differences: Differences, weights: np.ndarray, writers: list[CheckpointWriter]
) -> None:
    trajectory, name = differences.trajectory, differences.name
    for start, stop, updates in differences.chunks():
        for low in range(start, stop, _PIECE):
            high = min(stop, low + _PIECE)
            base = trajectory.elements(0, name, low, high).to(torch.float64)
            predicted = row_combination(weights, updates[:, low - start : high - start])
            for row, update, writer in zip(weights, predicted, writers, strict=True):
                held = _held_position(row)
                if held is None:
                    writer.write_elements(name, low, base + update)
                else:
                    # An observed checkpoint is repeated bit for bit, not to rounding.
                    step = trajectory.steps[held]
                    writer.write_elements(name, low, trajectory.elements(step, name, low, high))


def _held_position(row: np.ndarray) -> int | None:
    """Return the position of the one observed step that a row of weights repeats, or None."""
    nonzero = np.flatnonzero(row)
    if len(nonzero) == 1 and row[nonzero[0]] == 1.0:
        return int(nonzero[0])
    return None
