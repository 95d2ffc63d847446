"""Saves what a resume needs at every k-th step only, in verl's processes.

verl writes the same contents at every save. It imports this module in each of its processes when
VERL_USE_EXTERNAL_MODULES names it (`verl_environment.environment`), and at the steps between the
model alone is saved: 4 bytes per parameter instead of 16.
"""

import os
from collections.abc import Callable
from typing import Any

from rlvr_dynamics.training.after_import import after_import

EVERY = "RLVR_SAVE_STATE_EVERY"
WEIGHTS = "hf_model"  # verl's name for the whole model as a Hugging Face folder


def choose_contents(
    module: Any,
    choose: Callable[[Any, list[str], int], list[str]],
    then: Callable[[Any, str], None] = lambda manager, folder: None,
) -> None:
    """Let the checkpoint manager of actor and critic save other contents than it is told.

    Args:
        module: verl's, with `FSDPCheckpointManager`.
        choose: Function of (manager, contents, step) that returns what is saved.
        then: Called with (manager, folder) after a save whose contents were changed.
    """
    manager = module.FSDPCheckpointManager
    original = manager.save_checkpoint

    def save_checkpoint(
        self: Any,
        local_path: str,
        hdfs_path: str | None = None,
        global_step: int = 0,
        max_ckpt_to_keep: int | None = None,
    ) -> None:
        told = self.checkpoint_save_contents
        chosen = choose(self, told, global_step)
        self.checkpoint_save_contents = chosen
        try:
            original(self, local_path, hdfs_path, global_step, max_ckpt_to_keep)
        finally:
            self.checkpoint_save_contents = told
        if chosen != told:
            then(self, local_path)

    manager.save_checkpoint = save_checkpoint


def _weights_between(module: Any) -> None:
    """Leave the state out between the steps that save it."""
    every = int(os.environ[EVERY])

    def choose(_manager: Any, contents: list[str], step: int) -> list[str]:
        return [part for part in contents if part == WEIGHTS] if step % every else contents

    choose_contents(module, choose)


if EVERY in os.environ:
    after_import("verl.utils.checkpoint.fsdp_checkpoint_manager", _weights_between)
