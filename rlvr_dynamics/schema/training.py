"""The algorithm and its trainer."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlvr_dynamics.schema.models import Family, linear_layers
from rlvr_dynamics.schema.overrides import key_of
from rlvr_dynamics.schema.types import Count, Frozen, Name, Positive, Share, sequence

# What a run declares itself, by the end of verl's key: estimates, the clips that can act, y(t) and
# the table of differences follow from our keys.
_DECLARED = {
    "ppo_mini_batch_size": "mini_batch_prompts or critic_mini_batch_prompts",
    "ppo_epochs": "trainer.passes",
    "data.train_batch_size": "prompts_per_step",
    "actor_rollout_ref.rollout.n": "algorithm.group_size",
    "trainer.total_training_steps": "trainer.steps",
    "trainer.save_freq": "save_state_every, while the weights of every step are saved,",
    "trainer.test_freq": "validate_every",
    "algorithm.adv_estimator": "algorithm.adv_estimator",
    "algorithm.filter_groups.enable": "algorithm.dynamic_sampling",
    "reward_kwargs.overlong_buffer_cfg.enable": "algorithm.overlong",
    "policy_loss.loss_mode": "algorithm.loss_mode",
    "actor.loss_agg_mode": "algorithm.loss_agg_mode",
    "actor.clip_ratio": "algorithm.clip_ratio_low and clip_ratio_high",
    "actor.clip_ratio_low": "algorithm.clip_ratio_low",
    "actor.clip_ratio_high": "algorithm.clip_ratio_high",
    "actor.clip_ratio_c": "algorithm.clip_ratio_c",
    **dict.fromkeys(
        [
            f"actor_rollout_ref.model.{name}"
            for name in ("lora_rank", "lora_alpha", "target_modules", "exclude_modules", "lora")
            + ("target_parameters", "lora_adapter_path", "lora.rank", "lora.merge")
        ],
        "algorithm.lora",
    ),
    "actor.checkpoint.save_lora_only": "algorithm.lora",
}


Decay = Annotated[float, Field(ge=0, lt=1)]


class Critic(Frozen):
    """PPO's value model, which starts from the base and has its own optimizer.

    `warmup_steps` apply to its learning rate; the policy learns from the first step on.
    """

    learning_rate: Positive
    warmup_steps: Annotated[int, Field(ge=0)]


class Overlong(Frozen):
    """DAPO's soft penalty on long responses.

    Over the last `buffer_share` of the longest allowed response, the reward falls linearly to
    minus `penalty` (arXiv 2503.14476, section 3.4).
    """

    buffer_share: Annotated[float, Field(gt=0, le=1)]
    penalty: Positive


class Lora(Frozen):
    """Low-rank adapters, which are trained instead of the weights (LoRA, arXiv 2106.09685).

    A matrix of the base, W_0 of shape (m, n), becomes W_0 + (alpha / rank) B A with B (m, rank),
    0 at first, and A (rank, n), random at first. `target_modules` are names of linear layers of
    the decoder blocks; null takes all of them. Everything else stays the base's.
    """

    rank: Count
    alpha: Count = 16  # verl's default
    target_modules: sequence(str, min_length=1) | None = None  # pyright: ignore[reportInvalidTypeForm]

    def layers_of(self, family: Family) -> tuple[str, ...]:
        """Return the names of the linear layers with adapters, in a block of a family.

        Raises:
            ValueError: The family has no layer of a name.
        """
        every = linear_layers(family)
        if self.target_modules is None:
            return every
        for name in self.target_modules:
            if name not in every:
                raise ValueError(
                    f"algorithm.lora.target_modules: {name} is no linear layer of a {family} "
                    f"block; it has {', '.join(every)}"
                )
        return tuple(self.target_modules)

    @property
    def in_words(self) -> str:
        """What is trained, for readers."""
        of = "" if self.target_modules is None else f" of {'/'.join(self.target_modules)}"
        return f"LoRA{of}, rank {self.rank}, alpha {self.alpha}"


class Algorithm(Frozen):
    """The settings that distinguish policy-gradient methods, in verl's terms.

    `kl_loss_coef` weights a KL term in the loss, `kl_reward_coef` one in the reward; 0 omits the
    reference model. `weight_decay` is for the policy and PPO's value model.
    `optimizer` is the policy's: `adamw`, or `sgd` with momentum. `betas` are the decays of AdamW's
    moments; `sgd` reads the first as its momentum. An SGD step is as long as the gradient, so it
    needs a much higher learning rate, and its weight decay is part of the gradient, after
    clipping: weights of norm 86, as the tiny model's, at a decay of 0.01 outweigh a gradient of
    norm 0.4. Set `weight_decay` to 0 with it.
    `lora` trains adapters of the policy in place of its weights (null); the reference of a KL term
    is then the policy without them, and PPO's value model is trained whole.
    `dynamic_sampling` samples until every group has both right and wrong answers.
    """

    name: Name
    adv_estimator: Literal["gae", "grpo", "rloo", "reinforce_plus_plus", "opo"]
    group_size: Count
    learning_rate: Positive
    warmup_steps: Annotated[int, Field(ge=0)]
    grad_clip: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    loss_mode: Literal["vanilla", "gspo", "cispo"]
    loss_agg_mode: Literal[
        "token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"
    ]
    clip_ratio_low: Positive
    clip_ratio_high: Positive
    clip_ratio_c: Annotated[float, Field(gt=1)]
    kl_loss_coef: Annotated[float, Field(ge=0)]
    kl_loss_type: Literal["kl", "abs", "mse", "low_var_kl"]
    kl_reward_coef: Annotated[float, Field(ge=0)]
    entropy_coef: Annotated[float, Field(ge=0)]
    normalize_by_std: bool
    gamma: Share
    lam: Share
    reward_manager: Literal["naive", "dapo"]
    dynamic_sampling: bool
    critic: Critic | None
    overlong: Overlong | None
    optimizer: Literal["adamw", "sgd"] = "adamw"
    betas: Annotated[tuple[Decay, Decay], Field(strict=False)] = (0.9, 0.999)
    lora: Lora | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Algorithm":
        if (self.adv_estimator == "gae") != (self.critic is not None):
            raise ValueError("adv_estimator=gae and a critic go together")
        if self.group_size < 2 and self.adv_estimator in ("grpo", "rloo", "opo"):
            raise ValueError(f"{self.adv_estimator} compares answers: group_size of at least 2")
        if self.overlong is not None and self.reward_manager != "dapo":
            raise ValueError("overlong punishment is part of reward_manager=dapo")
        return self


class Trainer(Frozen):
    """How verl runs: hardware, batch sizes, lengths, precision, and when it counts as stuck.

    The answers to `mini_batch_prompts` of the `prompts_per_step` make one optimizer update, and to
    `critic_mini_batch_prompts` one of PPO's value model (null: as the policy's). Every step goes
    through all of its answers `passes` times (verl's ppo_epochs). At most
    `micro_batch_samples` of them pass through a device together. Warm-up counts steps, not updates.
    `precision` is that of matrix products and of the rollout; weights, gradients between devices
    and the optimizer are float32. With fp16 verl scales the loss: updates whose gradients overflow
    are skipped, and the scale, which is not saved, starts at 65,536 again after a resume.
    `checkpoint_dtype` is the dtype on disk of the float32 weights that verl gathers; bfloat16
    halves the disk space and hides changes below its rounding. The base has the same dtype.
    `micro_batch_tokens` packs whole samples up to that many tokens into one pass, never fewer than
    the longest sample; with null a pass on a GPU holds one longest sample, and on a CPU
    `micro_batch_samples`. The weights of every step are saved; what a resume needs besides, every
    `save_state_every` steps. `keep` is how: as a folder each, or as deltas in one store
    (`python -m rlvr_dynamics.store`), which in bfloat16 take a small part of the disk. With
    `stall_timeout_seconds: null` the limit follows from the run's own steps
    (`training/stall.py`), and what validates or fires a jump has longer in either case.

    At every `validate_every`-th step, at the last one and before the first, verl answers the
    validation problems `validation_samples` times each, sampled as in training; null never does.
    """

    device: Literal["cpu", "cuda"]
    nodes: Count
    gpus_per_node: Annotated[int, Field(ge=0)]
    gpu_memory_gib: Annotated[int, Field(ge=0)]
    steps: Count
    prompts_per_step: Count
    mini_batch_prompts: Count
    critic_mini_batch_prompts: Count | None
    micro_batch_samples: Count
    max_prompt_tokens: Count
    max_response_tokens: Count
    temperature: Positive
    precision: Literal["fp32", "bf16", "fp16"]
    checkpoint_dtype: Literal["float32", "bfloat16"]
    shard: Count
    tensor_parallel: Count
    rollout_memory_share: Share
    offload: bool
    rollout_sequences: Count
    start_timeout_seconds: Positive
    stall_timeout_seconds: Positive | None
    keep_optimizer_states: Count
    validate_every: Count | None = None
    validation_samples: Count = 4
    micro_batch_tokens: Count | None = None
    save_state_every: Count = 1
    keep: Literal["folders", "deltas"] = "folders"
    passes: Count = 1
    verl_overrides: sequence(str)  # pyright: ignore[reportInvalidTypeForm]

    @property
    def devices(self) -> int:
        """Devices that train: all GPUs, or the CPU as one."""
        return self.nodes * max(self.gpus_per_node, 1)

    @property
    def updates_per_rollout(self) -> int:
        """Optimizer updates of the policy from one step's answers."""
        return self.passes * self.prompts_per_step // self.mini_batch_prompts

    @property
    def critic_updates_per_rollout(self) -> int:
        """Optimizer updates of PPO's value model from one step's answers."""
        size = self.critic_mini_batch_prompts or self.mini_batch_prompts
        return self.passes * self.prompts_per_step // size

    @property
    def longest_sample(self) -> int:
        """Tokens of the longest prompt and response."""
        return self.max_prompt_tokens + self.max_response_tokens

    @property
    def packs(self) -> bool:
        """Whether a pass holds as many samples as fit its tokens, not a fixed number."""
        return self.device == "cuda" or self.micro_batch_tokens is not None

    @property
    def tokens_per_pass(self) -> int:
        """The most tokens of one forward and backward pass on one device."""
        if not self.packs:
            return self.longest_sample * self.micro_batch_samples
        return max(self.longest_sample, self.micro_batch_tokens or 0)

    @model_validator(mode="after")
    def _consistent(self) -> "Trainer":
        for name in ("mini_batch_prompts", "critic_mini_batch_prompts"):
            size = getattr(self, name)
            if size is not None and self.prompts_per_step % size:
                raise ValueError(
                    f"{name} must divide prompts_per_step ({size} does not divide "
                    f"{self.prompts_per_step})"
                )
        for override in self.verl_overrides:
            key = key_of(override)
            for ending, own in _DECLARED.items():
                if f".{key}".endswith(f".{ending}"):
                    raise ValueError(f"verl_overrides must not set {key}: {own} does")
        devices = self.devices
        if devices % self.shard:
            raise ValueError(
                f"shard must divide the number of GPUs ({devices}): {self.shard} does not "
                "(in the grid's cells: model.hardware.shard)"
            )
        if devices % self.tensor_parallel:
            raise ValueError(f"tensor_parallel must divide the number of GPUs ({devices})")
        if self.device == "cuda" and self.gpus_per_node == 0:
            raise ValueError("device=cuda needs gpus_per_node of at least 1")
        return self
