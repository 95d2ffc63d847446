"""Builds the `verl.trainer.main_ppo` command of a run; verl's keys appear only here."""

import sys
from pathlib import Path

from rlvr_dynamics.schema import Algorithm, Lora, RunConfig, Trainer
from rlvr_dynamics.schema.overrides import quoted, value_at
from rlvr_dynamics.training import accelerate

REWARD_FILE = Path(__file__).with_name("reward.py")
MANAGERS_FILE = Path(__file__).with_name("reward_managers.py")
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD"}  # classes of torch.optim
# The classes in reward_managers.py, by verl's name of the manager each extends.
MANAGERS = {"naive": "Naive", "dapo": "Dapo"}
ACTOR = "actor_rollout_ref.actor"
REFERENCE = "actor_rollout_ref.ref"
ROLLOUT = "actor_rollout_ref.rollout"
CRITIC = "critic"
ATTENTION = "actor_rollout_ref.model.override_config.attn_implementation"
REWARD_FUNCTION_ARGUMENTS = "+reward.custom_reward_function.reward_kwargs"
REWARD_ARGUMENTS = "+reward.reward_kwargs"
IN_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
ROLLOUT_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def verl_command(
    config: RunConfig, *, prepare: Path, output: Path, temporary: Path | None = None
) -> list[str]:
    """Build the command line that trains `config`.

    Args:
        config: The whole configuration.
        prepare: Folder with train.parquet, val.parquet and base/.
        output: verl's own folder (checkpoints and logs).
        temporary: Short folder for Ray's sockets, whose paths may not exceed 107 characters;
            if None, Ray chooses one.

    Returns:
        An argument list for subprocess; `verl_environment` has the variables to run it with.
    """
    return [
        *(sys.executable, "-m", "verl.trainer.main_ppo"),
        *verl_overrides(config, prepare=prepare, output=output, temporary=temporary),
    ]


def verl_overrides(
    config: RunConfig, *, prepare: Path, output: Path, temporary: Path | None = None
) -> list[str]:
    """Return the Hydra overrides of `verl_command`; `verl_schema.resolved` checks them."""
    trainer, critic = config.trainer, config.algorithm.critic
    return [
        *_data(config, prepare),
        *_model(trainer, prepare / "base"),
        *_actor(config),
        *(_adapters(config, lora) if (lora := config.algorithm.lora) else []),
        *_packing(trainer),
        *_reference(config),
        *_rollout(config),
        *_advantage(config.algorithm),
        *_loss(config.algorithm, trainer),
        *_reward(config),
        *(_critic(config, prepare / "base") if critic else [f"{CRITIC}.enable=False"]),
        *_run(config, output),
        *(_cpu(config, temporary) if trainer.device == "cpu" else _cuda(config)),
        *trainer.verl_overrides,
    ]


def without_flash_attention(trainer: Trainer) -> bool:
    """Whether trainer.verl_overrides choose another attention than flash-attn's."""
    chosen = value_at(trainer.verl_overrides, ATTENTION)
    return chosen is not None and "flash" not in chosen


def _data(config: RunConfig, prepare: Path) -> list[str]:
    return [
        f"data.train_files={quoted(prepare / 'train.parquet')}",
        f"data.val_files={quoted(prepare / 'val.parquet')}",
        f"data.train_batch_size={config.trainer.prompts_per_step}",
        f"data.max_prompt_length={config.trainer.max_prompt_tokens}",
        f"data.max_response_length={config.trainer.max_response_tokens}",
        "data.filter_overlong_prompts=True",
        "data.truncation=error",
        "data.shuffle=True",
        f"data.seed={config.seed}",
        "data.dataloader_num_workers=0",
    ]


def _model(trainer: Trainer, base: Path) -> list[str]:
    on_gpu = trainer.device == "cuda"
    return [
        f"actor_rollout_ref.model.path={quoted(base)}",
        f"actor_rollout_ref.model.use_remove_padding={on_gpu}",
        f"actor_rollout_ref.model.enable_gradient_checkpointing={on_gpu}",
    ]


def _state(prefix: str, trainer: Trainer) -> list[str]:
    """Return the FSDP settings of one model; `prefix` is the key of its FSDP configuration."""
    # Without this verl trains under bf16 autocast, whatever the model's dtype.
    mixed = f"{{param_dtype:{trainer.precision},reduce_dtype:fp32,buffer_dtype:fp32}}"
    return [
        f"{prefix}.model_dtype=fp32",
        *([f"+{prefix}.mixed_precision={mixed}"] if trainer.precision != "bf16" else []),
        f"{prefix}.fsdp_size={trainer.shard}",
        f"{prefix}.param_offload={trainer.offload}",
    ]


