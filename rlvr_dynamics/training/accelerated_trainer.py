"""verl's synchronous trainer with jumps of the weights between its steps.

verl imports `accelerate` in each of its processes when VERL_USE_EXTERNAL_MODULES names it
(`verl_environment.environment`), and takes this trainer when `trainer.v1.trainer_mode` has its
name.
A jump lies between the save of a step and the sync of its weights. So the checkpoint of step t has
the weights before the jump and that of t + 1 the jump and one update. The sampler, the rate's
schedule, the KL reference and the count of steps are verl's, and nothing of them is touched.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.debug import marked_timer
from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

from rlvr_dynamics.training.accelerate import MODE
from rlvr_dynamics.training.accelerated_worker import AcceleratedWorker
from rlvr_dynamics.training.gate_answers import GateAnswers, Question
from rlvr_dynamics.training.jump_driver import JumpDriver
from rlvr_dynamics.training.jump_plan import plan_from_environment
from rlvr_dynamics.training.jump_trainer import Answers, Trainer
from rlvr_dynamics.training.reward_managers import end_tokens
from rlvr_dynamics.training.rollout_counts import accuracy_so_far

ACTORS = (Role.Actor, Role.ActorRollout, Role.ActorRolloutRef)


@register_trainer(MODE)
class AcceleratedTrainer(PPOTrainerSync):
    """verl's `sync` trainer, which lets a `JumpDriver` decide after every step."""

    def __init__(self, config: Any) -> None:
        """Build verl's trainer; what it decides by the mode, it decides as for `sync`."""
        config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)
        self.jump_plan = plan_from_environment()
        self.gate: GateAnswers | None = None
        self.jumps = JumpDriver(
            self.jump_plan,
            Trainer(
                workers=self._workers,
                sync=self._sync,
                problems=self._problems,
                answer=self._answer,
                accuracy=lambda: accuracy_so_far(Path(self.jump_plan.train) / "verl"),
                base=str(config.actor_rollout_ref.model.path),
            ),
        )

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        for role in ACTORS:
            if role in self.role_worker_mapping:
                self.role_worker_mapping[role] = ray.remote(AcceleratedWorker)

    def on_init_end(self) -> None:
        """Take the anchor, and decide about a resumed step, before the first sync."""
        place = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        state = str(place / "actor") if self.global_steps else None
        self.jumps.begin(self.global_steps, state)
        self._end_early()
        super().on_init_end()

    def on_step_end(self) -> None:
        """Jump or not, before verl sends the weights."""
        with marked_timer("acceleration", self.timing_raw, color="purple"):
            self._pending_sync_metrics = self.jumps.after_step(self.global_steps)
        self._end_early()
        super().on_step_end()

    def _end_early(self) -> None:
        """Make the present step the last one if its record says that little is left to gain."""
        record = self.jumps.records.read(self.global_steps)
        if record is not None and (record["remaining"] or {}).get("ends"):
            self.jumps.records.write_end(self.global_steps)
            self.total_training_steps = self.global_steps

    def _workers(self, what: str, **arguments: Any) -> Any:
        return self.actor_rollout_wg.jump(what, arguments)[0]

    def _sync(self) -> None:
        engine: Any = self.checkpoint_manager  # verl waits for these coroutines itself
        engine.update_weights(self.global_steps)

    def _problems(self) -> int:
        held_out: Any = self.val_dataset
        return min(self.jump_plan.problems, len(held_out))

    def _answer(self, step: int, places: Sequence[int]) -> Answers:
        if self.gate is None:
            self.gate = self._gate()
        found = self.gate.ask(step, places)
        engine: Any = self.checkpoint_manager
        engine.sleep_replicas()  # the next move or sync wants its memory
        return found

    def _gate(self) -> GateAnswers:
        data, rollout = self.config.data, self.config.actor_rollout_ref.rollout
        builder = create_continuous_token_builder(
            self.tokenizer, chat_template_kwargs=dict(data.get("apply_chat_template_kwargs") or {})
        )
        held_out: Any = self.val_dataset
        rows = [held_out[number] for number in range(self._problems())]
        questions = [
            Question(list(builder.build_initial_tokens(list(row["raw_prompt"]))), row)
            for row in rows
        ]
        return GateAnswers(
            client=self.get_llm_client(),
            tokenizer=self.tokenizer,
            questions=questions,
            samples=self.jump_plan.acceleration.gate.samples,
            sampling={
                "temperature": rollout.temperature,
                "top_p": rollout.top_p,
                "top_k": rollout.top_k,
                "repetition_penalty": 1.0,
                "max_tokens": data.max_response_length,
            },
            longest=data.max_response_length,
            ends=end_tokens(self.tokenizer, Path(self.config.actor_rollout_ref.model.path)),
            seed=self.jump_plan.seed,
        )
