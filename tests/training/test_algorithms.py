"""From an algorithm's file to verl's resolved configuration, without starting anything."""

import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema.overrides import quoted
from rlvr_dynamics.training.verl_command import verl_command, verl_overrides
from rlvr_dynamics.training.verl_schema import check, resolved

needs_verl = pytest.mark.skipif(
    importlib.util.find_spec("verl") is None, reason="verl is not installed"
)
ALGORITHMS = sorted(path.stem for path in (config.CONFIG_FOLDER / "algorithm").glob("*.yaml"))
# What a file says where a paper or verl says nothing else, and each method's own (sources there).
COMMON = {
    "adv_estimator": "grpo", "group_size": 8, "learning_rate": 1e-6, "warmup_steps": 10,
    "grad_clip": 1.0, "weight_decay": 0.01, "optimizer": "adamw",
    "betas": (0.9, 0.999), "loss_mode": "vanilla", "loss_agg_mode": "token-mean",
    "clip_ratio_low": 0.2, "clip_ratio_high": 0.2, "clip_ratio_c": 3.0, "kl_loss_coef": 0.0,
    "kl_loss_type": "low_var_kl", "kl_reward_coef": 0.0, "entropy_coef": 0.0,
    "normalize_by_std": True, "gamma": 1.0, "lam": 1.0, "reward_manager": "naive",
    "dynamic_sampling": False, "critic": None, "overlong": None, "lora": None,
}  # fmt: skip
FILTERED = {
    "reward_manager": "dapo",
    "dynamic_sampling": True,
    "overlong": {"buffer_share": 0.2, "penalty": 1.0},
}
OWN = {
    "ppo": {
        "adv_estimator": "gae",
        "warmup_steps": 50,
        "weight_decay": 0.0,
        "critic": {"learning_rate": 5e-6, "warmup_steps": 50},
    },
    "grpo": {"kl_loss_coef": 0.001},
    "dr_grpo": {
        "weight_decay": 0.0,
        "loss_agg_mode": "seq-mean-token-sum-norm",
        "normalize_by_std": False,
    },
    "rloo": {"adv_estimator": "rloo", "kl_loss_coef": 0.001},
    "reinforce_pp": {"adv_estimator": "reinforce_plus_plus", "kl_reward_coef": 0.001},
    "dapo": {
        "warmup_steps": 20,
        "weight_decay": 0.1,
        "clip_ratio_high": 0.28,
        "clip_ratio_c": 10.0,
        **FILTERED,
    },
    "gspo": {
        "loss_mode": "gspo",
        "loss_agg_mode": "seq-mean-token-mean",
        "clip_ratio_low": 3e-4,
        "clip_ratio_high": 4e-4,
    },
    "cispo": {"loss_mode": "cispo", "clip_ratio_low": 10.0, **FILTERED},
    "opo": {"adv_estimator": "opo"},
}


@cache
def overrides(algorithm: str, *more: str, exp: str = "grpo_qwen3_4b") -> list[str]:
    loaded = config.load([f"+exp={exp}", f"algorithm={algorithm}", *more])
    return verl_overrides(loaded, prepare=Path("/data"), output=Path("/out"))


def resolve(algorithm: str, *more: str, exp: str = "grpo_qwen3_4b") -> dict[str, Any]:
    return resolved(overrides(algorithm, *more, exp=exp))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_algorithm_has_its_own_papers_values(name):
    # Not a cell: the grid's have a warm-up of their own.
    found = config.load(["+exp=trajectory", f"algorithm={name}"]).algorithm.model_dump()
    assert found == {"name": name, **COMMON, **OWN[name]}


@needs_verl
@pytest.mark.parametrize(
    ("name", "in_loss", "in_reward"),
    [("grpo", True, False), ("reinforce_pp", False, True), ("dapo", False, False)],
)
def test_a_reference_model_is_asked_for_by_a_kl_term_alone(name, in_loss, in_reward):
    verl = resolve(name)
    assert verl["actor_rollout_ref"]["actor"]["use_kl_loss"] is in_loss
    assert verl["algorithm"]["use_kl_in_reward"] is in_reward


