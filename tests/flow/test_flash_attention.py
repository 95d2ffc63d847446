"""Training on GPUs asks for flash-attn by name, and says how to build it here."""

import pytest
import torch

from rlvr_dynamics.config import load
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow import flash_attention
from rlvr_dynamics.flow.flash_attention import check_flash_attention
from rlvr_dynamics.system.hardware import torch_cuda

SDPA = "+actor_rollout_ref.model.override_config.attn_implementation=sdpa"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """PyTorch for CUDA 13.0; no compiler, no flash-attn, but the hub's kernels; its packages."""
    monkeypatch.setattr(flash_attention, "torch_cuda", lambda: "13.0")
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    packages = tmp_path / "packages"
    (packages / "kernels").mkdir(parents=True)
    (packages / "kernels" / "__init__.py").touch()
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    return packages


def refusal(experiment="grpo_qwen3_4b", *overrides):
    with pytest.raises(UserError, match="flash attention") as caught:
        check_flash_attention(load([f"+exp={experiment}", *overrides]))
    return caught.value


def write_nvcc(folder, release):
    (folder / "bin").mkdir(parents=True)
    nvcc = folder / "bin" / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.9'\n")
    nvcc.chmod(0o755)
    return nvcc


def test_another_attention_must_be_chosen_and_is_none_for_a_critic(machine):
    assert SDPA in refusal().way_out
    check_flash_attention(load(["+exp=grpo_qwen3_4b", f"trainer.verl_overrides=['{SDPA}']"]))
    named = SDPA.replace("sdpa", "flash_attention_2")
    refusal("grpo_qwen3_4b", f"trainer.verl_overrides=['{named}']")
    chosen = refusal("ppo_qwen3_4b", f"trainer.verl_overrides=['{SDPA}']")
    assert SDPA not in chosen.way_out


def test_what_does_not_load_is_named(machine):
    package = machine / "flash_attn"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('x.so: undefined symbol: _ZN3c10')")
    assert "does not load (ImportError: x.so: undefined symbol: _ZN3c10)" in refusal().what
    (package / "__init__.py").write_text("")
    for each in ("ops", "ops/triton"):
        (package / each).mkdir()
        (package / each / "__init__.py").touch()
    (package / "ops" / "triton" / "cross_entropy.py").touch()
    check_flash_attention(load(["+exp=grpo_qwen3_4b"]))


def test_the_compiler_that_the_build_would_take_is_compared_with_pytorchs_cuda(
    machine, monkeypatch, tmp_path
):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert refusal().way_out.startswith("no nvcc was found, and PyTorch was built with CUDA 13.0")
    old = write_nvcc(tmp_path / "cuda-12.8", "12.8")
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setenv("PATH", str(old.parent), prepend=":")
    assert refusal().way_out.startswith(f"{old} is of CUDA 12.8, and PyTorch was built with 13.0")
    # PyTorch asks CUDA_HOME before the path, and accepts another minor version.
    write_nvcc(tmp_path / "cuda-13.2", "13.2")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda-13.2"))
    assert refusal().way_out.startswith("pip install --no-build-isolation flash-attn==")


def test_a_cpu_build_of_pytorch_is_told_before_any_building(machine, monkeypatch):
    assert torch_cuda() == torch.version.cuda
    monkeypatch.setattr(flash_attention, "torch_cuda", lambda: None)
    with pytest.raises(UserError, match="PyTorch is a CPU build") as caught:
        check_flash_attention(load(["+exp=grpo_qwen3_4b"]))
    assert "EXTRA=gpu" in caught.value.way_out


def test_training_on_a_cpu_needs_none(machine):
    check_flash_attention(load([]))
