"""Whether training on GPUs finds flash-attn, and how to build it if not.

verl takes its attention, through transformers, and its cross entropy, which writes the gradient
over the logits. Without the latter (`verl.utils.torch_functional`) it silently keeps the
log-softmax beside them. The package `kernels` replaces the attention only, and downloads it from
the hub during training.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from rlvr_dynamics.errors import UserError, one_line
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.system.hardware import torch_cuda
from rlvr_dynamics.training.verl_command import ATTENTION, without_flash_attention

# The sources of 2.8.3; this release also finds a wheel for CUDA 13, should one be published.
BUILD = "pip install --no-build-isolation flash-attn==2.8.3.post2"
_LOADS = "import flash_attn.ops.triton.cross_entropy"
_SECONDS = 300  # loading torch from a slow network disk


def check_flash_attention(config: RunConfig) -> None:
    """Refuse training on GPUs where verl's attention does not load.

    A chosen other attention is accepted, but not for PPO: its critic takes flash attention
    whatever the actor takes.

    Raises:
        UserError: PyTorch is a CPU build, or flash_attn is missing or does not load.
    """
    if config.trainer.device != "cuda" or not config.trains:
        return
    cuda = torch_cuda()
    if cuda is None:
        raise UserError(
            "training on GPUs, and PyTorch is a CPU build",
            where=sys.prefix,
            way_out="make clean; make EXTRA=gpu install (docs/gpu_node.md)",
        )
    replaceable = config.algorithm.critic is None
    if replaceable and without_flash_attention(config.trainer):
        return
    trouble = _trouble()
    if trouble is None:
        return
    way_out = f"{_before_building(cuda)}{BUILD} (docs/gpu_node.md)"
    if replaceable:
        way_out += (
            f", or PyTorch's attention, slower and with more memory for the logits: "
            f"\"trainer.verl_overrides=['+{ATTENTION}=sdpa']\" (docs/grid.md)"
        )
    raise UserError(
        f"verl's training on GPUs needs flash attention, and the package flash_attn {trouble}",
        where=sys.prefix,
        way_out=way_out,
    )


def _trouble() -> str | None:
    """Say why flash_attn does not serve; None if it does."""
    if find_spec("flash_attn") is None:
        return "is not installed"
    # In a process of its own: it loads torch and CUDA.
    command = [sys.executable, "-c", _LOADS]
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"did not load within {_SECONDS} s"
    if tried.returncode == 0:
        return None
    last = (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1]
    return f"does not load ({one_line(last)}); it must be built for this PyTorch"


def _before_building(cuda: str) -> str:
    """Say which toolkit to load first; empty if the one found fits PyTorch's.

    Args:
        cuda: The CUDA that PyTorch was built with. Its extensions must be built with the same
            major version (`torch.utils.cpp_extension`).
    """
    load = f"load CUDA {cuda} (such as `module load cuda/{cuda}`, or set CUDA_HOME), then: "
    found = find_nvcc()
    if found is None:
        return f"no nvcc was found, and PyTorch was built with CUDA {cuda}: {load}"
    nvcc, release = found
    if release is None or release.partition(".")[0] == cuda.partition(".")[0]:
        return ""
    return f"{nvcc} is of CUDA {release}, and PyTorch was built with {cuda}: {load}"


def find_nvcc() -> tuple[Path, str | None] | None:
    """Find the compiler where PyTorch's build looks for it.

    Returns:
        Its path and its CUDA, such as "13.0", or None where it does not say; None if there is none.
    """
    nvcc = _nvcc()
    if nvcc is None:
        return None
    told = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False)
    release = re.search(r"release (\d+\.\d+)", told.stdout)
    return nvcc, release[1] if release else None


def _nvcc() -> Path | None:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    on_path = shutil.which("nvcc")
    if home is None and on_path is not None:
        return Path(on_path)
    nvcc = Path(home or "/usr/local/cuda") / "bin" / "nvcc"
    return nvcc if nvcc.is_file() else None
