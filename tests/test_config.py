"""The configuration: every file loads, and every mistake is one line that names the key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolate_stage import check_methods


@pytest.mark.parametrize("name", config.experiments())
def test_every_experiment_loads(name):
    loaded = config.load([f"+exp={name}"])
    assert loaded.name == name
    assert loaded.run_dir == f"outputs/{name}"


def test_demo_is_the_default():
    assert config.load([]) == config.load(["+exp=demo"])


GROUPS = ["model", "algorithm", "data", "trainer", "scoring", "benchmark", "measure"]


@pytest.mark.parametrize("group", [*GROUPS, "extrapolation"])
def test_every_group_choice_is_valid_somewhere(group):
    choices = sorted(path.stem for path in (config.CONFIG_FOLDER / group).glob("*.yaml"))
    assert choices
    for choice in choices:
        extra = ["data=math"] if (group, choice) == ("model", "qwen3_4b") else []
        if (group, choice) == ("data", "math"):
            extra = ["model=qwen3_4b"]
        check_methods(config.load([f"{group}={choice}", *extra]).extrapolation)


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
        ("trainer.micro_batch_samples=100", ["micro_batch_samples (100) must divide"]),
        ("extrapolation.targets=[0.2]", ["must lie after every observed window"]),
        ("source.base=somewhere", ["give both or neither"]),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(override, expected):
    with pytest.raises(UserError) as caught:
        config.load([override])
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


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


def test_verl_knows_every_override_of_every_experiment(tmp_path):
    """verl's own configuration accepts what we send; composed with Hydra, without Ray."""
    import importlib.util

    from hydra import compose, initialize_config_dir

    from rlvr_dynamics.training.verl_command import verl_command

    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("verl is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "trainer" / "config"
    for name in config.experiments():
        command = verl_command(config.load([f"+exp={name}"]), prepare=tmp_path, output=tmp_path)
        with initialize_config_dir(str(folder), version_base=None):
            composed = compose("ppo_trainer", overrides=command[3:])
        assert composed.algorithm.adv_estimator == "grpo"
        assert composed.reward.custom_reward_function.path.endswith("reward.py")
        assert composed.trainer.save_freq == 1
