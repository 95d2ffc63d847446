"""Registers the trainer that jumps, in verl's processes, once verl's own trainers are there."""

import importlib
import os
from typing import Any

from rlvr_dynamics.training.after_import import after_import
from rlvr_dynamics.training.jump_plan import VARIABLE

MODE = "accelerated"


def _register(_module: Any) -> None:
    importlib.import_module("rlvr_dynamics.training.accelerated_trainer")


if VARIABLE in os.environ:
    after_import("verl.trainer.ppo.v1.trainer_sync", _register)