@needs_verl
@pytest.mark.parametrize("exp", ["grpo_qwen3_4b", "demo"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_verl_knows_every_key_of_every_algorithm(name, exp):
    verl = resolve(name, exp=exp)
    assert verl["reward"]["custom_reward_function"]["path"].endswith("reward.py")
    assert verl["trainer"]["save_freq"] == 1


@needs_verl
def test_the_value_model_is_laid_out_like_the_actor():
    verl = resolve("ppo", "trainer.offload=true", "trainer.shard=4", "trainer.precision=fp32")
    critic, actor = verl["critic"], verl["actor_rollout_ref"]["actor"]
    assert critic["optim"]["lr"] == 5e-6 != actor["optim"]["lr"]
    assert critic["model"]["path"] == verl["actor_rollout_ref"]["model"]["path"] == "/data/base"
    reference = verl["actor_rollout_ref"]["ref"]["fsdp_config"]
    for state in (critic["fsdp"], actor["fsdp_config"], reference):
        assert (state["fsdp_size"], state["param_offload"]) == (4, True)
        assert state["mixed_precision"]["param_dtype"] == "fp32"
    assert critic["ppo_mini_batch_size"] == actor["ppo_mini_batch_size"]
    # The longest sample fits into one micro-batch, of the value model too.
    assert critic["ppo_infer_max_token_len_per_gpu"] == actor["ppo_max_token_len_per_gpu"]
    assert actor["ppo_max_token_len_per_gpu"] >= 1024 + 16384
    assert critic["use_dynamic_bsz"] is True


@needs_verl
def test_the_clipping_of_gradients_reaches_the_optimizers_that_clip():
    # FSDP's engine clips by its optimizer's own value; actor.grad_clip is read by nothing.
    verl = resolve("ppo", "algorithm.grad_clip=0.5")
    assert verl["actor_rollout_ref"]["actor"]["optim"]["clip_grad"] == 0.5
    assert verl["critic"]["optim"]["clip_grad"] == 0.5


@needs_verl
def test_the_length_of_an_answer_sets_the_punishment_and_the_constant():
    length = "trainer.max_response_tokens=1000"
    buffer = resolve("dapo", length)["reward"]["reward_kwargs"]
    assert buffer["max_resp_len"] == 1000
    assert buffer["overlong_buffer_cfg"] == {
        "enable": True, "len": 200, "penalty_factor": 1.0, "log": True
    }  # fmt: skip
    assert resolve("dr_grpo", length)["actor_rollout_ref"]["actor"]["loss_scale_factor"] == 1000
    assert resolve("grpo", length)["actor_rollout_ref"]["actor"]["loss_scale_factor"] is None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("algorithm.critic.learning_rate=1.0", "critic"),  # grpo has none
        ("algorithm.adv_estimator=gae", "gae and a critic go together"),
        ("algorithm.group_size=1", "group_size of at least 2"),
        ("algorithm.reward_manager=x", "naive"),
        ("algorithm.loss_mode=gpso", "gspo"),
        ("trainer.shard=3", "must divide"),
    ],
)
def test_an_inconsistent_algorithm_is_refused(override, expected):
    with pytest.raises(UserError, match=expected):
        config.load(["+exp=grpo_qwen3_4b", override])


