"""Every configured value arrives at its own key of verl, and nowhere else.

Two configurations in which no number is verl's default or stands twice, composed by Hydra itself.
"""

import os
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from rlvr_dynamics import config
from rlvr_dynamics.schema import Algorithm, Trainer
from rlvr_dynamics.training.reward import compute_score
from rlvr_dynamics.training.verl_command import MANAGERS_FILE, verl_command
from rlvr_dynamics.training.verl_environment import environment
from rlvr_dynamics.training.verl_schema import resolved, verl_folder

pytestmark = pytest.mark.skipif(verl_folder() is None, reason="verl is not installed")

ACTOR, REFERENCE = "actor_rollout_ref.actor", "actor_rollout_ref.ref"
MODEL, ROLLOUT = "actor_rollout_ref.model", "actor_rollout_ref.rollout"
BUFFER = "reward.reward_kwargs.overlong_buffer_cfg"
FLOAT32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}

# Fields that verl never hears of; what reads them stands beside them.
ELSEWHERE = {
    "algorithm.name": "tables",
    "trainer.gpu_memory_gib": "estimates",
    "trainer.checkpoint_dtype": "checkpoints/verl_run.py",
    "trainer.keep_optimizer_states": "checkpoints/verl_run.py",
    "trainer.keep": "checkpoints/published_steps.py",
    "trainer.save_state_every": "training/saved_states.py",
    "trainer.start_timeout_seconds": "training/trainer.py",
    "trainer.stall_timeout_seconds": "training/stall.py",
}

# Field: its value, and what verl then has under which keys.
Rows = dict[str, tuple[Any, dict[str, Any]]]


def same(value: Any, *keys: str) -> tuple[Any, dict[str, Any]]:
    """A field whose value stands as it is under verl's keys."""
    return value, dict.fromkeys(keys, value)


