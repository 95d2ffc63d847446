"""What a run needs of this machine, checked before anything is touched."""

import pytest

from rlvr_dynamics.config import load
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow import checks
from rlvr_dynamics.run_directory.run import Run

SDPA = "+actor_rollout_ref.model.override_config.attn_implementation=sdpa"


@pytest.fixture
def gpus_without_flash_attention(monkeypatch):
    monkeypatch.setattr(checks, "gpus_found", lambda: ["H100"] * 8)
    monkeypatch.setattr(checks, "free_bytes", lambda _folder: 10**18)
    monkeypatch.setattr(checks, "find_spec", lambda _name: None)


def check(folder, experiment, *overrides):
    given = [f"+exp={experiment}", f"run_dir={folder}", "stages=[prepare,train]", *overrides]
    checks.check_machine(Run(load(given), folder))


@pytest.mark.usefixtures("gpus_without_flash_attention")
def test_training_without_flash_attention_needs_another_attention(tmp_path):
    with pytest.raises(UserError, match="flash attention") as caught:
        check(tmp_path, "grpo_qwen3_4b")
    assert SDPA in str(caught.value)
    check(tmp_path, "grpo_qwen3_4b", f"trainer.verl_overrides=['{SDPA}']")
    named = SDPA.replace("sdpa", "flash_attention_2")
    with pytest.raises(UserError, match="flash attention"):
        check(tmp_path, "grpo_qwen3_4b", f"trainer.verl_overrides=['{named}']")


@pytest.mark.usefixtures("gpus_without_flash_attention")
def test_a_critic_needs_flash_attention_whatever_the_actor_takes(tmp_path):
    with pytest.raises(UserError, match="flash attention") as caught:
        check(tmp_path, "ppo_qwen3_4b", f"trainer.verl_overrides=['{SDPA}']")
    assert SDPA not in str(caught.value)
