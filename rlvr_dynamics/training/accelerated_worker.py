"""verl's training worker with the jumps of its shard; loaded by `accelerated_trainer`."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from verl.single_controller.base.decorator import Dispatch, register
from verl.workers.engine_workers import ActorRolloutRefWorker

from rlvr_dynamics.training.jump_plan import plan_from_environment
from rlvr_dynamics.training.jump_worker import JumpWorker

_IN_ALL: Any = getattr(Dispatch, "ONE_TO_ALL")  # noqa: B009 - verl adds its members at run time


class AcceleratedWorker(ActorRolloutRefWorker):
    """verl's worker, which also moves its weights when the trainer asks."""

    @register(dispatch_mode=_IN_ALL)
    def init_model(self) -> None:
        """Build the model as verl does, and find its parameters."""
        super().init_model()
        actor: Any = self.actor
        engine = actor.engine

        def parameters() -> Iterator[tuple[str, Tensor]]:
            named = engine.module.named_parameters()
            return ((name, each) for name, each in named if each.requires_grad)

        self._jumps = JumpWorker(
            plan_from_environment(),
            parameters,
            lambda: engine.optimizer,
            rank=self.rank,
            world=self.world_size,
        )

    @register(dispatch_mode=_IN_ALL)
    def jump(self, what: str, arguments: dict[str, Any]) -> Any:
        """Call a method of `JumpWorker`; all processes together."""
        return getattr(self._jumps, what)(**arguments)

    @register(dispatch_mode=_IN_ALL)
    def save_checkpoint(
        self,
        local_path: str,
        hdfs_path: str | None = None,
        global_step: int = 0,
        max_ckpt_to_keep: int | None = None,
    ) -> None:
        """Save as verl does, and beside a state the anchor that a resume needs."""
        super().save_checkpoint(local_path, hdfs_path, global_step, max_ckpt_to_keep)
        if global_step % self._jumps.plan.state_every == 0:
            self._jumps.write_anchor(local_path)