# Three nodes of four GPUs; a value model; KL terms in the loss and in the reward; float32.
GPUS: Rows = {
    "name": same("named_alone", "trainer.experiment_name"),
    "seed": same(
        7919,
        "data.seed",
        f"{ACTOR}.data_loader_seed",
        f"{ROLLOUT}.seed",
        "critic.data_loader_seed",
        f"{ACTOR}.fsdp_config.seed",  # of the adapters
    ),
    "algorithm.adv_estimator": same("gae", "algorithm.adv_estimator"),
    "algorithm.group_size": same(10, f"{ROLLOUT}.n"),
    "algorithm.learning_rate": same(2.5e-5, f"{ACTOR}.optim.lr"),
    "algorithm.warmup_steps": same(13, f"{ACTOR}.optim.lr_warmup_steps"),
    "algorithm.grad_clip": same(0.55, f"{ACTOR}.optim.clip_grad", "critic.optim.clip_grad"),
    "algorithm.weight_decay": same(
        0.15, f"{ACTOR}.optim.weight_decay", "critic.optim.weight_decay"
    ),
    "algorithm.optimizer": ("adamw", {f"{ACTOR}.optim.optimizer": "AdamW"}),
    "algorithm.betas": same([0.85, 0.97], f"{ACTOR}.optim.betas"),
    "algorithm.loss_mode": same("gspo", f"{ACTOR}.policy_loss.loss_mode"),
    "algorithm.loss_agg_mode": same("seq-mean-token-sum", f"{ACTOR}.loss_agg_mode"),
    "algorithm.clip_ratio_low": same(0.11, f"{ACTOR}.clip_ratio_low"),
    "algorithm.clip_ratio_high": same(0.33, f"{ACTOR}.clip_ratio_high"),
    "algorithm.clip_ratio_c": same(8.5, f"{ACTOR}.clip_ratio_c"),
    "algorithm.kl_loss_coef": (
        0.017,
        {f"{ACTOR}.kl_loss_coef": 0.017, f"{ACTOR}.use_kl_loss": True},
    ),
    "algorithm.kl_loss_type": same("mse", f"{ACTOR}.kl_loss_type"),
    "algorithm.kl_reward_coef": (
        0.023,
        {
            "algorithm.kl_ctrl.kl_coef": 0.023,
            "algorithm.use_kl_in_reward": True,
        },
    ),
    "algorithm.entropy_coef": same(0.006, f"{ACTOR}.entropy_coeff"),
    "algorithm.normalize_by_std": same(False, "algorithm.norm_adv_by_std_in_grpo"),
    "algorithm.gamma": same(0.91, "algorithm.gamma"),
    "algorithm.lam": same(0.83, "algorithm.lam"),
    "algorithm.reward_manager": ("dapo", {"reward.reward_manager.name": "Dapo"}),
    "algorithm.dynamic_sampling": (
        True,
        {"algorithm.filter_groups.enable": True, "algorithm.filter_groups.metric": "acc"},
    ),
    "algorithm.lora.rank": (
        24,
        {
            f"{MODEL}.lora_rank": 24,
            f"{MODEL}.lora.merge": True,
            f"{ACTOR}.checkpoint.save_lora_only": True,
        },
    ),
    "algorithm.lora.alpha": same(48, f"{MODEL}.lora_alpha"),
    "algorithm.lora.target_modules": same(["q_proj", "up_proj"], f"{MODEL}.target_modules"),
    "algorithm.critic.learning_rate": same(3.5e-4, "critic.optim.lr"),
    "algorithm.critic.warmup_steps": same(29, "critic.optim.lr_warmup_steps"),
    # 0.3 of 1201 tokens
    "algorithm.overlong.buffer_share": (0.3, {f"{BUFFER}.len": 360, f"{BUFFER}.enable": True}),
    "algorithm.overlong.penalty": same(0.7, f"{BUFFER}.penalty_factor"),
    "trainer.device": (
        "cuda",
        {
            "trainer.device": "cuda",
            f"{ACTOR}.use_dynamic_bsz": True,
            f"{MODEL}.use_remove_padding": True,
            f"{MODEL}.enable_gradient_checkpointing": True,
        },
    ),
    "trainer.nodes": same(3, "trainer.nnodes"),
    "trainer.gpus_per_node": same(4, "trainer.n_gpus_per_node"),
    "trainer.steps": same(77, "trainer.total_training_steps"),
    # 7 to a GPU
    "trainer.prompts_per_step": (
        84,
        {"data.train_batch_size": 84, f"{ROLLOUT}.agent.num_workers": 7},
    ),
    "trainer.mini_batch_prompts": same(42, f"{ACTOR}.ppo_mini_batch_size"),
    "trainer.passes": same(37, f"{ACTOR}.ppo_epochs"),
    "trainer.critic_mini_batch_prompts": same(6, "critic.ppo_mini_batch_size"),
    "trainer.micro_batch_samples": same(
        5,
        f"{ACTOR}.ppo_micro_batch_size_per_gpu",
        f"{REFERENCE}.log_prob_micro_batch_size_per_gpu",
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu",
        "critic.ppo_micro_batch_size_per_gpu",
    ),
    # 901 + 1201 tokens: the longest sample
    "trainer.max_prompt_tokens": (
        901,
        {
            "data.max_prompt_length": 901,
            f"{ROLLOUT}.max_model_len": 2102,
            f"{ROLLOUT}.max_num_batched_tokens": 2102,
        },
    ),
    "trainer.micro_batch_tokens": same(
        3301, f"{ACTOR}.ppo_max_token_len_per_gpu", "critic.ppo_infer_max_token_len_per_gpu"
    ),
    "trainer.max_response_tokens": same(
        1201, "data.max_response_length", "reward.reward_kwargs.max_resp_len"
    ),
    # A validation samples as training does.
    "trainer.temperature": same(
        0.65, f"{ROLLOUT}.temperature", f"{ROLLOUT}.val_kwargs.temperature"
    ),
    "trainer.precision": (
        "fp32",
        {
            f"{ROLLOUT}.dtype": "float32",
            f"{ACTOR}.fsdp_config.mixed_precision": FLOAT32,
            f"{REFERENCE}.fsdp_config.mixed_precision": FLOAT32,
            "critic.fsdp.mixed_precision": FLOAT32,
        },
    ),
    "trainer.shard": same(
        2,
        f"{ACTOR}.fsdp_config.fsdp_size",
        f"{REFERENCE}.fsdp_config.fsdp_size",
        "critic.fsdp.fsdp_size",
    ),
    "trainer.tensor_parallel": same(12, f"{ROLLOUT}.tensor_model_parallel_size"),
    "trainer.rollout_memory_share": same(0.37, f"{ROLLOUT}.gpu_memory_utilization"),
    "trainer.offload": same(
        True,
        f"{ACTOR}.fsdp_config.param_offload",
        f"{ACTOR}.fsdp_config.optimizer_offload",
        f"{REFERENCE}.fsdp_config.param_offload",
        "critic.fsdp.param_offload",
        "critic.fsdp.optimizer_offload",
    ),
    "trainer.rollout_sequences": same(96, f"{ROLLOUT}.max_num_seqs"),
    "trainer.validate_every": (19, {"trainer.test_freq": 19, "trainer.val_before_train": True}),
    "trainer.validation_samples": (
        11,
        {f"{ROLLOUT}.val_kwargs.n": 11, f"{ROLLOUT}.val_kwargs.do_sample": True},
    ),
    # The user's own come last and win.
    "trainer.verl_overrides": (["data.truncation=left"], {"data.truncation": "left"}),
}

