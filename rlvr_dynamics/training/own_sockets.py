"""Gives each training sockets of its own for the weights that verl sends to vLLM.

verl 0.9.1 names them by Ray's job id, which is 01000000 in every cluster that a training starts for
itself: two trainings on one machine remove each other's socket, and both wait for ever. verl
imports this module in each of its processes when VERL_USE_EXTERNAL_MODULES names it
(`verl_environment.environment`).
"""

import os
from typing import Any

from rlvr_dynamics.training.after_import import after_import

OWNER = "RLVR_SOCKETS"
_COMMON = "ipc:///tmp/rl-colocate-zmq-"


def _add_owner(module: Any) -> None:
    """Put what is unique to the training into the names of both ends' sockets."""
    own = f"{_COMMON}{os.environ[OWNER]}"
    for each in (module.BucketedWeightSender, module.BucketedWeightReceiver):
        each.__init__ = _renamed(each.__init__, own)


def _renamed(original: Any, own: str) -> Any:
    def __init__(self: Any, zmq_handle: str, *arguments: Any, **named: Any) -> None:
        original(self, zmq_handle.replace(_COMMON, own), *arguments, **named)

    return __init__


if OWNER in os.environ:
    after_import("verl.workers.rollout.vllm_rollout.bucketed_weight_transfer", _add_owner)