@needs_verl
@pytest.mark.parametrize(
    ("wrong", "named", "hint"),
    [
        ("trainer.save_freqq=1", "trainer.save_freqq", "trainer.save_freq?"),
        ("actor_rollout_ref.actor.lr=1", "actor.lr", "actor_rollout_ref.actor.optim.lr"),
        ("+actor_rollout_ref.actor.kl_los_coef=1", "kl_los_coef", "actor.kl_loss_coef"),
        ("++actor_rollout_ref.actor.kl_typo=1", "kl_typo", "kl_loss_type"),
        ("+critic.fsdp.mixed_precison={a:1}", "mixed_precison", "+critic.fsdp.mixed_precision"),
        ("+trainer.kl_typo=1", "trainer.kl_typo", "did you mean"),
        ("+reward.reward_kwargs.overlong_buffer_cfg.leng=3", "leng", "overlong_buffer_cfg.len?"),
        ("+actor_rollout_ref.rollout.n=3", "already", "leave out the +"),
        ("custom_reward_function.path=x.py", "never reads", "use reward.custom_reward_function"),
        ("++custom_reward_function.path=x.py", "never reads", "reward.custom_reward_function"),
        ("reward_model.reward_manager=dapo", "never reads", "reward.reward_manager"),
        ("algorithm.filter_groups.max_num_gen_batches=3", "never reads", "stall_timeout_seconds"),
        ("critic.ppo_max_token_len_per_gpu=9", "never reads", "ppo_infer_max_token_len_per_gpu"),
        ("actor_rollout_ref.actor.grad_clip=9", "never reads", "actor.optim.clip_grad"),
        ("critic.grad_clip=9", "never reads", "critic.optim.clip_grad"),
        ("actor_rollout_ref.nccl_timeout=7200", "never reads", "within 30 minutes"),
        ("+critic.nccl_timeout=7200", "never reads", "within 30 minutes"),
        ("critic.forward_micro_batch_size=9", "never reads", "ppo_infer_max_token_len_per_gpu"),
        ("actor_rollout_ref.model.tiled_mlp.enabled=True", "never reads", "leave it out"),
        ("actor_rollout_ref.rollout.over_sample_rate=0.1", "never reads", "leave it out"),
        ("actor_rollout_ref.rollout.do_sample=False", "never reads", "use trainer.temperature"),
        ("actor_rollout_ref.actor.use_torch_compile=False", "never reads", "actor.fsdp_config"),
        ("trainer.balance_batch=False", "never reads", "leave it out"),
        ("data.seed=1,2", "several values", "quote"),
        ("~trainer.nothing", "trainer.nothing", "did you mean"),
        ("data.train_files=[a", "cannot read", "quote"),
        ("model_engine=dpp", "model_engine/dpp", ""),
        ("actor_rollout_ref.actor={typo:1}", "typo", ""),
    ],
)
def test_a_key_that_verl_would_refuse_or_ignore_is_named_before_anything_starts(wrong, named, hint):
    with pytest.raises(UserError) as caught:
        resolved([*overrides("grpo"), wrong])
    message = str(caught.value)
    assert named in message
    assert hint in message
    assert "\n" not in message


@needs_verl
@pytest.mark.parametrize(
    "right",
    [
        "trainer.log_val_generations=3",
        "+actor_rollout_ref.model.override_config.rope_theta=3",
        "+actor_rollout_ref.rollout.engine_kwargs.vllm.seed=1",
        "+data.apply_chat_template_kwargs.enable_thinking=False",
        "+trainer.remove_previous_ckpt_in_save=True",
        "+ray_kwargs.ray_init.address=auto",
    ],
)
def test_what_verl_reads_is_let_through(right):
    assert check([*overrides("grpo"), right]).startswith("verl knows")


@needs_verl
@pytest.mark.parametrize(
    "name",
    ["plain", "a b", "x=y", "it's", r"back\slash", "ends\\", "a,b{c}[d]", "ü(1)", "ü", "~x#y"],
)
def test_any_path_reaches_verl_unchanged(name):
    folder = Path("/runs") / name
    assert resolved([f"trainer.default_local_dir={quoted(folder)}"])["trainer"][
        "default_local_dir"
    ] == str(folder)
    command = verl_command(config.load([]), prepare=folder, output=folder, temporary=folder)
    verl = resolved(command[3:])
    assert verl["data"]["train_files"] == f"{folder}/train.parquet"
    assert verl["ray_kwargs"]["ray_init"]["_temp_dir"] == str(folder)


@needs_verl
def test_checking_imports_neither_verl_nor_torch():
    code = (
        "import sys\n"
        "from rlvr_dynamics.training.verl_schema import check\n"
        "print(check(['trainer.nnodes=1', '+critic.fsdp.mixed_precision={a:1}']))\n"
        "heavy = {'torch', 'verl', 'vllm', 'ray', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "verl knows all 2 overrides\n"


def test_without_verl_a_plan_says_that_nothing_was_checked(tmp_path):
    blocker = (
        "import importlib.util as util, sys\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'verl' else found(name, *rest)\n"
        "from rlvr_dynamics.run import main\n"
        "sys.exit(main(['dry_run=true']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocker],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "verl is not installed here: its keys were not checked" in done.stdout