# A CPU; no value model; the KL term in the loss alone; sums divided by a constant; bf16.
CPU: Rows = {
    "name": same("on_a_cpu", "trainer.experiment_name"),
    "seed": same(104729, "data.seed", f"{ACTOR}.data_loader_seed", f"{ROLLOUT}.seed"),
    "algorithm.adv_estimator": same("rloo", "algorithm.adv_estimator"),
    "algorithm.group_size": same(6, f"{ROLLOUT}.n"),
    "algorithm.learning_rate": same(4.5e-5, f"{ACTOR}.optim.lr"),
    # verl's way to say none
    "algorithm.warmup_steps": (0, {f"{ACTOR}.optim.lr_warmup_steps": -1}),
    "algorithm.grad_clip": same(0.45, f"{ACTOR}.optim.clip_grad"),
    "algorithm.weight_decay": same(0.35, f"{ACTOR}.optim.weight_decay"),
    "algorithm.optimizer": ("sgd", {f"{ACTOR}.optim.optimizer": "SGD"}),
    "algorithm.betas": (
        [0.75, 0.5],
        {f"{ACTOR}.optim.override_optimizer_config": {"momentum": 0.75}},
    ),
    "algorithm.loss_mode": same("cispo", f"{ACTOR}.policy_loss.loss_mode"),
    "algorithm.loss_agg_mode": same("seq-mean-token-sum-norm", f"{ACTOR}.loss_agg_mode"),
    "algorithm.clip_ratio_low": same(0.15, f"{ACTOR}.clip_ratio_low"),
    "algorithm.clip_ratio_high": same(0.27, f"{ACTOR}.clip_ratio_high"),
    "algorithm.clip_ratio_c": same(5.5, f"{ACTOR}.clip_ratio_c"),
    "algorithm.kl_loss_coef": (
        0.012,
        {f"{ACTOR}.kl_loss_coef": 0.012, f"{ACTOR}.use_kl_loss": True},
    ),
    "algorithm.kl_loss_type": same("abs", f"{ACTOR}.kl_loss_type"),
    "algorithm.kl_reward_coef": (0.0, {"algorithm.use_kl_in_reward": False}),
    "algorithm.entropy_coef": same(0.004, f"{ACTOR}.entropy_coeff"),
    "algorithm.normalize_by_std": same(True, "algorithm.norm_adv_by_std_in_grpo"),
    "algorithm.gamma": same(0.94, "algorithm.gamma"),
    "algorithm.lam": same(0.88, "algorithm.lam"),
    "algorithm.reward_manager": ("naive", {"reward.reward_manager.name": "Naive"}),
    "algorithm.dynamic_sampling": (False, {"algorithm.filter_groups.enable": False}),
    "algorithm.critic": (None, {"critic.enable": False}),
    "algorithm.lora": (None, {}),
    "trainer.device": (
        "cpu",
        {
            "trainer.device": "cpu",
            f"{MODEL}.use_remove_padding": False,
            f"{MODEL}.enable_gradient_checkpointing": False,
            f"{MODEL}.override_config.attn_implementation": "sdpa",
            f"{ACTOR}.fsdp_config.use_torch_compile": False,
            f"{REFERENCE}.fsdp_config.use_torch_compile": False,
            f"{ROLLOUT}.engine_kwargs.vllm.distributed_executor_backend": (
                "vllm.v1.executor.uniproc_executor.UniProcExecutor"
            ),
            f"{ROLLOUT}.enforce_eager": True,
            f"{ROLLOUT}.free_cache_engine": False,
            f"{ROLLOUT}.enable_sleep_mode": False,
            f"{ROLLOUT}.load_format": "auto",
            f"{ROLLOUT}.agent.num_workers": 1,
            f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes": 16,
            "reward.num_workers": 1,
            "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
            "ray_kwargs.ray_init.num_gpus": 1,
            "ray_kwargs.ray_init.num_cpus": 16,
            "ray_kwargs.ray_init.include_dashboard": False,
            "ray_kwargs.ray_init._temp_dir": "/short",
        },
    ),
    "trainer.nodes": same(2, "trainer.nnodes"),
    # verl schedules by GPU: a logical one
    "trainer.gpus_per_node": (0, {"trainer.n_gpus_per_node": 1}),
    "trainer.steps": same(31, "trainer.total_training_steps"),
    "trainer.prompts_per_step": same(45, "data.train_batch_size"),
    "trainer.mini_batch_prompts": same(15, f"{ACTOR}.ppo_mini_batch_size"),
    "trainer.passes": same(1, f"{ACTOR}.ppo_epochs"),
    "trainer.micro_batch_samples": same(
        9,
        f"{ACTOR}.ppo_micro_batch_size_per_gpu",
        f"{REFERENCE}.log_prob_micro_batch_size_per_gpu",
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu",
    ),
    # 61 + 83 tokens, and vLLM's least batch
    "trainer.max_prompt_tokens": (
        61,
        {
            "data.max_prompt_length": 61,
            f"{ROLLOUT}.max_model_len": 144,
            f"{ROLLOUT}.max_num_batched_tokens": 2048,
        },
    ),
    "trainer.micro_batch_tokens": (None, {}),
    "trainer.max_response_tokens": same(
        83, "data.max_response_length", f"{ACTOR}.loss_scale_factor"
    ),
    "trainer.temperature": same(1.4, f"{ROLLOUT}.temperature"),
    "trainer.precision": ("bf16", {f"{ROLLOUT}.dtype": "bfloat16"}),
    "trainer.shard": same(
        1, f"{ACTOR}.fsdp_config.fsdp_size", f"{REFERENCE}.fsdp_config.fsdp_size"
    ),
    "trainer.tensor_parallel": same(1, f"{ROLLOUT}.tensor_model_parallel_size"),
    "trainer.rollout_memory_share": same(0.29, f"{ROLLOUT}.gpu_memory_utilization"),
    "trainer.offload": same(
        False,
        f"{ACTOR}.fsdp_config.param_offload",
        f"{ACTOR}.fsdp_config.optimizer_offload",
        f"{REFERENCE}.fsdp_config.param_offload",
    ),
    "trainer.rollout_sequences": same(52, f"{ROLLOUT}.max_num_seqs"),
    "trainer.validate_every": (None, {"trainer.test_freq": -1, "trainer.val_before_train": False}),
    "trainer.validation_samples": (7, {}),
    "trainer.verl_overrides": ([], {}),
}

