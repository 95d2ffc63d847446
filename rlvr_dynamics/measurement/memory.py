"""The memory that measuring one tensor takes."""

from rlvr_dynamics.checkpoints.differences import SHARE_OF_BLOCKS
from rlvr_dynamics.checkpoints.layout import ITEM_BYTES
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.measurement.settings import MeasureSettings

_UPDATE_BYTES = 12  # per element of an update: stored, in float32, and workspace
_SPECTRUM_BYTES = 32  # per element of the smaller side's Gram matrix and eigenvectors


def bytes_of(trajectory: Trajectory, name: str) -> int:
    """Return the bytes of one tensor in the base and all steps."""
    item = ITEM_BYTES[trajectory.dtype_of(name)]
    return trajectory.numel(name) * item * (len(trajectory.steps) + 1)


def share_of(settings: MeasureSettings) -> int:
    """Return the bytes that one thread may use."""
    return settings.budget_bytes // settings.threads


def working_set(trajectory: Trajectory, name: str, settings: MeasureSettings) -> int:
    """Return the memory for measuring one tensor: stored values, updates and spectra, in bytes.

    With it what reading all steps of a delta store takes.
    """
    stored, share = bytes_of(trajectory, name), share_of(settings)
    held = stored if stored <= share else share // SHARE_OF_BLOCKS
    held += trajectory.reading_bytes(trajectory.steps)
    matrices = trajectory.structure.matrices_of(name)
    if not matrices:
        return held
    m, n = matrices[0].m, matrices[0].n  # experts have equal shapes and are measured one at a time
    whole = trajectory.numel(name) if stored <= share else m * n
    return held + _UPDATE_BYTES * whole + _SPECTRUM_BYTES * min(m, n) ** 2


def kept_bytes(trajectory: Trajectory, name: str, settings: MeasureSettings) -> int:
    """Return what is left to keep updates of a tensor that is read in pieces.

    A tensor that takes more than a thread's share is measured alone, and has the rest of all.
    """
    share = share_of(settings)
    if bytes_of(trajectory, name) <= share:
        return 0
    held = working_set(trajectory, name, settings)
    return max(0, (share if held <= share else settings.budget_bytes) - held)
