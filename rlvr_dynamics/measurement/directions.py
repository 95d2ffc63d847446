"""The products between the updates of several runs from one base, in one pass over their files.

Legend: R runs, d elements of one tensor.
"""

from collections.abc import Sequence

import numpy as np
import torch

from rlvr_dynamics.checkpoints.differences import DEFAULT_BUDGET_BYTES, Differences
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.measurement.engine import measured_names
from rlvr_dynamics.system.progress import bar


def middle_step(steps: Sequence[int]) -> int:
    """Return the saved step in the middle of a training.

    Raises:
        UserError: There is only one step.
    """
    if len(steps) < 2:
        raise UserError(
            "one checkpoint has no second half",
            where=f"step {steps[0]}",
            way_out="compare runs with at least two",
        )
    return steps[len(steps) // 2 - 1]


def window_products(
    trajectories: Sequence[Trajectory],
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool = False,
) -> dict[str, dict[str, np.ndarray]]:
    """Return the Gram matrices of all runs' updates, tensor by tensor.

    Args:
        trajectories: R runs from one base, stored in one dtype.
        budget_bytes: Memory for stored weights of all runs together.
        progress: Whether to show a progress bar.

    Returns:
        By tensor, the products of the windows in `WINDOWS`: `update` (last step minus base) and
        `drift` (last step minus the middle one), each of shape (R, R), float64.

    Raises:
        UserError: The runs have different bases or dtypes, one has a single step, a shard differs
            from its manifest, or a weight is NaN or infinite.
    """
    first = trajectories[0]
    for other in trajectories[1:]:
        if (other.identities[0], other.dtypes) != (first.identities[0], first.dtypes):
            raise UserError(
                "these runs have different bases, or dtypes: their updates cannot be compared",
                where=f"{first.folder(0)} and {other.folder(0)}",
                way_out="compare runs of one base",
            )
    ends = [each.only([middle_step(each.steps), each.steps[-1]]) for each in trajectories]
    for each in ends:
        each.prove_on_reading()
    names = measured_names(first)
    found = {}
    for name in bar(names, desc="directions", unit="tensor", disable=not progress):
        found[name] = _products(ends, name, budget_bytes // len(ends))
    for each in ends:
        each.settle()
    return found


def _products(ends: Sequence[Trajectory], name: str, budget_bytes: int) -> dict[str, np.ndarray]:
    parts = [Differences(each, name, budget_bytes).pieces() for each in ends]
    gram = np.zeros((2 * len(ends), 2 * len(ends)))
    for pieces in zip(*parts, strict=True):
        rows = torch.cat([piece.updates for piece in pieces]).double()
        gram += (rows @ rows.mT).numpy()
    half, whole = slice(0, None, 2), slice(1, None, 2)
    update = gram[whole, whole]
    drift = update - gram[whole, half] - gram[half, whole] + gram[half, half]
    return {"update": update, "drift": drift}