# The same in every run.
ALWAYS = {
    "data.train_files": "/prepared/train.parquet",
    "data.val_files": "/prepared/val.parquet",
    "data.filter_overlong_prompts": True,
    "data.truncation": "error",
    "data.shuffle": True,
    "data.dataloader_num_workers": 0,
    f"{MODEL}.path": "/prepared/base",
    f"{ACTOR}.strategy": "fsdp2",
    f"{ACTOR}.checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
    f"{ACTOR}.fsdp_config.model_dtype": "fp32",
    f"{REFERENCE}.fsdp_config.model_dtype": "fp32",
    f"{ROLLOUT}.name": "vllm",
    "reward.custom_reward_function.path": compute_score.__code__.co_filename,
    "reward.custom_reward_function.name": "compute_score",
    "reward.custom_reward_function.reward_kwargs.rule": "exact",
    "reward.reward_manager.source": "importlib",
    "reward.reward_manager.module.path": str(MANAGERS_FILE),
    "trainer.logger": ["console", "file"],
    "trainer.project_name": "rlvr_dynamics",
    "trainer.default_local_dir": "/out/checkpoints",
    "trainer.total_epochs": 100000,
    "trainer.save_freq": 1,
    "trainer.resume_mode": "auto",
}
# Beside a value model, a KL term in the reward, the punishment of long answers and a validation.
OF_PARTS = {
    "critic.enable": True,
    "critic.strategy": "fsdp2",
    "critic.model.path": "/prepared/base",
    "critic.model.use_remove_padding": True,
    "critic.model.enable_gradient_checkpointing": True,
    "critic.fsdp.model_dtype": "fp32",
    "algorithm.kl_ctrl.type": "fixed",
    "algorithm.kl_penalty": "kl",
    f"{BUFFER}.log": True,
    f"{ROLLOUT}.val_kwargs.top_p": 1.0,
    f"{ROLLOUT}.val_kwargs.top_k": -1,
}
CASES = {
    "gpus": (["+exp=grpo_qwen3_4b", "algorithm=ppo"], GPUS, ALWAYS | OF_PARTS),
    "cpu": (["+exp=demo", "algorithm=rloo"], CPU, ALWAYS),
}