def _micro(config: RunConfig, prompts: int) -> int:
    """Return the samples of one pass of a GPU, of an update on the answers to `prompts`."""
    own = prompts * config.algorithm.group_size // config.trainer.devices
    return min(own, config.trainer.micro_batch_samples)


def _batches(prefix: str, config: RunConfig, prompts: int) -> list[str]:
    """Return the batch sizes of one model; verl multiplies an update's prompts by the group."""
    return [
        f"{prefix}.ppo_mini_batch_size={prompts}",
        f"{prefix}.ppo_micro_batch_size_per_gpu={_micro(config, prompts)}",
    ]


def _actor(config: RunConfig) -> list[str]:
    trainer = config.trainer
    return [
        f"{ACTOR}.strategy=fsdp2",
        *_batches(ACTOR, config, trainer.mini_batch_prompts),
        f"{ACTOR}.ppo_epochs={trainer.passes}",  # verl's critic follows it
        *_state(f"{ACTOR}.fsdp_config", trainer),
        f"{ACTOR}.fsdp_config.optimizer_offload={trainer.offload}",
        f"{ACTOR}.data_loader_seed={config.seed}",
        f"{ACTOR}.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
    ]


def _adapters(config: RunConfig, lora: Lora) -> list[str]:
    """Train adapters, and send vLLM the weights with them merged: it needs no kernels for LoRA."""
    model = "actor_rollout_ref.model"
    targets = "all-linear" if lora.target_modules is None else f"[{','.join(lora.target_modules)}]"
    return [
        f"{model}.lora_rank={lora.rank}",
        f"{model}.lora_alpha={lora.alpha}",
        f"{model}.target_modules={targets}",
        f"{model}.lora.merge=True",
        # The base's own weights need no copy in a saved state.
        f"+{ACTOR}.checkpoint.save_lora_only=True",
        f"{ACTOR}.fsdp_config.seed={config.seed}",  # of the adapters' first values
    ]


def _reference(config: RunConfig) -> list[str]:
    # Loaded only if there is a KL term.
    micro = _micro(config, config.trainer.mini_batch_prompts)
    return [
        f"{REFERENCE}.log_prob_micro_batch_size_per_gpu={micro}",
        *_state(f"{REFERENCE}.fsdp_config", config.trainer),
    ]


def _rollout(config: RunConfig) -> list[str]:
    trainer = config.trainer
    length = trainer.longest_sample
    micro = _micro(config, trainer.mini_batch_prompts)
    return [
        f"{ROLLOUT}.name=vllm",
        f"{ROLLOUT}.n={config.algorithm.group_size}",
        f"{ROLLOUT}.temperature={trainer.temperature}",
        f"{ROLLOUT}.seed={config.seed}",
        f"{ROLLOUT}.dtype={ROLLOUT_DTYPES[trainer.precision]}",
        f"{ROLLOUT}.tensor_model_parallel_size={trainer.tensor_parallel}",
        f"{ROLLOUT}.gpu_memory_utilization={trainer.rollout_memory_share}",
        f"{ROLLOUT}.max_model_len={length}",
        f"{ROLLOUT}.max_num_batched_tokens={max(length, 2048)}",
        f"{ROLLOUT}.max_num_seqs={trainer.rollout_sequences}",
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu={micro}",
        *(_validation(trainer) if trainer.validate_every is not None else []),
    ]


def _validation(trainer: Trainer) -> list[str]:
    """Return how validation samples: as training does, so that both measure one accuracy."""
    sampling = f"{ROLLOUT}.val_kwargs"
    return [
        f"{sampling}.n={trainer.validation_samples}",
        f"{sampling}.do_sample=True",
        f"{sampling}.temperature={trainer.temperature}",
        f"{sampling}.top_p=1.0",
        f"{sampling}.top_k=-1",
    ]


