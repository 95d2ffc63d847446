"""Saves what a resume needs at every k-th step only, in verl's processes.

verl writes the same contents at every save. It imports this module in each of its processes when
VERL_USE_EXTERNAL_MODULES names it (`verl_command.environment`), and at the steps between the model
alone is saved: 4 bytes per parameter instead of 16.
"""

import os
from typing import Any

from rlvr_dynamics.training.after_import import after_import

EVERY = "RLVR_SAVE_STATE_EVERY"
WEIGHTS = "hf_model"  # verl's name for the whole model as a Hugging Face folder


def _weights_between(module: Any) -> None:
    """Let the checkpoint manager of actor and critic leave the state out between."""
    every = int(os.environ[EVERY])
    manager = module.FSDPCheckpointManager
    original = manager.save_checkpoint

    def save_checkpoint(
        self: Any,
        local_path: str,
        hdfs_path: str | None = None,
        global_step: int = 0,
        max_ckpt_to_keep: int | None = None,
    ) -> None:
        contents = self.checkpoint_save_contents
        if global_step % every:
            self.checkpoint_save_contents = [part for part in contents if part == WEIGHTS]
        try:
            original(self, local_path, hdfs_path, global_step, max_ckpt_to_keep)
        finally:
            self.checkpoint_save_contents = contents

    manager.save_checkpoint = save_checkpoint


if EVERY in os.environ:
    after_import("verl.utils.checkpoint.fsdp_checkpoint_manager", _weights_between)