def spelled(value: Any) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, list):
        quoted = [f"'{item}'" if isinstance(item, str) else str(item) for item in value]
        return f"[{','.join(quoted)}]"
    return "null" if value is None else str(value)


def composed(overrides: list[str]) -> dict[str, Any]:
    """verl's configuration under overrides, by Hydra, as flat keys; each inner node stands too."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    folder = verl_folder()
    assert folder is not None
    with initialize_config_dir(str(folder / "trainer" / "config"), version_base=None):
        made = compose("ppo_trainer", overrides=overrides)
    return OmegaConf.to_container(made, resolve=True)


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for key, value in node.items():
        found[f"{prefix}{key}"] = value
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
    return found


@pytest.fixture(scope="module")
def verls_own() -> dict[str, Any]:
    return flat(composed([]))


@pytest.fixture(scope="module", params=CASES)
def case(request) -> tuple[Rows, dict[str, Any], list[str], dict[str, Any]]:
    """Rows of a configuration, what verl must then have, what is sent to it, what it has."""
    chosen, rows, always = CASES[request.param]
    overlong = "algorithm.overlong={buffer_share:0.3,penalty:0.7}"
    given = [f"{field}={spelled(value)}" for field, (value, _) in rows.items()]
    given = [item for item in given if not item.startswith("algorithm.overlong.")]
    loaded = config.load([*chosen, *given, *([overlong] if rows is GPUS else [])])
    sent = verl_command(
        loaded, prepare=Path("/prepared"), output=Path("/out"), temporary=Path("/short")
    )[3:]
    expected = always | {key: value for _, keys in rows.values() for key, value in keys.items()}
    return rows, expected, sent, composed(sent)


def test_verl_has_each_value_under_its_key(case):
    _, expected, _, verl = case
    found = flat(verl)
    assert {key: found[key] for key in expected} == expected


def test_nothing_else_is_sent(case):
    _, expected, sent, _ = case
    keys = {item.partition("=")[0].lstrip("+") for item in sent}
    assert keys == set(expected)


def test_our_check_reads_verls_configuration_as_hydra_does(case):
    _, _, sent, verl = case
    assert resolved(sent) == verl


@pytest.mark.parametrize("data", ["math", "dapo_math"])
def test_the_reward_is_told_the_rule_of_the_data(data):
    loaded = config.load(["+exp=grpo_qwen3_4b", f"data={data}"])
    verl = resolved(verl_command(loaded, prepare=Path("/prepared"), output=Path("/out"))[3:])
    told = verl["reward"]["custom_reward_function"]["reward_kwargs"]
    assert told == {"rule": {"math": "exact", "dapo_math": "dapo_2025"}[data]}
    tossed = config.load(["+exp=grpo_qwen3_4b", f"data={data}", "data.reward=random", "seed=5"])
    verl = resolved(verl_command(tossed, prepare=Path("/prepared"), output=Path("/out"))[3:])
    told = verl["reward"]["custom_reward_function"]["reward_kwargs"]
    assert told == {"rule": "random", "seed": 5}


def test_the_value_model_on_a_cpu_is_the_actors_kind():
    loaded = config.load(["algorithm=ppo"])
    verl = resolved(verl_command(loaded, prepare=Path("/prepared"), output=Path("/out"))[3:])
    critic, actor = verl["critic"], verl["actor_rollout_ref"]
    for key in ("use_remove_padding", "enable_gradient_checkpointing"):
        assert critic["model"][key] is actor["model"][key] is False
    assert critic["fsdp"]["use_torch_compile"] is False
    # On a CPU a micro-batch (128 samples of 96 tokens) is packed whole.
    assert critic["ppo_infer_max_token_len_per_gpu"] == 12288


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_verls_process_has_the_variables_that_belong_to_its_command(monkeypatch, device):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "13")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    loaded = config.load(["+exp=grpo_qwen3_4b"] if device == "cuda" else [])
    found = environment(loaded, Path("/run/metrics_3.jsonl"))
    assert found["VERL_FILE_LOGGER_PATH"] == "/run/metrics_3.jsonl"
    assert found["HF_HUB_OFFLINE"] == "1"
    assert found["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    # verl has no platform of its own for a CPU, and takes an empty list of GPUs for none at all.
    own = {"VERL_PLATFORM": "cpu", "VERL_ENGINE_DEVICE": "cuda", "OMP_NUM_THREADS": "1"}
    own |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    own |= {"CUDA_VISIBLE_DEVICES": None, "TORCHDYNAMO_DISABLE": "1"}
    kept = {name: os.environ.get(name) for name in own}
    assert {name: found.get(name) for name in own} == (own if device == "cpu" else kept)


def test_every_field_has_its_keys_or_a_reason():
    def fields(model: type[BaseModel], prefix: str) -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            inner = [part for part in get_args(field.annotation) if isinstance(part, type)]
            below = [part for part in inner if issubclass(part, BaseModel)]
            found |= fields(below[0], f"{prefix}{name}.") if below else {f"{prefix}{name}"}
        return found

    sections = ("algorithm.critic", "algorithm.lora", "algorithm.overlong", "trainer.critic")
    known = fields(Algorithm, "algorithm.") | fields(Trainer, "trainer.")
    assert known == (set(GPUS) - {"name", "seed"}) | set(ELSEWHERE)
    assert set(CPU) - {"algorithm.critic", "algorithm.lora"} == {
        field for field in GPUS if not field.startswith(sections)
    }


def test_no_value_could_be_verls_own_or_another_fields(verls_own):
    rows = [pair for table in (GPUS, CPU) for pair in table.values()]
    sent = [pair for _, keys in rows for pair in keys.items()]
    differing = {key for key, value in sent if verls_own.get(key) != value}
    assert {key for key, _ in sent} - differing == set()
    for table in (GPUS, CPU):
        numbers = [v for v, _ in table.values() if isinstance(v, int | float) and v not in (0, 1)]
        assert len(set(numbers)) == len(numbers)
        words = [value for value, _ in table.values() if isinstance(value, str)]
        assert len(set(words)) == len(words)


def test_fp16_is_cast_and_answered_in_fp16_with_float32_weights():
    command = verl_command(
        config.load(["+exp=grpo_qwen3_8b", "trainer.precision=fp16"]),
        prepare=Path("/prepared"),
        output=Path("/out"),
    )
    actor_and_rollout = resolved(command[3:])["actor_rollout_ref"]
    mixed = {"param_dtype": "fp16", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    for part in ("actor", "ref"):
        fsdp = actor_and_rollout[part]["fsdp_config"]
        assert (fsdp["model_dtype"], fsdp["mixed_precision"]) == ("fp32", mixed)
    assert actor_and_rollout["rollout"]["dtype"] == "float16"
