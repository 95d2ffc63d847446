"""The exact `verl.trainer.main_ppo` command of a configuration: the one place with verl's keys."""

import os
import sys
from pathlib import Path

from rlvr_dynamics.schema import Algorithm, RunConfig, Trainer

REWARD_FILE = Path(__file__).with_name("reward.py")
ACTOR = "actor_rollout_ref.actor"
ROLLOUT = "actor_rollout_ref.rollout"


def verl_command(
    config: RunConfig, *, prepare: Path, output: Path, temporary: Path | None = None
) -> list[str]:
    """Build the command line that trains `config`.

    Args:
        config: The whole configuration.
        prepare: Folder with train.parquet, val.parquet and base/.
        output: verl's own folder (checkpoints and logs).
        temporary: Short folder for Ray's sockets, whose paths may not exceed 107 characters;
            Ray chooses one when None.

    Returns:
        An argument list for subprocess; `environment` gives the variables that belong to it.
    """
    trainer = config.trainer
    overrides = [
        *_data(config, prepare),
        *_model(trainer, prepare / "base"),
        *_actor(trainer, config.seed),
        *_rollout(config),
        *_algorithm(config.algorithm),
        *_run(config, output),
        *(_cpu(temporary) if trainer.device == "cpu" else _cuda(trainer)),
        *trainer.verl_overrides,
    ]
    return [sys.executable, "-m", "verl.trainer.main_ppo", *overrides]


def environment(config: RunConfig, metrics_file: Path) -> dict[str, str]:
    """Variables for the verl process: this process's own plus verl's, vLLM's and Ray's switches."""
    variables = dict(os.environ)
    variables |= {
        "VERL_FILE_LOGGER_PATH": str(metrics_file),
        "HYDRA_FULL_ERROR": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "1",
        "WANDB_MODE": config.trainer.wandb,
    }
    if config.trainer.device == "cpu":
        # verl knows its FSDP engine under the name "cuda"; the code itself is device-neutral.
        variables |= {
            "VERL_PLATFORM": "cpu",
            "VERL_ENGINE_DEVICE": "cuda",
            "OMP_NUM_THREADS": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "HF_HUB_OFFLINE": "1",
        }
        variables.pop("CUDA_VISIBLE_DEVICES", None)  # set but empty, verl finds no slot
    return variables


def _data(config: RunConfig, prepare: Path) -> list[str]:
    return [
        f"data.train_files={prepare / 'train.parquet'}",
        f"data.val_files={prepare / 'val.parquet'}",
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
        f"actor_rollout_ref.model.path={base}",
        f"actor_rollout_ref.model.use_remove_padding={on_gpu}",
        f"actor_rollout_ref.model.enable_gradient_checkpointing={on_gpu}",
    ]


def _actor(trainer: Trainer, seed: int) -> list[str]:
    precision = "{param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}"
    return [
        f"{ACTOR}.strategy=fsdp2",
        f"{ACTOR}.ppo_mini_batch_size={trainer.mini_batch_prompts}",
        f"{ACTOR}.ppo_micro_batch_size_per_gpu={trainer.micro_batch_samples}",
        f"{ACTOR}.fsdp_config.model_dtype=fp32",
        # Without this verl trains under bf16 autocast whatever dtype the model has.
        *(
            [f"+{ACTOR}.fsdp_config.mixed_precision={precision}"]
            if trainer.precision == "fp32"
            else []
        ),
        f"{ACTOR}.fsdp_config.param_offload={trainer.offload}",
        f"{ACTOR}.fsdp_config.optimizer_offload={trainer.offload}",
        f"{ACTOR}.data_loader_seed={seed}",
        f"{ACTOR}.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
        f"actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu={trainer.micro_batch_samples}",
    ]


