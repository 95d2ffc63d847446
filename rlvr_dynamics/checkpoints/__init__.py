"""Weights on disk: read trajectories, write checkpoints, verify identity.

`names`, `shards`, `steps` and `identity` do not need torch, so this package imports the two
modules that do only on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.differences import Differences
    from rlvr_dynamics.checkpoints.identity import identity_of, read_manifest, write_manifest
    from rlvr_dynamics.checkpoints.trajectory import Trajectory
    from rlvr_dynamics.checkpoints.writer import CheckpointWriter, write_checkpoint

_HOME_OF = {
    "CheckpointWriter": "writer",
    "Differences": "differences",
    "Trajectory": "trajectory",
    "identity_of": "identity",
    "read_manifest": "identity",
    "write_checkpoint": "writer",
    "write_manifest": "identity",
}

__all__ = [
    "CheckpointWriter",
    "Differences",
    "Trajectory",
    "identity_of",
    "read_manifest",
    "write_checkpoint",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module at first use (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
