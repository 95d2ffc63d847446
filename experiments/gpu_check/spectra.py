"""Step 2: the spectral sums on the card beside the same on the processor.

Legend: T steps, d elements of one tensor, m x n a weight matrix.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .bench import Bench
from .finding import Finding, at_most, noted, on_a_gpu
from .shapes import CELL, architecture

if TYPE_CHECKING:
    import torch

STEPS = 20
TRIPLES = 8
# Float64 sums of d products: rounding grows with the root of d, about 1e-16 x 4000 for 14 million.
GRAM_BOUND = 1e-11
# What `update_svd` promises of its triples is a residual of 1e-5; each device has its own rounding.
SIGMA_BOUND = 1e-5
# Angles of the leading vectors: residual x σ1 / gap, and these updates have a gap of half σ1.
ANGLE_BOUND = 2e-5
SPECTRUM_BOUND = 1e-9


def work(bench: Bench) -> list[Finding]:
    """Compare Gram matrix, leading triples and full spectrum at the 1.5B model's shapes."""
    import torch

    found: list[Finding] = []
    generator = torch.Generator().manual_seed(0)
    for name, (m, n) in matrices(bench).items():
        delta = _update(m, n, generator)
        found += _triples(f"{name} {m} x {n}", delta, bench.device)
    m, n = matrices(bench)["down_proj"]
    updates = torch.randn(STEPS, m * n, generator=generator).mul_(1e-5)
    found += _gram(updates, bench.device)
    return [on_a_gpu(each, bench.device) if each.wanted else each for each in found]


def matrices(bench: Bench) -> dict[str, tuple[int, int]]:
    """Return the matrices of a layer by name, m x n."""
    size = architecture(CELL)
    h, wide, kv = size.hidden, size.intermediate, size.kv_heads * size.head_dim
    if bench.rehearses:
        h, wide, kv = h // 4, wide // 8, kv // 4
    return {"q_proj": (h, h), "k_proj": (kv, h), "up_proj": (wide, h), "down_proj": (h, wide)}


def _triples(label: str, delta: "torch.Tensor", device: str) -> list[Finding]:
    import torch

    from rlvr_dynamics.dynamics import update_spectrum, update_svd

    there = delta.to(device)
    ours, seconds = _timed(lambda: update_svd(there, TRIPLES), device)
    plain, plain_seconds = _timed(lambda: update_svd(delta, TRIPLES), "cpu")
    spectrum, spectrum_seconds = _timed(lambda: update_spectrum(there), device)
    whole, whole_seconds = _timed(lambda: update_spectrum(delta), "cpu")
    top = float(plain.singular_values[0])
    sigma = float((ours.singular_values - plain.singular_values).abs().max()) / top
    sines = [
        float(torch.linalg.vector_norm(a - b * (a @ b)))
        for a, b in ((ours.u[:, 0], plain.u[:, 0]), (ours.v[:, 0], plain.v[:, 0]))
    ]
    return [
        at_most(f"{label}: singular values, largest difference / σ1", sigma, SIGMA_BOUND),
        at_most(f"{label}: sine of the angle of u1 or v1", max(sines), ANGLE_BOUND),
        at_most(
            f"{label}: full spectrum, largest difference / σ1",
            float((spectrum - whole).abs().max()) / top,
            SPECTRUM_BOUND,
        ),
        noted(f"{label}: leading triples, {device} and cpu", _both(seconds, plain_seconds), "s"),
        noted(f"{label}: spectrum, {device} and cpu", _both(spectrum_seconds, whole_seconds), "s"),
    ]


def _gram(updates: "torch.Tensor", device: str) -> list[Finding]:
    import torch

    from rlvr_dynamics.dynamics import accumulate_gram

    steps = len(updates)
    there = updates.to(device)

    def once(rows: torch.Tensor) -> torch.Tensor:
        gram = torch.zeros(steps, steps, dtype=torch.float64, device=rows.device)
        accumulate_gram(gram, rows)
        return gram.cpu()

    ours, seconds = _timed(lambda: once(there), device)
    plain, plain_seconds = _timed(lambda: once(updates), "cpu")
    worst = float((ours - plain).abs().max() / plain.abs().max())
    label = f"Gram matrix, T = {steps}, d = {updates.shape[1]:,}"
    return [
        at_most(f"{label}: largest difference / largest entry", worst, GRAM_BOUND),
        noted(f"{label}: {device} and cpu", _both(seconds, plain_seconds), "s"),
    ]


def _timed(action: Callable[[], Any], device: str) -> tuple[Any, float]:
    """Return the result and the seconds of a second call; the first sets up libraries."""
    import torch

    action()
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    result = action()
    if device == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - begin


def _both(first: float, second: float) -> str:
    return f"{first:.4f} and {second:.4f}"


def _update(m: int, n: int, generator: "torch.Generator") -> "torch.Tensor":
    """Return noise with a rank-1 part twice its norm, of the size of real updates."""
    import torch

    noise = torch.randn(m, n, generator=generator)
    left, right = torch.randn(m, generator=generator), torch.randn(n, generator=generator)
    return noise.addr_(left, right, alpha=2.0).mul_(1e-5)