def _rollout(config: RunConfig) -> list[str]:
    trainer = config.trainer
    length = trainer.max_prompt_tokens + trainer.max_response_tokens
    return [
        f"{ROLLOUT}.name=vllm",
        f"{ROLLOUT}.n={config.algorithm.group_size}",
        f"{ROLLOUT}.temperature={trainer.temperature}",
        f"{ROLLOUT}.seed={config.seed}",
        f"{ROLLOUT}.dtype={'float32' if trainer.precision == 'fp32' else 'bfloat16'}",
        f"{ROLLOUT}.tensor_model_parallel_size={trainer.tensor_parallel}",
        f"{ROLLOUT}.gpu_memory_utilization={trainer.rollout_memory_share}",
        f"{ROLLOUT}.max_model_len={length}",
        f"{ROLLOUT}.max_num_batched_tokens={max(length, 2048)}",
        f"{ROLLOUT}.max_num_seqs={trainer.rollout_sequences}",
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu={trainer.micro_batch_samples}",
    ]


def _algorithm(algorithm: Algorithm) -> list[str]:
    return [
        f"algorithm.adv_estimator={algorithm.adv_estimator}",
        f"algorithm.norm_adv_by_std_in_grpo={algorithm.normalize_by_std}",
        "algorithm.use_kl_in_reward=False",
        f"{ACTOR}.optim.lr={algorithm.learning_rate}",
        f"{ACTOR}.optim.lr_warmup_steps={algorithm.warmup_steps or -1}",
        f"{ACTOR}.grad_clip={algorithm.grad_clip}",
        f"{ACTOR}.clip_ratio_low={algorithm.clip_ratio_low}",
        f"{ACTOR}.clip_ratio_high={algorithm.clip_ratio_high}",
        f"{ACTOR}.loss_agg_mode={algorithm.loss_agg_mode}",
        f"{ACTOR}.use_kl_loss={algorithm.kl_loss_coef > 0}",
        f"{ACTOR}.kl_loss_coef={algorithm.kl_loss_coef}",
        f"{ACTOR}.kl_loss_type=low_var_kl",
        # The old top-level key custom_reward_function.* is silently ignored by this verl.
        f"reward.custom_reward_function.path={REWARD_FILE}",
        "reward.custom_reward_function.name=compute_score",
    ]


def _run(config: RunConfig, output: Path) -> list[str]:
    loggers = ["console", "file"] + (["wandb"] if config.trainer.wandb != "disabled" else [])
    return [
        f"trainer.nnodes={config.trainer.nodes}",
        f"trainer.n_gpus_per_node={max(config.trainer.gpus_per_node, 1)}",
        f"trainer.logger=[{','.join(loggers)}]",
        "trainer.project_name=rlvr_dynamics",
        f"trainer.experiment_name={config.name}",
        f"trainer.default_local_dir={output / 'checkpoints'}",
        f"trainer.total_training_steps={config.trainer.steps}",
        "trainer.total_epochs=100000",  # total_training_steps decides, never the epochs
        "trainer.save_freq=1",
        "trainer.test_freq=-1",
        "trainer.val_before_train=False",
        "trainer.resume_mode=auto",
    ]


def _cpu(temporary: Path | None) -> list[str]:
    return [
        "trainer.device=cpu",
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        f"{ACTOR}.use_torch_compile=False",
        f"{ACTOR}.fsdp_config.use_torch_compile=False",
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
        "ray_kwargs.ray_init.num_cpus=16",  # also logical; its actors ask for more than 2
        "+ray_kwargs.ray_init.include_dashboard=False",
        *([f"+ray_kwargs.ray_init._temp_dir={temporary}"] if temporary else []),
    ]


def _cuda(trainer: Trainer) -> list[str]:
    share = trainer.prompts_per_step // (trainer.gpus_per_node * trainer.nodes)
    length = trainer.max_prompt_tokens + trainer.max_response_tokens
    return [
        "trainer.device=cuda",
        f"{ACTOR}.use_dynamic_bsz=True",
        f"{ACTOR}.ppo_max_token_len_per_gpu={length}",
        f"{ROLLOUT}.agent.num_workers={max(1, min(8, share))}",
    ]