def _advantage(algorithm: Algorithm) -> list[str]:
    in_reward = algorithm.kl_reward_coef > 0
    penalty = [
        "algorithm.kl_penalty=kl",
        "algorithm.kl_ctrl.type=fixed",
        f"algorithm.kl_ctrl.kl_coef={algorithm.kl_reward_coef}",
    ]
    return [
        f"algorithm.adv_estimator={algorithm.adv_estimator}",
        f"algorithm.norm_adv_by_std_in_grpo={algorithm.normalize_by_std}",
        f"algorithm.gamma={algorithm.gamma}",
        f"algorithm.lam={algorithm.lam}",
        f"algorithm.use_kl_in_reward={in_reward}",
        *(penalty if in_reward else []),
        f"algorithm.filter_groups.enable={algorithm.dynamic_sampling}",
        *(["algorithm.filter_groups.metric=acc"] if algorithm.dynamic_sampling else []),
    ]


def _loss(algorithm: Algorithm, trainer: Trainer) -> list[str]:
    # By default verl divides by the longest answer of a micro-batch, which is not constant.
    constant = algorithm.loss_agg_mode == "seq-mean-token-sum-norm"
    return [
        f"{ACTOR}.optim.lr={algorithm.learning_rate}",
        f"{ACTOR}.optim.lr_warmup_steps={algorithm.warmup_steps or -1}",
        f"{ACTOR}.optim.clip_grad={algorithm.grad_clip}",
        f"{ACTOR}.optim.weight_decay={algorithm.weight_decay}",
        f"{ACTOR}.optim.optimizer={OPTIMIZERS[algorithm.optimizer]}",
        *_moments(algorithm),
        f"{ACTOR}.policy_loss.loss_mode={algorithm.loss_mode}",
        f"{ACTOR}.loss_agg_mode={algorithm.loss_agg_mode}",
        *([f"{ACTOR}.loss_scale_factor={trainer.max_response_tokens}"] if constant else []),
        f"{ACTOR}.clip_ratio_low={algorithm.clip_ratio_low}",
        f"{ACTOR}.clip_ratio_high={algorithm.clip_ratio_high}",
        f"{ACTOR}.clip_ratio_c={algorithm.clip_ratio_c}",
        f"{ACTOR}.entropy_coeff={algorithm.entropy_coef}",
        f"{ACTOR}.use_kl_loss={algorithm.kl_loss_coef > 0}",
        f"{ACTOR}.kl_loss_coef={algorithm.kl_loss_coef}",
        f"{ACTOR}.kl_loss_type={algorithm.kl_loss_type}",
    ]


def _moments(algorithm: Algorithm) -> list[str]:
    """Return the decays of the optimizer's averages; verl gives betas to Adam alone."""
    first, second = algorithm.betas
    if algorithm.optimizer == "sgd":
        return [f"{ACTOR}.optim.override_optimizer_config={{momentum:{first}}}"]
    return [f"{ACTOR}.optim.betas=[{first},{second}]"]


def _reward(config: RunConfig) -> list[str]:
    algorithm, longest = config.algorithm, config.trainer.max_response_tokens
    overlong, tossed = algorithm.overlong, config.data.reward == "random"
    punishment = []
    if overlong is not None:
        buffer = f"{REWARD_ARGUMENTS}.overlong_buffer_cfg"
        punishment = [
            f"{REWARD_ARGUMENTS}.max_resp_len={longest}",
            f"{buffer}.enable=True",
            f"{buffer}.len={max(1, round(overlong.buffer_share * longest))}",
            f"{buffer}.penalty_factor={overlong.penalty}",
            f"{buffer}.log=True",
        ]
    return [
        # The old top-level key custom_reward_function.* is silently ignored by this verl.
        f"reward.custom_reward_function.path={quoted(REWARD_FILE)}",
        "reward.custom_reward_function.name=compute_score",
        f"{REWARD_FUNCTION_ARGUMENTS}.rule={config.data.reward}",
        *([f"{REWARD_FUNCTION_ARGUMENTS}.seed={config.seed}"] if tossed else []),
        "reward.reward_manager.source=importlib",
        f"reward.reward_manager.module.path={quoted(MANAGERS_FILE)}",
        f"reward.reward_manager.name={MANAGERS[algorithm.reward_manager]}",
        *punishment,
    ]


