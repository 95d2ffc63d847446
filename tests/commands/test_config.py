"""The configuration: every file loads, and every mistake is one line that names the key."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from experiments.cells import CELLS
from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.extrapolate import check_methods
from rlvr_dynamics.schema import HubData
from rlvr_dynamics.training import verl_schema
from rlvr_dynamics.training.verl_command import verl_command

# The cells of the grid are loaded in test_grid.py.
HAND_WRITTEN = sorted(set(config.experiments()) - {cell.name for cell in CELLS})


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_every_experiment_loads(name):
    loaded = config.load([f"+exp={name}"])
    assert loaded.name == name
    assert loaded.run_dir == f"outputs/{name}"


def test_demo_is_the_default():
    assert config.load([]) == config.load(["+exp=demo"])


GROUPS = ["model", "algorithm", "data", "trainer", "scoring", "benchmark", "measure"]


def company(group: str, choice: str) -> list[str]:
    """The other choices that a choice cannot be without: published data go with such a model."""
    content = yaml.safe_load((config.CONFIG_FOLDER / group / f"{choice}.yaml").read_text())
    gpus = group == "trainer" and content["device"] == "cuda"
    gpus = gpus or (group == "scoring" and choice != "cpu")
    if group == "model":
        return ["data=math"] if content["kind"] == "hub" else []
    if gpus or (group == "data" and content["kind"] != "arithmetic"):
        return ["model=qwen3_4b", *(["data=math"] if gpus else [])]
    return []


@pytest.mark.parametrize("group", [*GROUPS, "extrapolation"])
def test_every_group_choice_is_valid_somewhere(group):
    choices = sorted(path.stem for path in (config.CONFIG_FOLDER / group).glob("*.yaml"))
    assert choices
    for choice in choices:
        loaded = config.load([f"{group}={choice}", *company(group, choice)])
        check_methods(loaded.extrapolation)


def test_several_configurations_composed_together_are_those_composed_alone():
    choices = [{"model": "tiny_qwen2"}, {"model": "tiny"}, {"algorithm": "ppo"}]
    values = [{"trainer.steps": 7, "seed": 3}, {}, {"algorithm.learning_rate": 2e-6}]
    together = config.load_each(["wandb.mode=offline"], choices, values)
    for loaded, choice, keys in zip(together, choices, values, strict=True):
        changes = [f"{key}={value}" for key, value in (*choice.items(), *keys.items())]
        # demo.yaml, which `load` takes without an exp, sets these three, predictions and scoring.
        own = {"learning_rate": 1e-5, "warmup_steps": 0, "kl_loss_coef": 0.0}
        alone = config.load(["wandb.mode=offline", *changes])
        given = {key.partition(".")[2] for key in keys}
        plain = {name: value for name, value in own.items() if name not in given}
        algorithm = loaded.algorithm.model_copy(update=plain)
        same = {"algorithm": algorithm}
        same |= {"extrapolation": alone.extrapolation, "scoring": alone.scoring}
        assert loaded.model_copy(update=same) == alone


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.stepz=3", ["trainer.stepz", "unknown key", "trainer.steps"]),
        ("+surprise=1", ["surprise", "unknown key", "trainer"]),
        ("+trainer.surprise=1", ["trainer.surprise", "unknown key", "steps"]),
        ("trainer.steps=many", ["trainer.steps", "'many'", "integer"]),
        ("trainer.steps=-1", ["trainer.steps", "-1", "greater than or equal to 1"]),
        ("trainer.steps=2.5", ["trainer.steps", "2.5", "integer"]),
        ("trainer.steps=true", ["trainer.steps", "True", "integer"]),
        ("algorithm.learning_rate=0", ["algorithm.learning_rate", "0", "greater than 0"]),
        ("stages=[fly]", ["stages.0", "'fly'", "prepare"]),
        ("name=../x", ["name", "'../x'", "pattern"]),
        ("model=gpt", ["model=gpt", "tiny"]),
        ("+exp=grpo_qwen3", ["exp=grpo_qwen3", "grpo_qwen3_4b"]),
        ("trainer.mini_batch_prompts=5", ["mini_batch_prompts must divide"]),
        ("trainer.critic_mini_batch_prompts=5", ["critic_mini_batch_prompts must divide"]),
        ("trainer.micro_batch_samples=50", ["micro_batch_samples (50) must divide"]),
        ("trainer.verl_overrides=['critic.ppo_epochs=2']", ["ppo_epochs", "trainer.passes"]),
        ("trainer.verl_overrides=['actor_rollout_ref.rollout.n=4']", ["group_size does"]),
        ("trainer.verl_overrides=['trainer.test_freq=5']", ["validate_every does"]),
        ("trainer.verl_overrides=['++data.train_batch_size=8']", ["prompts_per_step does"]),
        ("extrapolation.targets=[0.2]", ["must lie after every observed window"]),
        ("source.base=somewhere", ["give both or neither"]),
        ("trainer.shard=2", ["trainer", "shard must divide", "(1)"]),
        ("trainer=gpu_node", ["model tiny has no hardware section", "trainer=gpu_node needs a"]),
        ("scoring=relex_qwen3", ["model tiny has no hardware section", "scoring=relex_qwen3"]),
        ("algorithm.lora.rank=0", ["algorithm.lora.rank", "0", "greater than or equal to 1"]),
        ("algorithm.lora.rnk=8", ["algorithm.lora.rnk", "unknown key", "algorithm.lora.rank?"]),
        ("algorithm.lora.alpha=8", ["algorithm.lora.rank has no value", "algorithm.lora.rank=..."]),
        ("algorithm.lora={rank:8,target_modules:[]}", ["lora.target_modules", "at least 1 item"]),
        (
            "algorithm.lora={rank:8,target_modules:[gate_up_proj]}",
            ["target_modules: gate_up_proj", "no linear layer of a qwen3 block", "up_proj"],
        ),
        (
            "trainer.verl_overrides=['actor_rollout_ref.model.lora_rank=8']",
            ["actor_rollout_ref.model.lora_rank", "algorithm.lora does"],
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(override, expected):
    with pytest.raises(UserError) as caught:
        config.load([override])
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.max_response_tokens=4000", ["(5024)", "context of qwen2_5_math_7b (4096)"]),
        ("scoring.max_model_len=8192", ["scoring.max_model_len (8192)", "(4096)"]),
        ("model=qwen9", ["model=qwen9", "no such choice", "qwen3_4b"]),
        ("model.hardware.gpus=4", ["model.hardware.gpus", "unknown key"]),
    ],
)
def test_a_mistake_in_a_cell_is_one_line_that_names_the_key(override, expected):
    with pytest.raises(UserError) as caught:
        config.load(["+exp=grpo_qwen2_5_math_7b", override])
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_keys_below_a_section_that_is_null_give_it_values():
    assert config.load([]).algorithm.lora is None
    made = config.load(["algorithm.lora.rank=64", "algorithm.lora.alpha=32"]).algorithm.lora
    assert made is not None
    assert (made.rank, made.alpha, made.target_modules) == (64, 32, None)
    some = "algorithm.lora.target_modules=[q_proj,v_proj]"
    named = config.load(["algorithm.lora.rank=8", some]).algorithm.lora
    assert named is not None
    assert named.target_modules == ("q_proj", "v_proj")
    critic = config.load(["algorithm=ppo", "algorithm.critic.learning_rate=1e-4"]).algorithm.critic
    assert critic is not None
    assert critic.learning_rate == 1e-4


def test_a_context_binds_only_the_stages_that_use_it():
    long = ["+exp=grpo_qwen2_5_math_7b", "trainer.max_response_tokens=4000"]
    assert config.load([*long, "stages=[prepare]"]).trainer.max_response_tokens == 4000


def test_an_instruction_follows_the_question_or_surrounds_it():
    after = config.load(["+exp=grpo_qwen3_4b"]).data
    around = config.load(["+exp=grpo_qwen3_14b"]).data
    assert isinstance(after, HubData)
    assert isinstance(around, HubData)
    assert after.ask("What is {1}?").startswith("What is {1}?\nPlease reason step by step")
    asked = around.ask("What is {1}?")
    assert asked.startswith("Solve the following math problem step by step.")
    assert "\n\nWhat is {1}?\n\nRemember" in asked
    assert "{question}" not in asked


def test_what_a_model_asks_of_a_machine_reaches_trainer_and_scoring():
    asked = {
        "nodes": 3, "gpus_per_node": 4, "gpu_memory_gib": 141, "shard": 6, "tensor_parallel": 12,
        "offload": True, "rollout_memory_share": 0.37, "scoring_parallel": 2,
    }  # fmt: skip
    given = [f"model.hardware.{key}={value}" for key, value in asked.items()]
    batch = ["trainer.prompts_per_step=96", "trainer.mini_batch_prompts=48"]
    loaded = config.load(["+exp=grpo_qwen3_4b", *given, *batch])
    found = {key: getattr(loaded.trainer, key) for key in asked if key != "scoring_parallel"}
    assert {**found, "scoring_parallel": loaded.scoring.tensor_parallel} == asked


def test_the_answers_of_an_update_divide_among_the_gpus():
    wide = [f"model.hardware.{key}=3" for key in ("nodes", "shard")]
    with pytest.raises(UserError, match=r"mini_batch_prompts x algorithm.group_size \(128 x 8 an"):
        config.load(["+exp=gspo_qwen3_4b", *wide])
    # Of two updates a step none needs a smaller micro-batch: it is the most that passes together.
    assert config.load(["trainer.mini_batch_prompts=6"]).trainer.updates_per_rollout == 2


def test_the_papers_training_is_that_of_a_gpu_cell():
    trainer = config.load(["+exp=grpo_qwen3_4b"]).trainer
    assert (trainer.prompts_per_step, trainer.mini_batch_prompts) == (512, 256)
    assert (trainer.max_prompt_tokens, trainer.max_response_tokens) == (1024, 16384)
    assert (trainer.steps, trainer.temperature, trainer.checkpoint_dtype) == (500, 1.0, "bfloat16")
    trainer = config.load(["+exp=grpo_qwen3_8b"]).trainer
    assert (trainer.prompts_per_step, trainer.mini_batch_prompts) == (512, 512)
    assert (trainer.max_prompt_tokens, trainer.max_response_tokens) == (2048, 20480)
    assert (trainer.steps, trainer.temperature, trainer.checkpoint_dtype) == (27, 1.0, "float32")


def test_a_protocol_is_one_of_the_two_papers():
    assert config.load(["protocol=relex"]).protocol == "relex"
    with pytest.raises(UserError, match="protocol"):
        config.load(["protocol=dapo"])


def test_frozen():
    loaded = config.load([])
    with pytest.raises(ValueError, match="frozen"):
        loaded.seed = 3


def run_cli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlvr_dynamics.run", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_command_line_exit_codes_and_dry_run_touches_nothing(tmp_path):
    assert run_cli("--help", cwd=tmp_path).returncode == 0
    wrong = run_cli("trainer.steps=many", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    plan = run_cli("dry_run=true", cwd=tmp_path)
    assert plan.returncode == 0
    assert "verl.trainer.main_ppo" in plan.stdout
    assert "bytes for checkpoints" in plan.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_cell_plans_and_refuses_to_start_without_gpus(tmp_path):
    plan = run_cli("+exp=grpo_qwen3_4b", "dry_run=true", cwd=tmp_path)
    assert plan.returncode == 0
    assert "8 needed of 80 GiB" in plan.stdout
    if "0 found" not in plan.stdout:
        pytest.skip("this machine has GPUs")
    start = run_cli("+exp=grpo_qwen3_4b", cwd=tmp_path)
    assert start.returncode == 2
    assert "needs 8 GPUs" in start.stderr
    assert "0 found" in start.stderr
    assert "python -m rlvr_dynamics.run" in start.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_and_dry_run_import_no_heavy_library(tmp_path):
    code = (
        "import sys\n"
        "from rlvr_dynamics.run import main\n"
        "assert main(['--help']) == 0\n"
        "assert main(['dry_run=true']) == 0\n"
        "assert main(['+exp=grpo_qwen3_4b', 'dry_run=true']) == 0\n"
        "heavy = {'torch', 'verl', 'vllm', 'transformers', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_verl_knows_every_override_of_every_experiment(tmp_path, name):
    """verl's own configuration accepts what we send; composed with Hydra, without Ray."""
    if verl_schema.verl_folder() is None:
        pytest.skip("verl is not installed")
    loaded = config.load([f"+exp={name}"])
    command = verl_command(loaded, prepare=tmp_path, output=tmp_path)
    composed = verl_schema.resolved(command[3:])
    assert composed["algorithm"]["adv_estimator"] == loaded.algorithm.adv_estimator
    assert composed["reward"]["custom_reward_function"]["path"].endswith("reward.py")
    assert composed["trainer"]["save_freq"] == 1


def test_the_plan_of_a_gpu_cell_says_whether_it_fits(tmp_path):
    cell = ["+exp=grpo_qwen3_4b", f"run_dir={tmp_path / 'run'}"]
    whole = run_cli(*cell, "dry_run=true", cwd=tmp_path).stdout
    assert ": fits in 80 GiB" in whole
    ends = r"[\d,.]+ to [\d,.]+"
    assert re.search(rf"training {ends} hours on 8 GPUs, {ends} GPU-hours", whole)
    assert re.search(rf"\d+ models, [\d,]+ answers, {ends} hours on 8 GPUs", whole)
    one = [*cell, "model.hardware.gpus_per_node=1", "model.hardware.shard=1"]
    alone = run_cli(*one, "dry_run=true", cwd=tmp_path).stdout
    assert ": does not fit in 80 GiB" in alone
    assert "more GPUs in trainer.shard" in alone
    assert "trainer.offload=true" in alone


@pytest.mark.parametrize("label", ["base", "real", "a__observe_3", "observe_3", "step_2", "a_"])
def test_a_label_is_no_name_of_another_model(label):
    with pytest.raises(UserError, match=r"methods\.0\.label"):
        config.load([f"extrapolation.methods=[{{name: relex, label: {label}}}]"])
