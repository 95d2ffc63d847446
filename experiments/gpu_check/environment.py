"""Step 1: the packages import, are those of the lock file, and fit the card."""

import importlib
import time
from pathlib import Path
from typing import Any

from rlvr_dynamics.config import CONFIG_FOLDER
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.flash_attention import find_nvcc
from rlvr_dynamics.system.versions import installed

from .bench import Bench
from .finding import Finding, holds, needs_gpu, noted

LOCKS = CONFIG_FOLDER.parent / "requirements"
EVERYWHERE = ("torch", "transformers", "vllm", "verl", "ray")
# The second is verl's cross entropy, without which 14B would not fit.
ON_GPUS = ("flash_attn", "flash_attn.ops.triton.cross_entropy", "flashinfer")
# Differences between two kernels for the same attention of unit normal values in bfloat16, whose
# spacing is 2**-8 near 1.
ATTENTION_BOUND = 2e-2


def work(bench: Bench) -> list[Finding]:
    """Import everything, compare versions, use the card once, start Ray."""
    found = [_imported(name) for name in EVERYWHERE]
    if bench.rehearses:
        found += [needs_gpu(f"import {name}", "imports") for name in ON_GPUS]
    else:
        found += [_imported(name) for name in ON_GPUS]
    found.append(locked(LOCKS / ("cpu.txt" if bench.rehearses else "gpu.txt")))
    if bench.rehearses:
        found.append(needs_gpu("CUDA in PyTorch", "available"))
        found.append(needs_gpu("flash attention beside PyTorch's own", "the same"))
    else:
        found += _cuda()
        found.append(_attention())
    return [*found, _ray()]


def _imported(name: str) -> Finding:
    begin = time.monotonic()
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever a broken package raises is the finding
        return holds(f"import {name}", f"{type(error).__name__}: {error}", False, "imports")
    seconds = round(time.monotonic() - begin, 1)
    return holds(f"import {name}", seconds, True, "imports", "s")


def locked(lock: Path) -> Finding:
    """Compare every installed distribution that a lock file names with its version there."""
    what = f"versions of requirements/{lock.name}"
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise UserError(
            "the lock file is missing", where=str(lock), way_out="run from a checkout"
        ) from error
    pairs = [_pin(line) for line in lines if "==" in line and not line.startswith("#")]
    pairs = [pair for pair in pairs if pair is not None]
    other = [
        f"{name} {installed(name)} for {version}"
        for name, version in pairs
        if not _is_version(installed(name), version)
    ]
    missing = sum(installed(name) is None for name, _ in pairs)
    told = f"{len(pairs) - missing - len(other)} as pinned, {missing} not installed"
    if other:
        told += f", {len(other)} other: {', '.join(other[:5])}"
    return holds(what, told, not other, "no installed package of another version")


def _pin(line: str) -> tuple[str, str] | None:
    """Return name and version of a line of a lock file; None if it is for another Python."""
    from packaging.requirements import Requirement

    found = Requirement(line.partition("#")[0].strip())
    if found.marker is not None and not found.marker.evaluate():
        return None
    return found.name, str(found.specifier).removeprefix("==")


def _is_version(found: str | None, pinned: str) -> bool:
    """Whether a distribution has the pinned version, or is not installed at all.

    A build's own suffix, such as `+cu130`, counts only where it is pinned.
    """
    return found is None or pinned in (found, found.partition("+")[0])


def _cuda() -> list[Finding]:
    import torch

    built = torch.version.cuda
    found = [
        holds("CUDA in PyTorch", built, torch.cuda.is_available(), "available"),
        noted("compute capability", ".".join(map(str, torch.cuda.get_device_capability()))),
        Finding("nvcc, which builds flash-attn", _nvcc(), "", f"CUDA {built}"),
    ]
    values = torch.arange(4096, dtype=torch.float64, device="cuda")
    total = float((values @ values).cpu())
    exact = float(sum(value * value for value in range(4096)))
    return [*found, holds("a product on the card", total, total == exact, f"{exact:.0f}")]


def _nvcc() -> str:
    found = find_nvcc()
    return "none found" if found is None else f"CUDA {found[1]}, {found[0]}"


def _attention() -> Finding:
    """Compare one causal attention by flash-attn with PyTorch's own."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    flash: Any = importlib.import_module("flash_attn")
    torch.manual_seed(0)
    # Shape (batch, positions, heads, head dimension), as flash-attn wants it.
    q, k, v = (torch.randn(2, 256, 4, 128, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    ours = flash.flash_attn_func(q, k, v, causal=True)
    turned = [each.transpose(1, 2) for each in (q, k, v)]
    plain = scaled_dot_product_attention(turned[0], turned[1], turned[2], is_causal=True)
    worst = float((ours - plain.transpose(1, 2)).abs().max())
    wanted = f"at most {ATTENTION_BOUND}"
    what = "flash attention beside PyTorch's own, largest difference"
    return holds(what, worst, worst <= ATTENTION_BOUND, wanted)


def _ray() -> Finding:
    import ray

    def seven() -> int:
        return 7

    begin = time.monotonic()
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        answer = ray.get(ray.remote(seven).remote(), timeout=60)
    finally:
        ray.shutdown()
    seconds = round(time.monotonic() - begin, 1)
    return holds("Ray starts and runs a task", seconds, answer == 7, "runs", "s")