def _critic(config: RunConfig, base: Path) -> list[str]:
    """Return the settings of PPO's value model: its own optimizer, otherwise like the actor."""
    trainer, critic = config.trainer, config.algorithm.critic
    if critic is None:
        return []
    on_gpu = trainer.device == "cuda"
    return [
        f"{CRITIC}.enable=True",
        f"{CRITIC}.strategy=fsdp2",
        f"{CRITIC}.model.path={quoted(base)}",
        f"{CRITIC}.model.use_remove_padding={on_gpu}",
        f"{CRITIC}.model.enable_gradient_checkpointing={on_gpu}",
        f"{CRITIC}.optim.lr={critic.learning_rate}",
        f"{CRITIC}.optim.lr_warmup_steps={critic.warmup_steps or -1}",
        f"{CRITIC}.optim.clip_grad={config.algorithm.grad_clip}",
        f"{CRITIC}.optim.weight_decay={config.algorithm.weight_decay}",
        *_batches(CRITIC, config, trainer.critic_mini_batch_prompts or trainer.mini_batch_prompts),
        # The V1 trainer packs the critic's batches by this limit only.
        f"+{CRITIC}.ppo_infer_max_token_len_per_gpu={trainer.tokens_per_pass}",
        f"{CRITIC}.data_loader_seed={config.seed}",
        *_state(f"{CRITIC}.fsdp", trainer),
        f"{CRITIC}.fsdp.optimizer_offload={trainer.offload}",
    ]


def _packing(trainer: Trainer) -> list[str]:
    """Pack samples up to a token limit; the rollout, the reference and the critic follow it."""
    if not trainer.packs:
        return []
    return [
        f"{ACTOR}.use_dynamic_bsz=True",
        f"{ACTOR}.ppo_max_token_len_per_gpu={trainer.tokens_per_pass}",
    ]


def _run(config: RunConfig, output: Path) -> list[str]:
    return [
        f"trainer.nnodes={config.trainer.nodes}",
        f"trainer.n_gpus_per_node={max(config.trainer.gpus_per_node, 1)}",
        "trainer.logger=[console,file]",
        "trainer.project_name=rlvr_dynamics",
        f"trainer.experiment_name={config.name}",
        f"trainer.default_local_dir={quoted(output / 'checkpoints')}",
        f"trainer.total_training_steps={config.trainer.steps}",
        "trainer.total_epochs=100000",  # never the limit: total_training_steps is
        "trainer.save_freq=1",
        f"trainer.test_freq={config.trainer.validate_every or -1}",
        f"trainer.val_before_train={config.trainer.validate_every is not None}",
        "trainer.resume_mode=auto",
        *([f"trainer.v1.trainer_mode={accelerate.MODE}"] if config.acceleration else []),
    ]


def _cpu(config: RunConfig, temporary: Path | None) -> list[str]:
    # The engine's own process does the worker's part: one process less to start, and no messages
    # between the two at every token. On a CPU vLLM replaces "uni" by "mp", because the environment
    # of a worker sets its threads; ours sets the engine's. A class by name is not replaced.
    alone = config.trainer.tensor_parallel == 1
    executor = f"+{ROLLOUT}.engine_kwargs.vllm.distributed_executor_backend={IN_PROCESS}"
    critic = config.algorithm.critic is not None
    return [
        "trainer.device=cpu",
        f"+{ATTENTION}=sdpa",
        f"{ACTOR}.fsdp_config.use_torch_compile=False",
        f"{REFERENCE}.fsdp_config.use_torch_compile=False",
        *([f"{CRITIC}.fsdp.use_torch_compile=False"] if critic else []),
        *([executor] if alone else []),
        f"{ROLLOUT}.enforce_eager=True",
        f"{ROLLOUT}.free_cache_engine=False",
        f"+{ROLLOUT}.enable_sleep_mode=False",
        f"{ROLLOUT}.load_format=auto",
        f"{ROLLOUT}.agent.num_workers=1",
        f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes=16",
        "reward.num_workers=1",
        # verl starts 8 of these processes; one is enough for a batch of short answers.
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        "+ray_kwargs.ray_init.num_gpus=1",  # a logical slot: verl schedules by "GPU"
        "ray_kwargs.ray_init.num_cpus=16",  # also logical; verl's actors request more than 2
        "+ray_kwargs.ray_init.include_dashboard=False",
        *([f"+ray_kwargs.ray_init._temp_dir={quoted(temporary)}"] if temporary else []),
    ]


def _cuda(config: RunConfig) -> list[str]:
    trainer = config.trainer
    share = trainer.prompts_per_step // (trainer.gpus_per_node * trainer.nodes)
    return [
        "trainer.device=cuda",
        f"{ROLLOUT}.agent.num_workers={max(1, min(8, share))}",
    ]
